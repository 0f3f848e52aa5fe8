"""A scene's stems sum to its mixture, at the stems' gains and the scene's."""

import numpy as np

from manifests.scene import Rendered, Scene, Stem


def rendered(channels: int = 1) -> Rendered:
    stems = [Stem("a", "background", "", 0, 0, 10, 0, 0), Stem("b", "event", "bell", 2, 0, 3, 0, 0, gain_db=6.0),
             Stem("c", "event", "dog", 4, 0, 6, 0, 0), Stem("d", "other", "cat", 2, 0, 5, 0, 0, place_of=1)]
    audio = [np.full((channels, stem.length), value, np.float32) for stem, value in zip(stems, (0.1, 0.2, 0.3, 0.4))]
    return Rendered(Scene("s", "soundscape", "train", 8000, channels, 10, stems, gain_db=-6.0), audio, np.zeros((1, 4, 4)), 0.0)


def test_what_may_come_in_for_another_is_not_in_the_mixture():
    assert rendered().scene.mixture == [0, 1, 2]


def test_the_sum_has_each_stem_in_its_place_at_its_gain():
    expected = 0.1 * 10 ** (-6 / 20) * np.ones(10)
    expected[2:5] += 0.2
    expected[4:] += 0.3 * 10 ** (-6 / 20)
    got = rendered(2).sum([0, 1, 2])
    assert got.shape == (2, 10) and got.dtype == np.float32
    np.testing.assert_allclose(got, np.stack([expected, expected]), rtol=1e-6)


def test_the_sum_of_no_stems_is_silence():
    assert not rendered().sum([]).any()


def test_stems_are_added_in_one_order_however_they_are_named():
    np.testing.assert_array_equal(rendered().sum([2, 0, 1]), rendered().sum([0, 1, 2]))


def test_gains_are_zero_for_all_that_is_not_named():
    gains = rendered().gains([1, 3])
    np.testing.assert_allclose(gains, [0, 1, 0, 10 ** (-6 / 20)])

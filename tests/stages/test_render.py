"""Rendered stems are the clips, cut and faded; events stand at the level that was asked for."""

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.errors import Rejected
from manifests.scene import Scene, Stem
from stages.render import MIXTURE_LUFS, cut, render

light = settings(max_examples=15, deadline=None)
seeds, numbers, channels = st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 2)


def measured(audio: np.ndarray, rate: int) -> float:
    """LUFS by pyloudnorm of the whole 100 ms hops, since the standard leaves out blocks that are not whole."""
    whole = audio[:, : audio.shape[1] // (rate // 10) * (rate // 10)]
    return pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(whole.T.astype(np.float64))


def at_level(rendered, index: int) -> np.ndarray:
    return rendered.audio[index] * 10 ** (rendered.scene.stems[index].gain_db / 20)


@light
@given(seeds, numbers, channels)
def test_the_snr_asked_for_is_the_snr_found(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels)
    rendered = render(scene, sounds.clips, sounds.read, generator(seed, "loudness"))
    background = measured(at_level(rendered, 0), scene.sample_rate)
    for index, stem in enumerate(scene.stems[1:], 1):
        assert measured(at_level(rendered, index), scene.sample_rate) - background == pytest.approx(stem.snr_db, abs=0.5)


@light
@given(seeds, channels)
def test_what_comes_in_for_a_track_is_as_loud_and_tracks_keep_their_levels(make_piece, seed, channels):
    scene, sounds = make_piece(seed, 3, channels)
    rendered = render(scene, sounds.clips, sounds.read, generator(seed, "loudness"))
    assert [stem.gain_db for stem in scene.stems[:3]] == [0, 0, 0]
    levels = [measured(at_level(rendered, index), scene.sample_rate) for index in range(4)]
    assert levels[3] == pytest.approx(levels[2], abs=0.1)


@light
@given(seeds, numbers, channels)
def test_a_mixture_is_as_loud_as_drawn(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels)
    rendered = render(scene, sounds.clips, sounds.read, generator(seed, "loudness"))
    low, high = MIXTURE_LUFS
    assert low - 0.1 <= measured(rendered.sum(scene.mixture), scene.sample_rate) <= high + 0.1
    assert rendered.seconds > 0


def test_loudness_of_mixtures_spreads_over_its_range(make_soundscape):
    drawn = []
    for seed in range(25):
        scene, sounds = make_soundscape(seed, 1, seconds=2.0, others=0)
        rendered = render(scene, sounds.clips, sounds.read, generator(seed, "loudness"))
        drawn.append(measured(rendered.sum(scene.mixture), scene.sample_rate))
    assert max(drawn) - min(drawn) > 6


@light
@given(seeds, numbers, channels)
def test_stems_are_the_clips_cut_and_faded(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels)
    rendered = render(scene, sounds.clips, sounds.read, generator(seed, "loudness"))
    for stem, audio in zip(scene.stems, rendered.audio):
        clip = sounds.samples(stem.clip_id)[:, stem.offset : stem.offset + stem.length]
        assert audio.shape == clip.shape and audio.dtype == np.float32
        middle = slice(stem.fade_in, stem.length - stem.fade_out)
        np.testing.assert_allclose(audio[:, middle], clip[:, middle], atol=2e-6 * np.abs(clip).max())
        assert (np.abs(audio) <= np.abs(clip) * (1 + 1e-5) + 1e-9).all()


@light
@given(seeds)
def test_the_same_scene_is_rendered_the_same(make_soundscape, seed):
    one, other = (render(scene, sounds.clips, sounds.read, generator(seed, "loudness"))
                  for scene, sounds in (make_soundscape(seed), make_soundscape(seed)))
    assert one.scene == other.scene
    np.testing.assert_array_equal(one.products, other.products)
    np.testing.assert_array_equal(one.sum(one.scene.mixture), other.sum(other.scene.mixture))


def test_what_may_come_in_later_changes_nothing_for_the_rest(make_soundscape):
    """An edit more adds stems of role "other"; stems, levels and mixture stay as they were."""
    for seed in range(5):
        (few, sounds), (more, more_sounds) = make_soundscape(seed, 3, others=0), make_soundscape(seed, 3, others=3)
        one = render(few, sounds.clips, sounds.read, generator(seed, "loudness"))
        other = render(more, more_sounds.clips, more_sounds.read, generator(seed, "loudness"))
        assert few.stems == more.stems[:4] and few.gain_db == more.gain_db
        np.testing.assert_array_equal(one.sum([0, 1, 2, 3]), other.sum([0, 1, 2, 3]))


def test_a_fade_begins_and_ends_in_silence_and_is_straight(make_soundscape):
    _, sounds = make_soundscape(0, 1, others=0)
    clip = sounds.store(np.full((1, 1000), 0.5), "event", "constant")
    audio = cut(Stem(clip.clip_id, "event", "", 0, 100, 800, 200, 100), clip, sounds.read(clip))
    np.testing.assert_allclose(audio[0, :200], 0.5 * np.arange(200) / 200, atol=1e-6)
    np.testing.assert_allclose(audio[0, 200:700], 0.5, atol=1e-6)
    np.testing.assert_allclose(audio[0, 700:], 0.5 * np.arange(100, 0, -1) / 100, atol=1e-6)


def test_a_clip_that_is_shorter_than_its_row_says_is_refused(make_soundscape):
    scene, sounds = make_soundscape(0)
    scene.stems[1].length += 1
    with pytest.raises(Rejected, match=scene.stems[1].clip_id):
        render(scene, sounds.clips, sounds.read, generator(0))


def test_a_stretch_of_silence_is_refused(make_soundscape):
    _, sounds = make_soundscape(0, 1, others=0)
    audio = np.random.default_rng(0).standard_normal((1, 64_000)) * 0.1
    audio[:, :40_000] = 0
    clip = sounds.store(audio, "background", "wind")
    scene = Scene("s", "soundscape", "train", 16_000, 1, 32_000, [Stem(clip.clip_id, "background", "wind", 0, 0, 32_000, 0, 0)])
    with pytest.raises(Rejected, match="'wind' is silent"):
        render(scene, sounds.clips, sounds.read, generator(0))
    scene.stems[0].offset = 30_000
    assert render(scene, sounds.clips, sounds.read, generator(0)).audio[0].shape == (1, 32_000)

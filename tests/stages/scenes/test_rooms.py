"""Rooms ring on after a sound, inside the scene; sides are panned at constant power."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.scene import Scene, Stem
from stages.scenes.rooms import COUNT, LONGEST, SPREAD, put, resound, responses

RATE = 8_000


@pytest.fixture(scope="module")
def bank() -> np.ndarray:
    return responses(3, RATE)


def test_a_bank_is_a_function_of_its_seed_whatever_the_number_of_processors(bank):
    import pyroomacoustics

    pyroomacoustics.constants.set("num_threads", 7)
    assert bank.shape == (COUNT, round(LONGEST * RATE)) and np.array_equal(bank, responses(3, RATE)) and not np.array_equal(bank, responses(4, RATE))
    assert len(np.unique(bank, axis=0)) == COUNT


def test_a_response_begins_with_the_direct_sound_and_decays(bank):
    assert np.square(bank).sum(axis=1) == pytest.approx(np.ones(COUNT), abs=1e-3)
    assert (np.abs(bank).argmax(axis=1) < 3).mean() > 0.8 and (np.abs(bank[:, 0]) > 0.02).all()
    ends = [len(np.trim_zeros(response, "b")) / RATE for response in bank]
    assert 0.05 < min(ends) < 0.2 < max(ends) <= LONGEST
    early, late = (np.square(bank[:, part]).sum(axis=1) for part in (slice(0, 400), slice(2400, None)))
    assert (early > 100 * late).all()


def placed(channels: int, stems: int = 40, lengths: tuple = (300, 900)) -> Scene:
    chance = generator("placed")
    found = [Stem("ground", "background", "", 0, 0, 10_000, 0, 0)]
    found += [Stem(f"c{n}", "other" if n % 5 == 4 else "event", "", int(chance.integers(0, 8_000)), 0, 2_000, 80, 80) for n in range(stems)]
    scene = Scene("s", "soundscape", "train", RATE, channels, 10_000, found)
    put(scene, 0.3, lengths, lambda *names: generator("scene", *names))
    return scene


@pytest.mark.parametrize("channels", [1, 2])
def test_a_share_of_the_events_rings_on_inside_the_scene_and_all_have_a_side_if_there_are_two(channels):
    scene = placed(channels, 400)
    inside = [stem for stem in scene.stems if stem.room is not None]
    assert 90 < len(inside) < 150 and {stem.room for stem in inside} == {0, 1}
    for stem in scene.stems[1:]:
        assert stem.length - stem.tail == 2_000 and stem.onset + stem.length <= 10_000
        assert stem.tail == (0 if stem.room is None else min((299, 899)[stem.room], 8_000 - stem.onset))
        assert (abs(stem.pan) <= SPREAD) and (stem.pan != 0) == (channels == 2)
    ground = scene.stems[0]
    assert (ground.room, ground.tail, ground.pan, ground.length) == (None, 0, 0.0, 10_000)


def test_what_is_drawn_for_a_clip_does_not_depend_on_the_others():
    few, many = placed(2, 10), placed(2, 20)
    assert few.stems == many.stems[:11]


@given(st.floats(-1, 1), st.integers(0, 20))
def test_panning_keeps_the_power_of_a_sound_and_leaves_the_middle_as_it_is(pan, seed):
    mono = np.random.default_rng(seed).standard_normal((1, 500)).astype(np.float32)
    both = np.repeat(mono, 2, axis=0)
    made = resound(both, 500, None, pan)
    assert np.square(made).sum() == pytest.approx(np.square(both).sum(), rel=1e-5)
    left, right = np.square(made).sum(axis=1)
    assert (left > right * (1 - 1e-5)) if pan < 0 else (right > left * (1 - 1e-5))
    assert np.array_equal(resound(both, 500, None, 0.0), both)


def test_a_sound_in_a_room_is_its_convolution_cut_at_the_scenes_end(bank):
    sound, response = np.random.default_rng(0).standard_normal((2, 700)).astype(np.float32), np.trim_zeros(bank[5], "b")
    made = resound(sound, 900, response, 0.0)
    assert made.shape == (2, 900) and made.dtype == np.float32
    for channel in range(2):
        assert made[channel] == pytest.approx(np.convolve(sound[channel], response)[:900], abs=1e-4)

"""What is struck and what is held are told apart, and together are the recording, whatever its length, rate and channels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.engines.hpss import Hpss

RATE = 44_100
STRUCK, HELD = "percussion", "sustained sounds"


def chord(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    """A steady chord, (1, samples)."""
    time = np.arange(round(seconds * rate)) / rate
    return 0.06 * sum(np.sin(2 * np.pi * pitch * time + pitch) for pitch in (220, 277.2, 329.6, 440, 554.4))[None].astype(np.float32)


def clicks(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    """Short bursts of noise, two a second, (1, samples)."""
    chance, audio = np.random.default_rng(1), np.zeros((1, round(seconds * rate)), np.float32)
    burst = np.exp(-np.arange(round(0.02 * rate)) / (0.004 * rate))
    for begin in np.arange(0.3, seconds - 0.2, 0.5):
        first = round(begin * rate)
        audio[0, first : first + len(burst)] += 0.5 * burst * chance.standard_normal(len(burst))
    return audio


def sdr(true: np.ndarray, estimate: np.ndarray) -> float:
    """Signal to distortion, dB: the power of what it should be over the power of what is wrong with it."""
    return float(10 * np.log10(np.sum(true**2) / np.sum((estimate - true) ** 2)))


@pytest.mark.parametrize(("rate", "gain"), [(8_000, 10), (16_000, 12), (44_100, 15), (48_000, 15), (96_000, 15)])
def test_clicks_go_to_percussion_and_a_chord_to_what_is_sustained(rate, gain):
    """Either comes at least `gain` dB nearer to the truth than the mixture is."""
    held, struck = chord(rate=rate), clicks(rate=rate)
    mixture = held + struck
    stems = Hpss().separate([mixture], rate)[0]
    assert set(stems) == {STRUCK, HELD}
    assert sdr(held, stems[HELD]) > sdr(held, mixture) + gain > 20
    assert sdr(struck, stems[STRUCK]) > sdr(struck, mixture) + gain


@pytest.mark.parametrize(("make", "other", "under"), [(chord, STRUCK, 30), (clicks, HELD, 90)])
def test_what_is_of_one_kind_alone_stays_whole_to_its_very_ends(make, other, under):
    audio = make()
    wrong = Hpss().separate([audio], RATE)[0][other]
    assert 10 * np.log10(np.sum(audio**2) / np.sum(wrong**2)) > under
    ends = np.concatenate([wrong[:, : RATE // 10], wrong[:, -RATE // 10 :]], axis=1)
    assert np.sqrt(np.mean(ends**2)) < 0.06 * np.sqrt(np.mean(audio**2))


@settings(max_examples=60)
@given(st.integers(1, 9_000), st.integers(1, 2), st.sampled_from([8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000]),
       st.sampled_from(["noise", "silence", "step", "one sample", "hum"]), st.sampled_from([1e-38, 1e-6, 0.1, 1.0, 100.0]))
def test_the_stems_sum_to_the_recording_and_are_finite(samples, channels, rate, kind, level):
    audio = {
        "noise": np.random.default_rng(samples).standard_normal((channels, samples)),
        "silence": np.zeros((channels, samples)),
        "step": np.repeat(np.arange(samples)[None] >= samples // 2, channels, axis=0),
        "one sample": np.repeat(np.arange(samples)[None] == samples // 3, channels, axis=0),
        "hum": np.stack([np.sin(np.arange(samples) / (9 + n)) for n in range(channels)]),
    }[kind]
    audio = (level * audio).astype(np.float32)
    stems = Hpss().separate([audio], rate)[0]
    for stem in stems.values():
        assert stem.shape == audio.shape and stem.dtype == np.float32 and np.isfinite(stem).all()
    assert np.abs(stems[STRUCK] + stems[HELD] - audio).max() <= 3e-7 * np.abs(audio).max()


def test_silence_gives_silence():
    for stem in Hpss().separate([np.zeros((2, 5_000), np.float32)], RATE)[0].values():
        assert stem.shape == (2, 5_000) and not stem.any()


def test_every_sound_stays_where_it_stood_between_the_channels():
    left, right = np.float32(0.8), np.float32(0.3)
    mixture = np.concatenate([left * (chord() + clicks()), right * (chord() + clicks())])
    for stem in Hpss().separate([mixture], RATE)[0].values():
        np.testing.assert_allclose(stem[0] / left, stem[1] / right, atol=1e-6)
    apart = Hpss().separate([np.concatenate([chord(), clicks()])], RATE)[0]
    power = {name: np.sum(stem**2, axis=1) for name, stem in apart.items()}
    assert 10 * np.log10(power[HELD][0] / power[HELD][1]) > 15
    assert 10 * np.log10(power[STRUCK][1] / power[STRUCK][0]) > 15


def test_level_changes_nothing_but_the_level():
    mixture = chord() + clicks()
    loud, quiet = Hpss().separate([mixture], RATE)[0], Hpss().separate([mixture / 1024], RATE)[0]
    np.testing.assert_allclose(quiet[STRUCK] * 1024, loud[STRUCK], atol=1e-6)


def test_the_recording_is_left_as_it_was_and_separated_the_same_again():
    mixture = chord() + clicks()
    before = mixture.copy()
    first, second = Hpss().separate([mixture], RATE)[0], Hpss().separate([mixture], RATE)[0]
    np.testing.assert_array_equal(mixture, before)
    np.testing.assert_array_equal(first[STRUCK], second[STRUCK])


def test_a_window_lasts_as_long_at_every_rate():
    """So a drum recorded at 96 kHz is as much of a drum as at 48 kHz: the shares of the stems agree within 1 dB."""
    shares = []
    for rate in (24_000, 48_000, 96_000):
        stems = Hpss().separate([chord(rate=rate) + clicks(rate=rate)], rate)[0]
        shares.append(10 * np.log10(np.sum(stems[HELD] ** 2) / rate))
    assert max(shares) - min(shares) < 1


def test_options_matter():
    mixture = chord() + clicks()
    usual = Hpss().separate([mixture], RATE)[0][STRUCK]
    for options in ({"window": 512}, {"width": 9}, {"power": 1.0}):
        assert np.abs(Hpss(**options).separate([mixture], RATE)[0][STRUCK] - usual).max() > 0.01
    assert sdr(clicks(), usual) > sdr(clicks(), Hpss(power=1.0).separate([mixture], RATE)[0][STRUCK])


@pytest.mark.parametrize(("option", "value"), [("window", 0), ("window", 63), ("width", 1), ("width", 30), ("power", 0), ("power", -2), ("power", np.nan)])
def test_options_out_of_range_are_refused_by_name(option, value):
    with pytest.raises(ValueError, match=option):
        Hpss(**{option: value})


def test_a_long_stereo_window_takes_little_memory():
    """30 s of stereo at 48 kHz under 500 MB, as counted by NumPy's own allocations."""
    import tracemalloc

    audio = np.random.default_rng(0).standard_normal((2, 30 * 48_000)).astype(np.float32)
    tracemalloc.start()
    try:
        Hpss().separate([audio], 48_000)[0]
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()


def test_what_it_gives_is_of_tier_demo():
    assert Hpss().tier == "demo"

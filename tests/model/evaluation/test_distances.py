"""Distances have the values that arithmetic gives, are least for the target itself, and are finite for all that can come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation.distances import BEST, WORST, Spectra, energy, error_db, log_spectral_distance, multi_resolution_stft, si_sdr

RATE = 16_000


def noise(seed: int = 0, samples: int = RATE, channels: int = 1) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


def sine(pitch: float, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE)).astype(np.float32)[None]


@settings(max_examples=30)
@given(st.integers(0, 99), st.floats(-20, 40), st.floats(0.01, 50))
def test_si_sdr_is_the_ratio_of_target_and_what_is_at_right_angles_to_it_at_any_scale(seed, level, scale):
    target, rest = sine(400), noise(seed)
    rest -= float((rest * target).sum() / (target * target).sum()) * target
    rest *= np.sqrt(energy(target) / energy(rest)) * 10 ** (-level / 20)
    assert si_sdr(scale * (target + rest), target) == pytest.approx(level, abs=0.01)


def test_si_sdr_of_both_channels_counts_both():
    target = np.concatenate([sine(400), sine(500)])
    assert si_sdr(target * [[1.0], [0.0]], target) == pytest.approx(0.0, abs=0.01)  # half of the energy is at right angles


def test_silence_has_the_ends_of_the_scale():
    silent, sound = np.zeros((1, RATE), np.float32), noise()
    assert si_sdr(silent, sound) == si_sdr(sound, silent) == WORST
    assert si_sdr(silent, silent) == si_sdr(sound, sound) == BEST
    assert error_db(sound, sound, 0.0) == -BEST and error_db(sound, silent, 0.0) == -WORST
    assert error_db(silent, sound, energy(sound)) == pytest.approx(0.0)


@pytest.mark.parametrize("level", [0.5, 1e-3])
def test_a_gain_is_told_in_decibels_by_the_log_spectral_distance(level):
    one = noise(samples=4 * RATE) * level
    apart = log_spectral_distance(Spectra(one), Spectra(one * np.float32(0.5)))
    assert apart == pytest.approx(6.02, abs=0.05) if level == 0.5 else apart < 6.02  # the quiet one reaches the floor


@settings(max_examples=50)
@given(st.integers(0, 99), st.integers(1, 5000), st.integers(1, 2), st.sampled_from([0.0, 1e-6, 0.1, 3.0]))
def test_all_distances_are_finite_and_least_for_the_target_itself(seed, samples, channels, level):
    target, output = noise(seed, samples, channels), noise(seed + 1, samples, channels) * np.float32(10 * level)
    for one, other in ((output, target), (target, output)):
        made, wanted = Spectra(one), Spectra(other)
        assert WORST <= si_sdr(one, other) <= si_sdr(other, other) == BEST
        for distance in (log_spectral_distance, multi_resolution_stft):
            assert 0 == distance(wanted, wanted) <= distance(made, wanted) < np.inf
    assert log_spectral_distance(Spectra(output), Spectra(target)) == pytest.approx(log_spectral_distance(Spectra(target), Spectra(output)))


def test_a_shifted_sine_is_near_by_its_spectra_and_far_by_its_samples():
    target = sine(440)
    shifted, other = np.roll(target, 9, axis=1), sine(880)
    assert si_sdr(shifted, target) < 0
    for distance in (log_spectral_distance, multi_resolution_stft):
        assert 0 < distance(Spectra(shifted), Spectra(target)) < 0.3 * distance(Spectra(other), Spectra(target))


def test_of_two_lengths_the_rest_is_held_against_silence():
    long, short = Spectra(noise(samples=2 * RATE)), Spectra(noise(samples=2 * RATE)[:, :RATE])
    assert log_spectral_distance(long, short) == pytest.approx(log_spectral_distance(short, long))
    assert log_spectral_distance(long, short) > 10

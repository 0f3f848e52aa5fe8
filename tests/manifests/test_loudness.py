"""Loudness is BS.1770's: the published filter, EBU Tech 3341's test signals, and one filtering for every sum."""

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import freqz

from manifests.loudness import SILENT, hop_power, hop_products, integrated, k_weight, loudness, peak_dbfs

RATE = 48_000


def tone(level_dbfs: float, seconds: float, rate: int = RATE, frequency: float = 1000.0, channels: int = 2) -> np.ndarray:
    """A sine of a given peak level, alike in all channels: float32 (channels, samples)."""
    wave = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None], channels, axis=0).astype(np.float32)


def test_the_filter_is_the_published_one_at_48_khz():
    impulse = np.zeros((1, RATE), np.float32)
    impulse[0, 0] = 1
    frequencies = np.fft.rfftfreq(RATE, 1 / RATE)[20:20_000]
    got = np.fft.rfft(k_weight(impulse, RATE)[0].astype(np.float64))[20:20_000]
    _, shelf = freqz([1.53512485958697, -2.69169619940638, 1.19839281085285], [1, -1.69065929318241, 0.73248077421585], frequencies, fs=RATE)
    _, high = freqz([1, -2, 1], [1, -1.99004745483398, 0.99007225036621], frequencies, fs=RATE)
    np.testing.assert_allclose(20 * np.log10(np.abs(got)), 20 * np.log10(np.abs(shelf * high)), atol=0.01)


@pytest.mark.parametrize(("segments", "expected"), [
    ([(-23, 20)], -23.0),
    ([(-33, 20)], -33.0),
    ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
    ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
    ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
], ids=["case 1", "case 2", "case 3", "case 4", "case 5"])
def test_ebu_tech_3341(segments, expected):
    audio = np.concatenate([tone(level, seconds) for level, seconds in segments], axis=1)
    assert loudness(audio, RATE) == pytest.approx(expected, abs=0.1)


def test_a_full_scale_sine_in_one_channel_is_the_standards_reference():
    assert loudness(tone(0.0, 5, frequency=997, channels=1), RATE) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 96_000, 192_000])
def test_any_rate_measures_a_tone_alike(rate):
    assert loudness(tone(-23, 4, rate, 997, 1), rate) == pytest.approx(-26.0, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([16_000, 44_100]), st.integers(1, 2), st.floats(0.5, 5))
def test_noise_measures_as_pyloudnorm_has_it(seed, rate, channels, seconds):
    rng = np.random.default_rng(seed)
    seconds = round(seconds, 1)
    envelope = np.repeat(10 ** (rng.uniform(-30, 0, round(seconds * 10)) / 20), round(rate / 10))
    audio = (0.1 * rng.standard_normal((channels, len(envelope))) * envelope).astype(np.float32)
    expected = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(audio.T.astype(np.float64))
    assert loudness(audio, rate) == pytest.approx(expected, abs=0.2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 2))
def test_products_of_stems_give_the_loudness_of_any_sum(seed, count, channels):
    rng = np.random.default_rng(seed)
    rate, samples = 16_000, int(rng.integers(16_000, 48_000))
    placed, explicit = [], np.zeros((channels, samples))
    gains = rng.uniform(0, 2, count) * (rng.random(count) < 0.8)
    for gain in gains:
        length = int(rng.integers(1000, samples + 1))
        onset = int(rng.integers(0, samples - length + 1))
        audio = (0.1 * rng.standard_normal((channels, length)) * np.hanning(length)).astype(np.float32)
        placed.append((onset, k_weight(audio, rate)))
        explicit[:, onset : onset + length] += gain * audio
    products = hop_products(placed, samples, rate)
    np.testing.assert_array_equal(products, products.transpose(0, 2, 1))
    assert integrated(hop_power(products, gains)) == pytest.approx(loudness(explicit.astype(np.float32), rate), abs=0.02)


def test_a_stem_left_out_counts_for_nothing():
    rng = np.random.default_rng(0)
    one, other = (0.1 * rng.standard_normal((1, 16_000)).astype(np.float32) for _ in range(2))
    products = hop_products([(0, one), (0, other)], 16_000, 16_000)
    alone = hop_products([(0, one)], 16_000, 16_000)
    np.testing.assert_allclose(hop_power(products, np.array([1.0, 0.0])), alone[:, 0, 0])


def test_correlated_stems_add_by_amplitude_and_opposed_ones_cancel():
    audio = k_weight(tone(-20, 1, channels=1), RATE)
    products = hop_products([(0, audio), (0, audio)], audio.shape[1], RATE)
    single = integrated(hop_power(products, np.array([1.0, 0.0])))
    assert integrated(hop_power(products, np.array([1.0, 1.0]))) == pytest.approx(single + 6.02, abs=0.01)
    assert integrated(hop_power(products, np.array([1.0, -1.0]))) == SILENT


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.3])
def test_a_short_sound_is_taken_as_repeated(seconds):
    rng = np.random.default_rng(1)
    audio = (0.1 * rng.standard_normal((1, round(seconds * RATE)))).astype(np.float32)
    repeated = np.tile(audio, (1, 12))
    assert loudness(audio, RATE) == pytest.approx(loudness(repeated, RATE), abs=0.3)


@pytest.mark.parametrize("samples", [1, 100, 4_799])
def test_even_less_than_a_hop_has_a_loudness(samples):
    level = loudness(np.full((1, samples), 0.5, np.float32), RATE)
    assert -30 < level < 0


@pytest.mark.parametrize("seconds", [0.05, 0.3, 2.0])
def test_silence_is_minus_120(seconds):
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    assert loudness(audio, RATE) == SILENT == peak_dbfs(audio) == -120.0


def test_what_lies_under_the_absolute_gate_is_silence():
    assert loudness(tone(-68, 2, channels=1), RATE) == pytest.approx(SILENT)
    assert loudness(tone(-60, 2, channels=1), RATE) == pytest.approx(-63.0, abs=0.1)


def test_peaks_of_float_and_of_int16():
    assert peak_dbfs(np.array([[0.1, -0.5]], np.float32)) == pytest.approx(-6.02, abs=0.01)
    assert peak_dbfs(np.array([[100, -32768]], np.int16)) == pytest.approx(0.0)
    assert peak_dbfs(np.array([[16384]], np.int16)) == pytest.approx(-6.02, abs=0.01)
    assert peak_dbfs(np.zeros((1, 0), np.float32)) == -120.0

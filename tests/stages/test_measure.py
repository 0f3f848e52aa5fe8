"""Levels, bandwidth and loudness of a clip's sound."""

import numpy as np
import pytest

from stages.measure import bandwidth, frame_levels

RATE = 16_000


@pytest.mark.parametrize("frequency", [500, 2_000, 7_000])
def test_bandwidth_is_where_the_energy_ends(frequency):
    rng, size = np.random.default_rng(0), 8 * RATE
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum[np.fft.rfftfreq(size, 1 / RATE) > frequency] = 0
    assert bandwidth(np.fft.irfft(spectrum)[None].astype(np.float32), RATE) == pytest.approx(frequency, abs=60)
    assert 0 < bandwidth(np.ones((1, 160), np.float32), RATE) <= RATE / 2


def test_frame_levels_are_rms_by_25_ms():
    audio = np.concatenate([np.full((2, 400), 0.1), np.zeros((2, 400)), np.full((2, 300), 1.0)], axis=1).astype(np.float32)
    levels, size = frame_levels(audio, RATE)
    assert size == 400
    np.testing.assert_allclose(levels, [-20, -120], atol=1e-3)
    np.testing.assert_allclose(frame_levels(audio[:, :10], RATE)[0], [-20], atol=1e-3)

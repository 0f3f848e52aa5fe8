"""Spectrograms: as bright as it is loud, where it sounds, on one scale."""

import io

import numpy as np
import pytest
from made_report import RATE, tone
from PIL import Image

from pipeline.spectrogram import HEIGHT, LEVELS, WIDTH, band_power, pictures, ticks


def test_a_tone_is_brightest_at_its_own_height_and_as_loud_as_it_is():
    for text, height in ticks(RATE):
        hz = float(text.replace("k", "000"))
        power = band_power(tone(hz, 1.0, level=1.0)[None], RATE, RATE)
        assert abs(power[:, WIDTH // 2].argmax() - height * HEIGHT) <= 2
    assert -8 < 10 * np.log10(power.max()) <= 0.1


def test_both_pictures_share_one_scale_and_silence_is_dark():
    loud, soft = tone(1000, 1.0, level=0.5)[None], tone(1000, 0.5, level=0.005)[None]
    pixels = [np.array(Image.open(io.BytesIO(data))).astype(int) for data in pictures([loud, soft], RATE)]
    assert pixels[0].max() == LEVELS - 1
    assert pixels[0].max() - pixels[1].max() == pytest.approx(40 / 75 * (LEVELS - 1), abs=1)
    assert pixels[1].shape == (HEIGHT, WIDTH // 2)  # the shorter one ends there
    silent = pictures([np.zeros((2, RATE), np.float32)] * 2, RATE)
    assert np.array(Image.open(io.BytesIO(silent[0]))).max() == 0

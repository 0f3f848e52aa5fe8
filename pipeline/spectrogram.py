"""Spectrograms: what both sides of a pair sound like, as two small pictures on one scale."""

import io

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 600, 144  # pixels
RANGE = 75.0  # dB under the loudest point of both pictures: there the scale ends
FLOOR = -50.0  # dB of full scale: that point is never taken to be lower, so that silence stays dark
WINDOW = 0.046  # s, to the nearest power of two samples
LEVELS = 64  # colours; fewer make smaller files
LOWEST, HIGHEST = 30.0, 20_000.0  # Hz
ANCHORS = ("000004", "1c1044", "4f127b", "812581", "b5367a", "e55064", "fb8761", "fec287", "fcfdbf")  # from dark to light
TICKS = (100, 500, 1000, 2000, 5000, 10_000)  # Hz


def pictures(sides: list[np.ndarray], rate: int) -> list[bytes]:
    """Mel spectrograms as PNG, one a side, with one scale of time, frequency and colour for all.

    Args:
        sides: float32 (channels, samples); the picture of the longest is WIDTH wide, that of a shorter one ends where it does.
        rate: Hz.
    """
    samples = max(audio.shape[1] for audio in sides)
    levels = [10 * np.log10(np.maximum(band_power(audio, rate, samples), 1e-15)) for audio in sides]
    top = max(FLOOR, *(float(level.max()) for level in levels))
    widths = [max(1, round(WIDTH * audio.shape[1] / samples)) for audio in sides]
    return [_png(np.clip(1 + (level[:, :width] - top) / RANGE, 0, 1)) for level, width in zip(levels, widths)]


def band_power(audio: np.ndarray, rate: int, samples: int) -> np.ndarray:
    """Mean power in mel bands, channels summed: (HEIGHT, WIDTH), lowest band first; a full-scale sine peaks near 1.

    Args:
        audio: float32 (channels, up to `samples`).
        samples: that the width of the picture stands for.
    """
    size = 2 ** max(5, round(np.log2(WINDOW * rate)))
    starts = np.linspace(0, max(0, samples - 1), WIDTH).astype(int)
    window = np.hanning(size).astype(np.float32)
    bands = _bands(size, rate)
    power = np.zeros((HEIGHT, WIDTH))
    for channel in audio:
        padded = np.pad(channel, (size // 2, size // 2 + samples - len(channel)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[starts] * window
        power += bands @ np.square(np.abs(np.fft.rfft(frames, axis=1)) * 2 / window.sum()).T
    return power


def ticks(rate: int) -> list[tuple[str, float]]:
    """Frequencies to write beside a picture, each with its height as a share of the picture's, from the bottom."""
    low, high = _mel(np.array(_limits(rate)))
    places = [(hz, float((_mel(np.array(hz)) - low) / (high - low))) for hz in TICKS]
    return [(f"{hz // 1000}k" if hz >= 1000 else str(hz), round(place, 4)) for hz, place in places if place < 0.97]


def _limits(rate: int) -> tuple[float, float]:
    return LOWEST, min(HIGHEST, rate / 2)


def _mel(hz: np.ndarray) -> np.ndarray:
    """The mel scale (O'Shaughnessy 1987)."""
    return 2595 * np.log10(1 + hz / 700)


def _bands(size: int, rate: int) -> np.ndarray:
    """Weights (HEIGHT, size // 2 + 1) that average the bins under each band, in part where a band is narrower than a bin."""
    low, high = _mel(np.array(_limits(rate)))
    edges = 700 * (10 ** (np.linspace(low, high, HEIGHT + 1) / 2595) - 1)
    bins = np.arange(size // 2 + 1) * rate / size
    half = rate / size / 2
    inside = np.minimum(edges[1:, None], bins + half) - np.maximum(edges[:-1, None], bins - half)
    return np.maximum(inside, 0) / np.diff(edges)[:, None]


def _png(shares: np.ndarray) -> bytes:
    """A picture of values from 0 to 1, first row at the bottom."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in ANCHORS])
    at = np.linspace(0, len(anchors) - 1, LEVELS)
    palette = np.stack([np.interp(at, range(len(anchors)), anchors[:, c]) for c in range(3)], axis=1)
    image = Image.fromarray(np.rint(shares[::-1] * (LEVELS - 1)).astype(np.uint8))
    image.putpalette(np.rint(palette).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()

"""A long recording as windows of one length that overlap, and one recording of them again, without a seam."""

from collections.abc import Iterable

import numpy as np

SHARED = 8  # neighbours share at least this part of a window


def starts(samples: int, window: int, step: int) -> list[int]:
    """Where windows begin so that they cover a recording: from 0 on, evenly, at multiples of `step`, the last reaching over the end by less than that.

    Args:
        samples: of the recording.
        window: samples.
        step: samples a latent frame, so that a window's frames are frames of the whole.

    >>> starts(100, window=40, step=4)
    [0, 28, 60]
    """
    last = -(-max(0, samples - window) // step)
    count = 1 + -(-last // max(1, (window - window // SHARED) // step))
    return [step * (last * place // max(1, count - 1)) for place in range(count)]


def cut(audio: np.ndarray, start: int, window: int) -> np.ndarray:
    """One window (channels, window) of (channels, samples); silence where the recording has ended."""
    piece = audio[:, start : start + window]
    return np.pad(piece, ((0, 0), (0, window - piece.shape[1])))


def join(pieces: Iterable[np.ndarray], begins: list[int], samples: int) -> np.ndarray:
    """Windows put together: (channels, samples).

    Neighbours are faded into each other in the middle of what they share, for at most the length that all share: at its edges a window is worst, since the
    model does not see what comes next there. The fades are raised cosines that sum to one, since both windows hold the same sound where the edit left it alone.
    """
    whole, ends = None, 0
    for piece, start in zip(pieces, begins, strict=True):
        window = piece.shape[1]
        if whole is None:
            whole = np.zeros((len(piece), max(samples, begins[-1] + window)), np.float32)
        shared = ends - start
        fade = min(shared, window // SHARED) if start else 0
        first = (shared - fade) // 2 if start else 0
        rise = (1 - np.cos(np.pi * (np.arange(fade) + 0.5) / max(1, fade), dtype=np.float64)) / 2
        into = whole[:, start + first : start + first + fade]
        into += (rise * (piece[:, first : first + fade] - into)).astype(np.float32)
        whole[:, start + first + fade : start + window] = piece[:, first + fade :]
        ends = start + window
    return whole[:, :samples]

"""A recording as a user has it, checked, and brought to the rate and the channels that a model works at and back."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from manifests import audio as files
from manifests.errors import Rejected, RequestError

MOST_CHANNELS = 32  # more, and the array stands the other way round


class Recording(NamedTuple):
    """Float32 (channels, samples), and its rate in Hz."""

    audio: np.ndarray
    rate: int


def given(audio: np.ndarray | str | Path, rate: int | None) -> Recording:
    """A recording that can be worked on, of a file or of floats (channels, samples) at `rate` Hz.

    Raises:
        RequestError: it cannot be read, has no samples, or values that are not finite.
    """
    if isinstance(audio, (str, Path)):
        if rate is not None:
            raise RequestError("a rate is given with a file, which tells its own")
        try:
            seconds, rate, channels = files.probe(str(audio))
            return Recording(files.decode(str(audio), 0, seconds, rate, channels), rate)
        except (Rejected, OSError) as error:
            raise RequestError(f"cannot read {audio}: {error}") from None
    audio = np.asarray(audio)
    if rate is None or not files.MIN_RATE <= rate <= files.MAX_RATE:
        raise RequestError(f"the rate of the audio is {rate}; {files.MIN_RATE} to {files.MAX_RATE} Hz are taken")
    if audio.ndim != 2 or not 1 <= len(audio) <= MOST_CHANNELS or audio.dtype.kind != "f":
        raise RequestError(f"audio is floats (channels, samples), of at most {MOST_CHANNELS} channels; got {audio.dtype} {audio.shape}")
    if audio.shape[1] == 0:
        raise RequestError("the audio has no samples")
    if not np.abs(audio).max() <= files.LOUDEST:  # which NaN is not, either
        raise RequestError("the audio holds samples that are not finite (NaN or infinite), or far over full scale")
    return Recording(audio.astype(np.float32), rate)


def resampled(audio: np.ndarray, rate: int, to: int) -> np.ndarray:
    """(channels, samples) at another rate (soxr, high quality), of the length that this makes, at least 1."""
    if rate == to:
        return audio
    return fitted(soxr.resample(audio.T, rate, to, quality="HQ").T.astype(np.float32), max(1, round(audio.shape[1] * to / rate)))


def fitted(audio: np.ndarray, samples: int) -> np.ndarray:
    """(channels, samples), cut, or padded with silence."""
    return np.pad(audio[:, :samples], ((0, 0), (0, max(0, samples - audio.shape[1]))))


def groups(channels: int, at_once: int) -> np.ndarray:
    """Which channels go through a model together: (groups, channels at once). The last is repeated where one is missing.

    >>> groups(3, 2).tolist()
    [[0, 1], [2, 2]]
    """
    return np.minimum(np.arange(-(-channels // at_once) * at_once), channels - 1).reshape(-1, at_once)

"""A recording as a user has it, checked, and brought to the rate and the channels that a model works at and back."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from scipy.io import wavfile

from manifests import audio as files
from manifests.errors import Rejected, RequestError

MOST_CHANNELS = 32  # more, and the array stands the other way round
FLAC_CHANNELS = 8  # a FLAC file has no more


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


def check_output(path: str | Path, channels: int, source: str | Path) -> None:
    """Whether `write` can write there, asked before long work.

    Raises:
        RequestError: no .wav or .flac, more channels than it takes, the source itself, or a place that cannot be written to.
    """
    kind, folder = Path(path).suffix.lower(), Path(path).absolute().parent
    if kind not in (".wav", ".flac"):
        raise RequestError(f"{path}: write a .wav or .flac file")
    if kind == ".flac" and channels > FLAC_CHANNELS:
        raise RequestError(f"{path}: a .flac file takes at most {FLAC_CHANNELS} channels, and there are {channels}; write a .wav file")
    if not folder.is_dir():
        raise RequestError(f"{path}: there is no folder {folder}")
    if os.path.exists(path) and os.path.samefile(path, source):
        raise RequestError(f"{path}: that is the recording to be edited; write another file")
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise RequestError(f"{path}: it cannot be written to")


def write(path: str | Path, recording: Recording) -> None:
    """As .wav in 32-bit floats, or as .flac in 24 bits, which clips at full scale; the same samples give the same bytes.

    Raises:
        RequestError: it cannot be written.
    """
    try:
        if Path(path).suffix.lower() == ".wav":
            wavfile.write(path, recording.rate, recording.audio.T)  # libsndfile would put in the time
        else:
            soundfile.write(path, recording.audio.T, recording.rate, subtype="PCM_24")
    except (OSError, ValueError, soundfile.LibsndfileError) as error:
        raise RequestError(f"{path}: cannot be written: {error}") from None


def resampled(audio: np.ndarray, rate: int, to: int) -> np.ndarray:
    """(channels, samples) at another rate (soxr, high quality), of the length that this makes, at least 1."""
    if rate == to:
        return audio
    return fitted(soxr.resample(audio.T, rate, to, quality="HQ").T.astype(np.float32), max(1, round(audio.shape[1] * to / rate)))


def fitted(audio: np.ndarray, samples: int) -> np.ndarray:
    """(channels, samples), cut, or padded with silence."""
    missing = samples - audio.shape[1]
    return np.pad(audio, ((0, 0), (0, missing))) if missing > 0 else audio[:, :samples]


def groups(channels: int, at_once: int) -> np.ndarray:
    """Which channels go through a model together: (groups, channels at once). The last is repeated where one is missing.

    >>> groups(3, 2).tolist()
    [[0, 1], [2, 2]]
    """
    return np.minimum(np.arange(-(-channels // at_once) * at_once), channels - 1).reshape(-1, at_once)

"""The embedded separator: what is struck and what is held, told apart by median filters. What it gives is of tier `demo`.

A held sound is a line along time in the spectrogram and a stroke is a line along frequency, so a median along one takes away
the other (Fitzgerald 2010, "Harmonic/percussive separation using median filtering"). The two filtered spectrograms share out
every bin by a soft mask, as in Wiener filtering; Driedger, Müller and Disch (2014, "Extending harmonic-percussive separation
of audio signals") have the same masks at a separation factor of one.
"""

from dataclasses import dataclass

import bottleneck
import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import expit

PERCUSSION, SUSTAINED = "percussion", "sustained sounds"
TUNED_AT = 44_100  # Hz; at other rates the window lasts as long as there, so that the same sounds count as struck
OVERLAP = 4  # hops a window
NOTHING = np.float32(1e-10)  # of a magnitude beside a peak of one: under it a bin goes half to either side


@dataclass(frozen=True, kw_only=True)
class Hpss:
    """Harmonic-percussive source separation, for any rate and any length.

    Args:
        window: samples of the Hann window at 44.1 kHz, at least 64; frames are a quarter of it apart.
        width: of both medians, in frames and in bins; odd, at least 3. The default spans 0.36 s and 670 Hz.
        power: of the filtered magnitudes in the masks; 2 shares power as Wiener filtering does, more cuts harder.

    Raises:
        ValueError: an option is out of its range.
    """

    window: int = 2048
    width: int = 31
    power: float = 2.0

    tier = "demo"

    def __post_init__(self):
        if self.window < 64:
            raise ValueError(f"window is {self.window} samples; at least 64")
        if self.width < 3 or self.width % 2 != 1:
            raise ValueError(f"width is {self.width}; an odd whole number of at least 3")
        if not 0 < self.power <= 100:
            raise ValueError(f"power is {self.power}; more than 0 and at most 100")

    def separate(self, recordings: list[np.ndarray], rate: int) -> list[dict[str, np.ndarray]]:
        """Take recordings apart, one by one.

        One mask, of the mean power of the channels, serves them all, so every sound stays where it stood between them.

        Args:
            recordings: float32 (channels, samples) each, finite, at least one sample.
            rate: Hz.

        Returns:
            Of each, "percussion" and "sustained sounds", float32 (channels, samples). The second is the recording less the
            first: its mask is one less the other's, and the transform gives back all that it was given.
        """
        return [self._apart(audio, rate) for audio in recordings]

    def _apart(self, audio: np.ndarray, rate: int) -> dict[str, np.ndarray]:
        peak = np.abs(audio).max()
        if peak == 0:
            return {PERCUSSION: np.zeros_like(audio), SUSTAINED: np.zeros_like(audio)}
        hop = next_fast_len(max(1, round(self.window / OVERLAP * rate / TUNED_AT)), real=True)
        spectrum = _transform(audio / peak, hop)
        magnitude = np.sqrt(np.mean(np.square(spectrum.real) + np.square(spectrum.imag), axis=0)) + NOTHING
        hanging = min(OVERLAP - 1, (len(magnitude) - 1) // 2)  # windows over an end: each would look like a stroke
        mask = self._struck(magnitude[hanging : len(magnitude) - hanging])
        spectrum *= np.pad(mask, ((hanging, hanging), (0, 0)), mode="edge")
        percussion = _back(spectrum, hop, audio.shape[1]) * peak
        return {PERCUSSION: percussion, SUSTAINED: audio - percussion}

    def _struck(self, magnitude: np.ndarray) -> np.ndarray:
        """Share of every bin that is percussion, 0 to 1: (frames, bins)."""
        struck, held = _median(magnitude, self.width, axis=1), _median(magnitude, self.width, axis=0)
        return expit(np.float32(self.power) * np.log(struck / held))  # struck^power / (struck^power + held^power), without overflow


def _median(magnitude: np.ndarray, width: int, axis: int) -> np.ndarray:
    """Median of `width` neighbours along an axis of (frames, bins), mirrored at its ends."""
    margins = [(0, 0), (0, 0)]
    margins[axis] = (width // 2, width // 2)
    filtered = bottleneck.move_median(np.pad(magnitude, margins, mode="reflect"), width, axis=axis)
    return filtered[width - 1 :] if axis == 0 else filtered[:, width - 1 :]  # its windows end where they stand


def _hann(hop: int) -> np.ndarray:
    return np.hanning(OVERLAP * hop + 1)[:-1].astype(np.float32)


def _transform(audio: np.ndarray, hop: int) -> np.ndarray:
    """Short-time spectrum, complex64 (channels, frames, bins), with silence around so that every sample lies in four windows.

    scipy.signal.ShortTimeFFT refuses audio of less than half a window, and takes the frames one by one in double precision.
    """
    before = (OVERLAP - 1) * hop
    frames = OVERLAP - 1 + -(-audio.shape[1] // hop)
    padded = np.pad(audio, ((0, 0), (before, frames * hop - audio.shape[1])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, OVERLAP * hop, axis=1)[:, ::hop]
    return rfft(windows * _hann(hop))


def _back(spectrum: np.ndarray, hop: int, samples: int) -> np.ndarray:
    """Float32 (channels, samples) of a short-time spectrum: windowed again, which fades the edges of masks, and overlapped."""
    pieces = irfft(spectrum, OVERLAP * hop) * _hann(hop)
    channels, frames, _ = pieces.shape
    pieces = pieces.reshape(channels, frames, OVERLAP, hop)
    added = np.zeros((channels, frames + OVERLAP - 1, hop), np.float32)
    for part in range(OVERLAP):
        added[:, part : part + frames] += pieces[:, :, part]
    first = (OVERLAP - 1) * hop
    return added.reshape(channels, -1)[:, first : first + samples] / np.float32(0.375 * OVERLAP)  # of Hann squared, the mean is 3/8

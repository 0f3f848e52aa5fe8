"""How far an output is from its target, both float32 (channels, samples) of one shape. Every distance is a finite number, of silence too."""

import numpy as np
from scipy.fft import rfft
from scipy.signal.windows import hann

WORST, BEST = -30.0, 80.0  # dB: under it nothing of a target can be heard, over it all that is left is about the rounding to 16 bits
FAINTEST = 1e-5  # of a full-scale sine's magnitude (-100 dB): what is under that counts as that
SIZES = (512, 1024, 2048)  # samples of the windows


def si_sdr(output: np.ndarray, target: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019), dB, of all channels as one signal, clipped to WORST … BEST.

    Where one of the two is silent it is WORST; where both are, BEST.
    """
    if not (output.any() and target.any()):
        return WORST if output.any() or target.any() else BEST
    output, target = output.ravel().astype(np.float64), target.ravel().astype(np.float64)
    fitting = output @ target / (target @ target) * target
    return _decibels(fitting @ fitting, float(np.sum(np.square(output - fitting))))


def error_db(output: np.ndarray, target: np.ndarray, reference: float) -> float:
    """Energy of what is wrong over a reference energy, dB, clipped to -BEST … -WORST; -BEST where nothing is wrong."""
    return -_decibels(reference, energy(output - target))


def energy(audio: np.ndarray) -> float:
    """Sum of squares."""
    return float(np.sum(np.square(audio, dtype=np.float64)))


def _decibels(signal: float, noise: float) -> float:
    if noise == 0 or signal == 0:
        return BEST if noise == 0 else WORST
    return float(np.clip(10 * (np.log10(signal) - np.log10(noise)), WORST, BEST))


class Spectra:
    """Logarithms of short-time magnitudes, a full-scale sine 1, under Hann windows of SIZES a quarter apart.

    Attributes:
        logs: for each size (channels, frames, frequencies), natural logarithms, at least that of FAINTEST.
        silent: whether the audio (channels, samples) is.
    """

    def __init__(self, audio: np.ndarray):
        self.logs = [_log_magnitudes(audio, size) for size in SIZES]
        self.silent = not audio.any()


def log_spectral_distance(one: Spectra, other: Spectra) -> float:
    """Log-spectral distance (Gray and Markel 1976), dB: the root mean square over frequencies of levels apart, mean over frames.

    It is symmetric. Of two lengths, the shorter one is followed by silence.
    """
    logs = [made.logs[-1] for made in (one, other)]
    frames = max(each.shape[1] for each in logs)
    one, other = (np.pad(each, ((0, 0), (0, frames - each.shape[1]), (0, 0)), constant_values=np.log(FAINTEST)) for each in logs)
    return float(20 / np.log(10) * np.sqrt(np.mean(np.square(one - other), axis=-1)).mean())


def multi_resolution_stft(output: Spectra, target: Spectra) -> float:
    """Multi-resolution STFT distance (Yamamoto et al. 2020): spectral convergence and mean distance of log magnitudes, summed, mean over SIZES.

    Spectral convergence is relative to the target, or to the output where the target is silent. Both have one length.
    """
    found = []
    for made, wanted in zip(output.logs, target.logs):
        reference = np.linalg.norm(np.exp(made if target.silent else wanted))
        found.append(np.linalg.norm(np.exp(made) - np.exp(wanted)) / reference + np.mean(np.abs(made - wanted)))
    return float(np.mean(found))


def _log_magnitudes(audio: np.ndarray, size: int) -> np.ndarray:
    window = hann(size, sym=False).astype(np.float32)
    audio = np.pad(audio, ((0, 0), (size // 2, size // 2 + -audio.shape[1] % (size // 4))))
    frames = np.lib.stride_tricks.sliding_window_view(audio, size, axis=-1)[:, :: size // 4]
    return np.log(np.maximum(np.abs(rfft(frames * (window * (2 / window.sum())))), np.float32(FAINTEST)))

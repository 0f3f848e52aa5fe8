"""Measure: what can be said of a clip's sound by itself."""

from dataclasses import replace

import numpy as np

from manifests.clip import Clip
from manifests.loudness import loudness, peak_dbfs

FRAME = 0.025  # s, of the level that activity is read from
QUIETEST = -80.0  # dBFS RMS: frames under it are never active
REACH = 60.0  # dB under the loudest frequency: what is fainter is beyond a recording's bandwidth
RANGE = 30.0  # dB: a frame is active within this of the loudest 0.2 s


def measure(clip: Clip, audio: np.ndarray, rate: int) -> Clip:
    """The clip with all that is measured of its audio, float32 (channels, samples)."""
    clip, _, _ = measure_levels(clip, audio, rate)
    return measure_sound(clip, audio, rate)


def measure_levels(clip: Clip, audio: np.ndarray, rate: int) -> tuple[Clip, np.ndarray, np.ndarray]:
    """The clip with its duration and levels; the levels (frames,) of 25 ms in dBFS, and which of them are active."""
    levels, _ = frame_levels(audio, rate)
    loud = np.median(np.sort(levels)[-round(0.2 / FRAME) :])
    active = levels > max(loud - RANGE, QUIETEST)
    clip = replace(
        clip,
        duration=audio.shape[1] / rate,
        peak_dbfs=peak_dbfs(audio),
        noise_floor_db=float(np.mean(np.sort(levels)[: max(1, len(levels) // 10)])),
        active_ratio=float(active.mean()),
        dc_offset=float(np.abs(audio.mean(axis=1)).max()),
        clip_ratio=float((np.abs(audio) >= 0.9999).mean()),
    )
    return clip, levels, active


def measure_sound(clip: Clip, audio: np.ndarray, rate: int) -> Clip:
    """The clip with its loudness and bandwidth."""
    return replace(clip, lufs=loudness(audio, rate), bandwidth_hz=bandwidth(audio, rate))


def frame_levels(audio: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """RMS level in dBFS of frames of 25 ms, all channels together: (frames,), floored at -120; and samples a frame."""
    size = max(1, round(FRAME * rate))
    frames = audio.shape[1] // size
    if not frames:
        size, frames = audio.shape[1], 1
    power = np.square(audio[:, : frames * size]).reshape(audio.shape[0], frames, size).mean(axis=(0, 2))
    return 10 * np.log10(np.maximum(power, 1e-12)), size


def bandwidth(audio: np.ndarray, rate: int) -> float:
    """Frequency (Hz) up to which a recording reaches: the last whose level is within 60 dB of the loudest's, by averaged periodograms (Welch 1967) of at
    most 64 frames. A deep sound in a full recording reaches up to where its noise does."""
    size = min(2048, audio.shape[1])
    frames = np.lib.stride_tricks.sliding_window_view(audio.mean(axis=0), size)
    frames = frames[:: max(1, -(-len(frames) // 64))] * np.hanning(size).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames, axis=-1))).sum(axis=0)
    return float(np.flatnonzero(power >= power.max() * 10 ** (-REACH / 10))[-1] * rate / size)

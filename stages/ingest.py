"""Ingest: a window of a recording becomes a measured clip, or a row that says why not."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import fsspec
import numpy as np

from manifests.audio import decode, encode_flac
from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.loudness import SILENT, loudness, peak_dbfs
from stages.engines import soundfont

FRAME = 0.025  # s, of the level that activity is read from
EDGE = 0.025  # s kept on both sides of what is active
QUIETEST = -80.0  # dBFS RMS: frames under it are never active
RANGE = 30.0  # dB: a frame is active within this of the loudest 0.2 s


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a clip must keep to: numbers of our own judgement; MMEdit's recipe has events of 2 to 5 s."""

    event_seconds: tuple[float, float] = (0.5, 6.0)  # active time of an event
    background_active: float = 0.9  # share of a background that is active, at least
    floor_db: float = 20.0  # an event's noise floor lies this far under its activity, at least
    dc_offset: float = 0.01
    clip_ratio: float = 0.001

    def __post_init__(self):
        low, high = self.event_seconds
        if not 0 < low < high:
            raise ValueError(f"event_seconds goes from {low:g} to {high:g}; write the shorter first")


def ingest(window: Clip, rate: int, channels: int, seconds: float, gates: Gates) -> Iterator[tuple[Clip, bytes]]:
    """Decode, measure and judge one window.

    Args:
        window: a clip that is not yet measured: where it is, and what its source says of it.
        rate: the run's sample rate, Hz.
        channels: the run's.
        seconds: of a scene; a background is at least as long.

    Yields:
        Clips with their audio as FLAC (24 bits, normalised to -1 dBFS; `gain_db` says by how much), or
        with a reason and no bytes. A recording gives one, a piece of music one a track.
    """
    try:
        found = _load(window, rate, channels)
    except Rejected as rejected:
        yield replace(window, reason=str(rejected)), b""
        return
    for clip, audio in found:
        clip, audio = judge(clip, audio, rate, seconds, gates)
        if clip.reason is not None:
            yield clip, b""
            continue
        gain_db = round(-1.0 - clip.peak_dbfs, 3)
        flac = encode_flac(audio * np.float32(10 ** (gain_db / 20)), rate)
        identity = hashlib.blake2b(np.rint(audio * 8388608).astype("<i4").tobytes(), digest_size=8).hexdigest()
        yield replace(clip, clip_id=identity, gain_db=gain_db), flac


def _load(window: Clip, rate: int, channels: int) -> list[tuple[Clip, np.ndarray]]:
    if window.uri.startswith(soundfont.SCHEME):
        return soundfont.play(window, rate, channels)
    if "://" not in window.uri:
        return [(window, decode(window.uri, window.start, window.end, rate, channels))]
    with fsspec.open(window.uri, "rb") as file:
        return [(window, decode(file, window.start, window.end, rate, channels))]


def judge(clip: Clip, audio: np.ndarray, rate: int, seconds: float, gates: Gates) -> tuple[Clip, np.ndarray]:
    """Measure a clip, settle its role and trim an event to where it sounds.

    Returns:
        The measured clip, with a reason if it keeps to the gates of no role or not of the one that it was given, and
        its audio, float32 (channels, samples).
    """
    levels, size = frame_levels(audio, rate)
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
    role, reason = _role(clip, levels, active, seconds, gates)
    if reason is not None:
        return replace(clip, reason=reason), audio
    if role == "event":
        sounding = np.flatnonzero(active)
        first, edge = int(sounding[0]) * size, round(EDGE * rate)
        last = audio.shape[1] if sounding[-1] == len(levels) - 1 else (int(sounding[-1]) + 1) * size + edge
        first = max(0, first - edge)
        audio = audio[:, first:last]
        start = clip.start + first / rate
        clip = replace(clip, duration=audio.shape[1] / rate, start=start, end=start + audio.shape[1] / rate)
    clip = replace(clip, role=role, lufs=loudness(audio, rate), bandwidth_hz=bandwidth(audio, rate))
    return replace(clip, reason="inaudible: BS.1770 finds it silent") if clip.lufs <= SILENT else clip, audio


def _role(clip: Clip, levels: np.ndarray, active: np.ndarray, seconds: float, gates: Gates) -> tuple[str, str | None]:
    """The role that a clip can have, and why it can have none."""
    if not active.any():
        return "", f"silent or too quiet: peak at {clip.peak_dbfs:.0f} dBFS"
    if len(active) < 4:
        return "", f"too short: {clip.duration:.3f} s"
    if clip.dc_offset > gates.dc_offset:
        return "", f"DC offset of {clip.dc_offset:.3f} (at most {gates.dc_offset:g})"
    if clip.clip_ratio > gates.clip_ratio:
        return "", f"clipped: {clip.clip_ratio:.2%} of its samples (at most {gates.clip_ratio:.2%})"
    if clip.role == "track":
        return "track", None
    faults = {"background": _background_fault(clip, seconds, gates), "event": _event_fault(levels, active, gates)}
    roles = [clip.role] if clip.role in faults else list(faults)
    for role in roles:
        if faults[role] is None:
            return role, None
    return "", "; ".join(f"no {role}: {faults[role]}" for role in roles)


def _background_fault(clip: Clip, seconds: float, gates: Gates) -> str | None:
    if clip.duration < seconds:
        return f"{clip.duration:.2f} s long (a scene is {seconds:g} s)"
    if clip.active_ratio < gates.background_active:
        return f"active for {clip.active_ratio:.0%} of the time (at least {gates.background_active:.0%})"
    return None


def _event_fault(levels: np.ndarray, active: np.ndarray, gates: Gates) -> str | None:
    low, high = gates.event_seconds
    sounding = np.flatnonzero(active)
    span = (sounding[-1] - sounding[0] + 1) * FRAME
    if not low <= active.sum() * FRAME or span > high:
        return f"active for {active.sum() * FRAME:.2f} s within {span:.2f} s (from {low:g} to {high:g} s)"
    if active.all():  # else what is quiet lies 30 dB under the loud, and so does the floor
        lowest, low_tenth, low_third, loud = np.percentile(levels, [5, 10, 30, 95])
        if 6.0 < loud - low_tenth < gates.floor_db and low_third - lowest < 1.5:  # even at the bottom: a floor, not a decay
            return f"its noise floor lies {loud - low_tenth:.0f} dB under its activity (at least {gates.floor_db:g} dB)"
    return None


def frame_levels(audio: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """RMS level in dBFS of frames of 25 ms, all channels together: (frames,), floored at -120; and samples a frame."""
    size = max(1, round(FRAME * rate))
    frames = audio.shape[1] // size
    if not frames:
        size, frames = audio.shape[1], 1
    power = np.square(audio[:, : frames * size]).reshape(audio.shape[0], frames, size).mean(axis=(0, 2))
    return 10 * np.log10(np.maximum(power, 1e-12)), size


def bandwidth(audio: np.ndarray, rate: int) -> float:
    """Frequency (Hz) under which 99 % of the energy lies, by averaged periodograms (Welch 1967) of at most 64 frames."""
    size = min(2048, audio.shape[1])
    frames = np.lib.stride_tricks.sliding_window_view(audio.mean(axis=0), size)
    frames = frames[:: max(1, -(-len(frames) // 64))] * np.hanning(size).astype(np.float32)
    energy = np.cumsum((np.abs(np.fft.rfft(frames, axis=-1)) ** 2).sum(axis=0))
    return float(np.searchsorted(energy, 0.99 * energy[-1]) * rate / size)

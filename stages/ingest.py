"""Ingest: a window of a recording becomes a measured clip, or a row that says why not."""

import hashlib
from dataclasses import dataclass, replace

import fsspec
import numpy as np

from manifests.audio import Recordings, decode, encode_flac
from manifests.clip import EXCLUDED, Clip
from manifests.errors import Rejected
from manifests.loudness import SILENT
from manifests.speech import to_json
from stages.engines import espeak, soundfont
from stages.engines.protocols import Synthesizer
from stages.fingerprint import fingerprint
from stages.measure import FRAME, measure_levels, measure_sound

EDGE = 0.025  # s kept on both sides of what is active


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a clip must keep to: numbers of our own judgement; MMEdit's recipe has events of 2 to 5 s."""

    event_seconds: tuple[float, float] = (0.5, 6.0)  # active time of an event
    background_active: float = 0.9  # share of a background that is active, at least
    floor_db: float = 20.0  # an event's noise floor lies this far under its activity, at least
    bandwidth: float = 0.5  # of an event, over its background's, at least: a telephone in a studio would be the cue
    dc_offset: float = 0.01
    clip_ratio: float = 0.001
    stem_lu: float = 30.0  # LU that a stem may lie under its recording; one further under is but what leaks into a stem that is not there
    clap_label: float | None = None  # similarity of an event, or of a stem that an edit is about, with its label, at least; where a scorer runs
    speaker_overlap: float = 0.0  # share of a conversation's speech in which two speak at once, at most
    speaker_seconds: float = 0.5  # that each speaker of a conversation speaks, at least
    utterance_seconds: tuple[float, float] = (0.5, 30.0)  # length of an utterance
    join_db: float = -25.0  # speech is cut only where it is this quiet, under its own level
    alignment_confidence: float = 0.5  # that an utterance's words are where they are said, at least
    time_limit: float = 60.0  # s that decoding and measuring a window may take

    def __post_init__(self):
        for name in ("event_seconds", "utterance_seconds"):
            low, high = getattr(self, name)
            if not 0 < low < high:
                raise ValueError(f"{name} goes from {low:g} to {high:g}; write the shorter first")
        if not self.bandwidth >= 0:
            raise ValueError(f"bandwidth is {self.bandwidth:g}; write how much of its background's an event has, at least 0")
        if not self.stem_lu > 0:
            raise ValueError(f"stem_lu is {self.stem_lu:g}; write LU under the recording, more than 0")
        if self.clap_label is not None and not -1 <= self.clap_label <= 1:
            raise ValueError(f"clap_label is {self.clap_label:g}; write a similarity, from -1 to 1")
        if not self.speaker_seconds >= 0:
            raise ValueError(f"speaker_seconds is {self.speaker_seconds:g}; write seconds, at least 0")
        if not 0 <= self.speaker_overlap <= 1:
            raise ValueError(f"speaker_overlap is {self.speaker_overlap:g}; write a share, from 0 to 1")
        if not 0 < self.time_limit < float("inf"):
            raise ValueError(f"time_limit is {self.time_limit:g}; write seconds, more than 0")


def ingest(window: Clip, rate: int, channels: int, seconds: float, gates: Gates, recordings: Recordings | None = None,
           synthesizer: Synthesizer | None = None) -> list[tuple[Clip, np.ndarray]]:
    """Decode, measure and judge one window.

    Args:
        window: a clip that is not yet measured: where it is, and what its source says of it.
        rate: the run's sample rate, Hz.
        channels: the run's.
        seconds: of a scene; a background is at least as long.
        recordings: decodes files, and keeps open the one that is likely to be next.
        synthesizer: speaks windows that are sentences.

    Returns:
        Clips with their audio, float32 (channels, samples), or with a reason. A recording gives one, a piece of music
        one a track.
    """
    try:
        found = _load(window, rate, channels, recordings or Recordings(), synthesizer)
    except Rejected as rejected:
        return [(replace(window, reason=str(rejected)), _none(channels))]
    if window.role == EXCLUDED:
        return [(_known_again(*found[0], rate, seconds, gates), _none(channels))]
    judged = [judge(clip, audio, rate, seconds, gates) for clip, audio in found]
    if window.uri.startswith((soundfont.SCHEME, espeak.SCHEME)):  # strikes one sample again and again
        return judged
    return [(replace(clip, fingerprint=fingerprint(audio, rate)), audio) for clip, audio in judged]


def store(clip: Clip, audio: np.ndarray, rate: int) -> tuple[Clip, bytes]:
    """A clip with its identity, and its audio as FLAC: 24 bits, normalised to -1 dBFS; `gain_db` says by how much."""
    gain_db = round(-1.0 - clip.peak_dbfs, 3)
    flac = encode_flac(audio * np.float32(10 ** (gain_db / 20)), rate)
    return replace(clip, clip_id=identity(audio), gain_db=gain_db), flac


def identity(audio: np.ndarray) -> str:
    """What names a clip by its samples, float32 (channels, samples)."""
    return hashlib.blake2b(np.rint(audio * 8388608).astype("<i4").tobytes(), digest_size=8).hexdigest()


def _known_again(clip: Clip, audio: np.ndarray, rate: int, seconds: float, gates: Gates) -> Clip:
    """A clip that never enters, with the identity that a source's of the same samples has, and its fingerprint."""
    taken, sound = judge(replace(clip, role=""), audio, rate, seconds, gates)
    return replace(clip, clip_id="" if taken.reason else identity(sound), duration=taken.duration, fingerprint=fingerprint(audio, rate),
                   reason="exclude names it")


def _none(channels: int) -> np.ndarray:
    return np.zeros((channels, 0), np.float32)


def _load(window: Clip, rate: int, channels: int, recordings: Recordings, synthesizer: Synthesizer | None) -> list[tuple[Clip, np.ndarray]]:
    if window.uri.startswith(soundfont.SCHEME):
        return soundfont.play(window, rate, channels)
    if window.uri.startswith(espeak.SCHEME):
        clip, audio, words = espeak.play(window, rate, synthesizer)
        return [(replace(clip, words=to_json(words, [])), np.repeat(audio, channels, axis=0))]
    if "://" not in window.uri:
        return [(window, recordings.decode(window.uri, window.start, window.end, rate, channels))]
    with fsspec.open(window.uri, "rb") as file:
        return [(window, decode(file, window.start, window.end, rate, channels))]


def judge(clip: Clip, audio: np.ndarray, rate: int, seconds: float, gates: Gates) -> tuple[Clip, np.ndarray]:
    """Measure a clip, settle its role and trim an event to where it sounds.

    Returns:
        The measured clip, with a reason if it keeps to the gates of no role or not of the one that it was given, and
        its audio, float32 (channels, samples).
    """
    clip, levels, active = measure_levels(clip, audio, rate)
    role, reason = _role(clip, levels, active, seconds, gates)
    if reason is not None:
        return replace(clip, reason=reason), _none(audio.shape[0])
    if role == "event":
        sounding, size = np.flatnonzero(active), max(1, round(FRAME * rate))
        first, edge = int(sounding[0]) * size, round(EDGE * rate)
        last = audio.shape[1] if sounding[-1] == len(levels) - 1 else (int(sounding[-1]) + 1) * size + edge
        first = max(0, first - edge)
        audio = audio[:, first:last]
        start = clip.start + first / rate
        clip = replace(clip, duration=audio.shape[1] / rate, start=start, end=start + audio.shape[1] / rate)
    clip = measure_sound(replace(clip, role=role), audio, rate)
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
    if clip.role == "conversation":
        return "conversation", None
    if clip.role == "stem":
        return "stem", f"{clip.duration:.2f} s long (a scene is {seconds:g} s)" if clip.duration < seconds else None
    if clip.role == "utterance":
        low, high = gates.utterance_seconds
        return "utterance", None if low <= clip.duration <= high else f"an utterance of {clip.duration:.2f} s (from {low:g} to {high:g} s)"
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

"""Score speech: how well the pieces join, and what is heard to be said on each side."""

import time
from itertools import islice

import numpy as np

from manifests.clip import Clip
from manifests.loudness import SILENT
from manifests.pair import Pair
from manifests.scene import Scene
from stages.measure import frame_levels
from stages.scenes.utterance import joins
from stages.score import score_levels

JOIN = 0.010  # s around a join whose level is its level
INAUDIBLE = 60.0  # dB under the speech
PITCH_REACH = 0.2  # s from a join within which pitch is looked for
PITCH_FRAME = 0.04  # s
PITCHES = (60.0, 400.0)  # Hz
QUIET = 25.0  # dB under the speech: in quieter frames no pitch is looked for
PITCHED = 3  # frames nearest to a join whose median is its pitch
APERIODIC = 0.1  # of YIN's difference function: above it a frame has no pitch


def score_speech(pair: Pair, scene: Scene, clips: dict[str, Clip]) -> None:
    """Fill in what can be measured of a speech pair's signals.

    `join_level_db` is the loudest join's level in dB under the speech (its frames within 30 dB of the loudest),
    `join_f0_semitones` the widest step of pitch over a join that has pitch on both sides, `floor_step_db` how far
    the noise floors of two recordings lie apart.
    """
    started = time.perf_counter()
    rate = pair.sample_rate
    spliced, pieces = (pair.source, pair.before) if len(pair.before) > 1 else (pair.target, pair.after)
    audio = spliced.astype(np.float32) / 32768
    places = joins(scene, pieces)
    levels, _ = frame_levels(audio, rate)
    speech = float(10 * np.log10(np.mean(10 ** (levels[levels > levels.max() - 30] / 10))))
    pair.join_level_db = max(_level(audio, at, rate) for at in places) - speech
    steps = [step for at in places if (step := _pitch_step(audio.mean(axis=0), at, rate, speech - QUIET)) is not None]
    pair.join_f0_semitones = max(steps) if steps else None
    pair.floor_step_db = _floor_step(pair, scene, clips, speech)
    clip = clips[scene.stems[0].clip_id]
    used = [clips[scene.stems[i].clip_id].alignment_confidence for i in (*pair.before, *pair.after)]
    pair.alignment_confidence = min((value for value in used if value is not None), default=None)
    pair.chars_per_second = clip.chars_per_second
    score_levels(pair)
    pair.seconds_score = time.perf_counter() - started


def _level(audio: np.ndarray, at: int, rate: int) -> float:
    """RMS level in dBFS of the 10 ms around a sample."""
    half = max(1, round(JOIN * rate / 2))
    around = audio[:, max(0, at - half) : at + half]
    power = np.mean(np.square(around, dtype=np.float64)) if around.size else 0.0
    return float(10 * np.log10(max(power, 10 ** (SILENT / 10))))


def _floor_step(pair: Pair, scene: Scene, clips: dict[str, Clip], speech: float) -> float | None:
    """How far, in dB, the noise floors of a recording and of what is put into it lie apart; None where nothing is put in.

    What is over 60 dB under the speech is not told apart.
    """
    if not pair.edited:
        return None
    put_in = scene.stems[pair.edited[0]]
    own, other = clips[scene.stems[0].clip_id].noise_floor_db, clips[put_in.clip_id].noise_floor_db + put_in.gain_db
    return abs(max(own + scene.gain_db, speech - INAUDIBLE) - max(other + scene.gain_db, speech - INAUDIBLE))


def _pitch_step(audio: np.ndarray, at: int, rate: int, quietest: float) -> float | None:
    """Semitones between the pitch before a sample and after it, in frames of at least `quietest` dBFS.

    None where one side has none within reach.
    """
    size, hop, reach = round(PITCH_FRAME * rate), round(0.01 * rate), round(PITCH_REACH * rate)
    before = range(at - size, max(-1, at - reach), -hop)
    after = range(at, min(at + reach, len(audio)) - size, hop)
    frames = [[audio[start : start + size] for start in starts if start >= 0] for starts in (before, after)]
    loud = [[frame for frame in side if np.mean(np.square(frame)) > 10 ** (quietest / 10)] for side in frames]
    found = [list(islice(filter(None, (pitch(frame, rate) for frame in side)), PITCHED)) for side in loud]
    return abs(12 * float(np.log2(np.median(found[1]) / np.median(found[0])))) if all(found) else None


def pitch(frame: np.ndarray, rate: int) -> float | None:
    """Fundamental frequency (Hz) of one frame (samples,) by YIN (de Cheveigné & Kawahara 2002); None where it has none."""
    longest = min(len(frame) // 2, int(rate / PITCHES[0]))
    shortest = int(rate / PITCHES[1])
    width = len(frame) - longest
    lags = np.arange(1, longest)
    squares = np.concatenate([[0.0], np.cumsum(np.square(frame, dtype=np.float64))])
    spectrum = np.fft.rfft(frame[:width], 2 * len(frame)).conj() * np.fft.rfft(frame, 2 * len(frame))
    products = np.fft.irfft(spectrum)[:longest]
    difference = squares[width] + (squares[lags + width] - squares[lags]) - 2 * products[1:]
    mean = np.cumsum(difference) / lags
    if shortest >= longest - 1 or mean[-1] <= 1e-9 * width:
        return None
    normal = difference / np.maximum(mean, 1e-12)
    under = np.flatnonzero(normal[shortest:] < APERIODIC)
    if not len(under):
        return None
    best = shortest + int(under[0])
    while best + 1 < len(normal) and normal[best + 1] < normal[best]:
        best += 1
    return rate / float(lags[best])

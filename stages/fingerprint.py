"""Fingerprint: what stays of a sound where it is encoded again, made louder or cut at its ends; and which sounds are the same by it.

Pairs of spectral peaks and the time between them, each known by a hash (Wang 2003, "An industrial-strength audio search algorithm"); of a sound the least
hashes only (Broder 1997, "On the resemblance and containment of documents"), which are those of whatever it is a part of too. Not by Chromaprint, whose
prints begin at three seconds.
"""

import base64

import numpy as np
import soxr
from scipy.ndimage import maximum_filter

from manifests.chance import mix

RATE = 8000  # Hz, that recordings of any rate are brought to
FRAME, HOP = 512, 96  # samples
LOWEST = 6  # bin; what is under it, 94 Hz, is hum and rumble
AROUND = (7, 15)  # frames and bins of which a peak is the loudest
DEEPEST = 8.0  # nepers that a peak lies under the loudest, at most
RISE = 0.7  # nepers that it lies over what is usual at its frequency, at least: a hum has none
PEAKS = 40  # a second, on average, at most
PAIRS = 10  # of each peak with those that follow it
REACH = 83  # frames (1 s) between the two, at most
MARKS, MORE = 64, 32  # kept of a sound, at most, and for each second of it
LEAST_MARKS, LEAST_SHARE = 5, 0.1  # at one shift of time, for two sounds to be the same
MANY = 16_000_000  # marks, those of the least hashes, by which it is found which sounds may be alike; then all of theirs are compared
COMMON = 64  # sounds with one mark, from which on it tells nothing
_KIND = np.dtype([("hash", "<u4"), ("at", "<u2")])


def fingerprint(audio: np.ndarray, rate: int) -> str:
    """The marks of a sound, float32 (channels, samples): in order of their hashes, each with the frame of 12 ms in which it begins; base64.

    "" where there are none: in silence, and where nothing changes.
    """
    mono = audio[0] if len(audio) == 1 else audio.mean(axis=0)
    mono = mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="LQ")
    if len(mono) < FRAME:
        return ""
    frames = np.lib.stride_tricks.sliding_window_view(mono, FRAME)[::HOP] * np.hanning(FRAME).astype(np.float32)
    at, bins = _peaks(np.log(np.maximum(np.abs(np.fft.rfft(frames, axis=1)[:, LOWEST:]), 1e-9)))
    first, second = (places.ravel() for places in np.broadcast_arrays(*np.ogrid[: len(at), 1 : 4 * PAIRS + 1]))
    first, second = first[first + second < len(at)], (first + second)[first + second < len(at)]
    gap = at[second] - at[first]
    near = (gap > 2) & (gap <= REACH) & (at[first] < 2**16)
    first, second, gap = first[near], second[near], gap[near]
    nearest = np.arange(len(first)) - np.searchsorted(first, first) < PAIRS
    first, second, gap = first[nearest], second[nearest], gap[nearest]
    hashes = mix(bins[first] << 16 | bins[second] << 8 | gap >> 1) >> np.uint64(32)  # a copy's frames may lie between: gaps are told by twos
    told = np.unique(hashes << np.uint64(16) | at[first].astype(np.uint64))[: MARKS + int(MORE * len(mono) / RATE)]
    marks = np.empty(len(told), _KIND)
    marks["hash"], marks["at"] = told >> np.uint64(16), told & np.uint64(2**16 - 1)
    return base64.b64encode(marks.tobytes()).decode()


def _peaks(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames and bins, each (peaks,), of the loudest peaks of log magnitudes (frames, bins), in order of time."""
    least = np.maximum(levels.max() - DEEPEST, levels.mean(axis=0) + RISE)
    at, bins = np.nonzero((levels == maximum_filter(levels, AROUND)) & (levels > least))
    loudest = np.sort(np.argsort(-levels[at, bins], kind="stable")[: max(PEAKS // 2, round(PEAKS * len(levels) * HOP / RATE))])
    return at[loudest], bins[loudest]


def alike(prints: list[str], apart: np.ndarray) -> list[tuple[int, int]]:
    """Which sounds are the same, or part of the same, by their fingerprints: pairs of their places, the lower first, in order.

    Two are where, at one shift of time, at least `LEAST_MARKS` of their marks meet, and of those that both could have at least `LEAST_SHARE` of the fewer.

    Args:
        apart: (sounds,) int; those with one number, of one file say, are not compared.
    """
    found = [np.frombuffer(base64.b64decode(text), _KIND) for text in prints]
    return [pair for pair in _likely(found, apart) if _same(found[pair[0]], found[pair[1]])]


def _likely(found: list[np.ndarray], apart: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of sounds that share two marks at one shift of time, among the least hashes."""
    marks, sound = np.concatenate([np.empty(0, _KIND), *found]), np.repeat(np.arange(len(found)), [len(marks) for marks in found])
    if len(marks) > MANY:
        few = marks["hash"] < np.partition(marks["hash"], MANY)[MANY]
        marks, sound = marks[few], sound[few]
    order = np.argsort(marks["hash"], kind="stable")
    hashes, at, sound = marks["hash"][order], marks["at"][order].astype(np.int64), sound[order]
    firsts = np.flatnonzero(np.diff(hashes.astype(np.int64), prepend=-1))
    sizes = np.diff(np.append(firsts, len(hashes)))
    later = np.where(np.repeat(sizes <= COMMON, sizes), np.repeat(firsts + sizes, sizes) - 1 - np.arange(len(hashes)), 0)  # of one hash, after each
    one = np.repeat(np.arange(len(hashes)), later)
    other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(later) - later, later)
    told = apart[sound[one]] != apart[sound[other]]
    one, other = one[told], other[told]  # of one hash sounds stand in their order
    meetings = np.sort((sound[one] * len(found) + sound[other]) * 2**17 + at[one] - at[other] + 2**16)
    return [divmod(pair, len(found)) for pair in np.unique(meetings[1:][meetings[1:] == meetings[:-1]] >> 17).tolist()]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    last = min(int(marks["hash"][-1]) if len(marks) >= MARKS else 2**32 for marks in (one, other))  # of greater ones a sound may not tell
    one, other = (marks[marks["hash"] <= last] for marks in (one, other))
    first, end = (np.searchsorted(other["hash"], one["hash"], side=side) for side in ("left", "right"))
    shifts = np.sort(np.concatenate([other["at"][a:b].astype(int) - at for a, b, at in zip(first, end, one["at"].astype(int)) if a < b]))
    together = np.searchsorted(shifts, shifts + 1, side="right") - np.arange(len(shifts))  # one that lies between two frames is found in both
    return int(together.max()) >= max(LEAST_MARKS, LEAST_SHARE * min(len(one), len(other)))

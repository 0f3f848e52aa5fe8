"""Separate: windows of recordings become their stems, which sum to them."""

import contextlib
from dataclasses import replace

import numpy as np

from manifests.clip import TIERS, Clip
from manifests.errors import Rejected, RunError
from manifests.loudness import SILENT, loudness, peak_dbfs
from stages.batches import Watch, in_batches
from stages.engines.protocols import Separator
from stages.ingest import Gates
from stages.measure import measure

REST = "rest"  # the part of what has no label
AUDIBLE = -84.0  # dBFS of the peak: a rest under two steps of 16 bits is none

Stems = dict[str, np.ndarray]


def separate(windows: list[tuple[Clip, np.ndarray]], rate: int, separator: Separator, gates: Gates,
             watch: Watch = contextlib.nullcontext) -> list[list[tuple[Clip, np.ndarray | None]]]:
    """Take windows of recordings apart.

    What the separator leaves over, gives without a label (or as "rest"), or gives more than `gates.stem_lu` under the recording
    is the rest. A rest that can be heard, its peak over -84 dBFS, is one more stem, of label "" and part "rest"; any other goes
    into the strongest stem. So the stems always sum to the recording, to the rounding of float32.

    `separation_error_db` of every stem is the power of what the separator left over, over the power of the recording, floored at -120.

    `leak_db` of a stem is how much of it was left behind: the recording less the stem is separated once more, and the power of
    what is found there under the stem's label is put over the power of the stem, floored at -120. A rest has none.

    Args:
        windows: clips, whose label, caption and transcript are the whole recording's, so that no stem takes them; and their audio,
            float32 (channels, samples).
        rate: Hz.
        separator: what takes them apart; each once, and once more for each stem.
        watch: what stands around a call of the separator.

    Returns:
        For each window, measured clips of role "stem" and of one `piece`, with their audio, float32 of the recording's shape: in
        the separator's order, the rest last. Their tier is the lower of the window's and the separator's. Or the window with a
        reason: it is silent, the separator gives what is not finite, or no stem with a label is left.

    Raises:
        RunError: the separator gives a stem of another shape.
    """
    levels = [loudness(audio, rate) for _, audio in windows]
    audible = [audio for (_, audio), level in zip(windows, levels) if level > SILENT]
    given = iter(in_batches(separator, audible, lambda some: separator.separate(some, rate), watch))
    apart: list[tuple[Stems, float] | Rejected] = []
    for (_, audio), level in zip(windows, levels):
        try:
            apart.append(_stems(next(given), audio, level, rate, gates.stem_lu) if level > SILENT else Rejected("inaudible: BS.1770 finds it silent"))
        except Rejected as rejected:
            apart.append(rejected)
    leaks = iter(_leaks(separator, [(audio, *found) for (_, audio), found in zip(windows, apart) if not isinstance(found, Rejected)], rate, watch))
    return [[(replace(clip, reason=str(found)), None)] if isinstance(found, Rejected) else _clips(clip, audio, *found, next(leaks), rate, separator.tier)
            for (clip, audio), found in zip(windows, apart)]


def _stems(given: Stems | Rejected, audio: np.ndarray, level: float, rate: int, under: float) -> tuple[Stems, float]:
    """The stems that have a label and are heard beside a recording of the given loudness (LUFS), and the separator's error (dB)."""
    stems = _checked(given, audio)
    error = _ratio_db(audio - sum(stems.values()), audio)
    stems = {label: stem for label, stem in stems.items() if label not in ("", REST)}
    if not stems:
        raise Rejected("nothing to tell apart: the separator gives no stem with a label")
    below = {label: level - loudness(stem, rate) for label, stem in stems.items()}
    loudest = min(below, key=below.get)
    if below[loudest] > under:
        raise Rejected(f"nothing to tell apart: its loudest stem, '{loudest}', lies {below[loudest]:.0f} LU under the recording (at most {under:g})")
    return {label: stem for label, stem in stems.items() if below[label] <= under}, error


def _checked(given: Stems | Rejected, audio: np.ndarray) -> Stems:
    """A separator's answer, float32."""
    if isinstance(given, Rejected):
        raise given
    for label, stem in given.items():
        if np.shape(stem) != audio.shape:
            raise RunError(f"separator: its stem '{label}' has the shape {np.shape(stem)}; the recording has {audio.shape}")
        if not np.isfinite(stem).all():
            raise Rejected(f"the separator's stem '{label}' has samples that are not finite (NaN or infinite)")
    return {label: np.asarray(stem, np.float32) for label, stem in given.items()}


def _leaks(separator: Separator, found: list[tuple[np.ndarray, Stems, float]], rate: int, watch: Watch) -> list[dict[str, float | None]]:
    """`leak_db` of each recording's stems. Of a separation only a number is kept; silence is not given to be separated."""
    left = [(n, label) for n, (audio, stems, _) in enumerate(found) for label, stem in stems.items() if (audio - stem).any()]

    def measured(some: list[tuple[int, str]]) -> list[float | Rejected]:
        answers = separator.separate([found[n][0] - found[n][1][label] for n, label in some], rate)
        return [_left(answer, *found[n][:2], label) for (n, label), answer in zip(some, answers)]

    leaks = [dict.fromkeys(stems, SILENT) for _, stems, _ in found]
    for (n, label), leak in zip(left, in_batches(separator, left, measured, watch)):
        leaks[n][label] = None if isinstance(leak, Rejected) else leak  # not known
    return leaks


def _left(again: Stems | Rejected, audio: np.ndarray, stems: Stems, label: str) -> float | Rejected:
    try:
        again = _checked(again, audio)
    except Rejected as rejected:
        return rejected
    return _ratio_db(again[label], stems[label]) if label in again else SILENT


def _clips(clip: Clip, audio: np.ndarray, stems: Stems, error: float, leaks: dict[str, float | None], rate: int, tier: str) -> list[tuple[Clip, np.ndarray]]:
    """Measured clips of a window's stems, which sum to it."""
    rest = audio - sum(stems.values())
    heard = peak_dbfs(rest) > AUDIBLE
    if not heard:
        strongest = max(stems, key=lambda label: _power(stems[label]))
        stems[strongest] = stems[strongest] + rest
    unlabelled = replace(
        clip,
        role="stem",
        tier=min(clip.tier, tier, key=TIERS.index),
        piece=f"{clip.uri} [{clip.start:.10g} s, {clip.end:.10g} s]",  # ten digits tell windows apart that lie days into a file
        part=REST,
        label="",
        caption="",
        transcript="",
        separation_error_db=error,
    )
    given = [(replace(unlabelled, label=label, part=label, leak_db=leaks[label]), stem) for label, stem in stems.items()]
    if heard:
        given.append((unlabelled, rest))
    return [(measure(stem, sound, rate), sound) for stem, sound in given]


def _power(audio: np.ndarray) -> float:
    return float(np.mean(np.square(audio, dtype=np.float64)))


def _ratio_db(audio: np.ndarray, other: np.ndarray) -> float:
    """Power of one over that of another, which is not silent, in dB and floored at -120."""
    return float(max(SILENT, 10 * np.log10(max(_power(audio) / _power(other), 1e-30))))

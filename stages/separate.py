"""Separate: a window of a recording becomes its stems, which sum to it."""

from dataclasses import replace

import numpy as np

from manifests.clip import TIERS, Clip
from manifests.errors import Rejected, RunError
from manifests.loudness import SILENT, loudness, peak_dbfs
from stages.engines.protocols import Separator
from stages.measure import measure

REST = "rest"  # the part of what has no label
AUDIBLE = -84.0  # dBFS of the peak: a rest under two steps of 16 bits is none
BESIDE = 30.0  # LU: a stem further under its recording is but what leaks into a stem that it lacks


def separate(clip: Clip, audio: np.ndarray, rate: int, separator: Separator) -> list[tuple[Clip, np.ndarray]]:
    """Take a window of a recording apart.

    What the separator leaves over, gives without a label (or as "rest"), or gives more than 30 LU under the recording is the
    rest. A rest that can be heard, its peak over -84 dBFS, is one more stem, of label "" and part "rest"; any other goes into the
    strongest stem. So the stems always sum to the recording, to the rounding of float32.

    `separation_error_db` of every stem is the power of that rest over the power of the recording, floored at -120.

    `leak_db` of a stem is how much of it was left behind: the recording less the stem is separated once more, and the power of
    what is found there under the stem's label is put over the power of the stem, floored at -120. A rest has none.

    Args:
        clip: the window; its label, caption and transcript are the whole recording's, and no stem takes them.
        audio: of the window, float32 (channels, samples).
        rate: Hz.
        separator: what takes it apart; once for the recording and once more for each stem.

    Returns:
        Measured clips of role "stem" and of one `piece`, with their audio, float32 of the recording's shape: in the separator's
        order, the rest last. Their tier is the lower of the window's and the separator's.

    Raises:
        Rejected: it is silent, the separator gives what is not finite, or no stem with a label is left.
        RunError: the separator gives a stem of another shape.
    """
    level = loudness(audio, rate)
    if level <= SILENT:
        raise Rejected("inaudible: BS.1770 finds it silent")
    stems = _beside(_labelled(separator, audio, rate), level, rate)
    rest = audio - sum(stems.values())
    error = _ratio_db(rest, audio)
    heard = peak_dbfs(rest) > AUDIBLE
    if not heard:
        strongest = max(stems, key=lambda label: _power(stems[label]))
        stems[strongest] = stems[strongest] + rest
    unlabelled = replace(
        clip,
        role="stem",
        tier=min(clip.tier, separator.tier, key=TIERS.index),
        piece=f"{clip.uri} [{clip.start:.10g} s, {clip.end:.10g} s]",  # ten digits tell windows apart that lie days into a file
        part=REST,
        label="",
        caption="",
        transcript="",
        separation_error_db=error,
    )
    given = []
    for label, stem in stems.items():
        left = _labelled(separator, audio - stem, rate).get(label)
        leak = SILENT if left is None else _ratio_db(left, stem)
        given.append((replace(unlabelled, label=label, part=label, leak_db=leak), stem))
    if heard:
        given.append((unlabelled, rest))
    return [(measure(stem, sound, rate), sound) for stem, sound in given]


def _labelled(separator: Separator, audio: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    """The stems that a separator gives and names, float32; of silence none, which not every model bears to be given."""
    if not audio.any():
        return {}
    stems = {}
    for label, stem in separator.separate(audio, rate).items():
        if np.shape(stem) != audio.shape:
            raise RunError(f"separator: its stem '{label}' has the shape {np.shape(stem)}; the recording has {audio.shape}")
        if not np.isfinite(stem).all():
            raise Rejected(f"the separator's stem '{label}' has samples that are not finite (NaN or infinite)")
        if label not in ("", REST):
            stems[label] = np.asarray(stem, np.float32)
    return stems


def _beside(stems: dict[str, np.ndarray], level: float, rate: int) -> dict[str, np.ndarray]:
    """Those stems that are heard beside a recording of the given loudness (LUFS)."""
    if not stems:
        raise Rejected("nothing to tell apart: the separator gives no stem with a label")
    under = {label: level - loudness(stem, rate) for label, stem in stems.items()}
    loudest = min(under, key=under.get)
    if under[loudest] > BESIDE:
        raise Rejected(f"nothing to tell apart: its loudest stem, '{loudest}', lies {under[loudest]:.0f} LU under the recording (at most {BESIDE:g})")
    return {label: stem for label, stem in stems.items() if under[label] <= BESIDE}


def _power(audio: np.ndarray) -> float:
    return float(np.mean(np.square(audio, dtype=np.float64)))


def _ratio_db(audio: np.ndarray, other: np.ndarray) -> float:
    """Power of one over that of another, which is not silent, in dB and floored at -120."""
    return float(max(SILENT, 10 * np.log10(max(_power(audio) / _power(other), 1e-30))))

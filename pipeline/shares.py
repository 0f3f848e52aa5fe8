"""What a plan's scenes are made of, as shares, beside what was asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
import pyarrow as pa

from manifests.labels import Labels
from pipeline.config import Scenes

TOLD_APART = ("remove", "extract", "replace")  # edits that want another sound to be confused with
OF_ALL = ("remove", "extract")  # edits that pass over no scene in which a sound is heard twice, as the others do
DEVIATIONS, LEAST = 4, 0.02  # of a binomial, and of all at least: a share that falls short by more is no chance
EVENTS_LACK = "too few labels to tell apart, or recordings of event length: add some, or ask for fewer in scenes.events"
REPEATS_LACK = "too few recordings of one label, or events too long for a scene to hold two: add some, or ask for fewer in scenes.repeats"
NOOPS_LACK = "backgrounds without a label, which may hold any sound, or too few labels to tell apart: label some, or ask for fewer in scenes.noops"


@dataclass(frozen=True)
class Share:
    """One that was asked for, and what it came to."""

    of: str  # what has it, in words
    found: float
    asked: float
    count: int  # of draws that it is made of
    lacks: str  # what keeps it low, in words

    def shortage(self) -> Iterator[str]:
        """A line where it falls short by more than chance explains."""
        if self.asked - self.found > max(LEAST, DEVIATIONS * sqrt(self.asked * (1 - self.asked) / self.count)):
            yield f"less than asked for: {self.found:.1%} {self.of}, not {self.asked:.1%}: {self.lacks}"


def shares(plan: pa.Table, clips: pd.DataFrame, labels: Labels, asked: Scenes) -> Iterator[str]:
    """A line for each thing that was asked for in `scenes`, then one for each that falls short.

    Args:
        plan: plan.parquet.
        clips: of the run; columns clip_id and label.
        labels: what labels mean.
    """
    rows = plan.select(["scene_id", "kind", "edit", "noop"]).to_pandas()
    grounded, edits, told = (rows["kind"] == "soundscape").to_numpy(), rows["edit"].to_numpy(), []
    sounds, different = _heard(plan["clip_ids"].combine_chunks(), grounded, clips, labels)
    if (scene := _firsts(rows, grounded)).any():
        count, events = scene.sum(), np.bincount(different[scene], minlength=5)[1:] / scene.sum()
        yield f"{count} soundscapes: {_percent(events)} with 1, 2, 3, 4 sounds ({_percent(asked.events)} asked for)"
        wanted = {n: min(1.0, sum(asked.events[n - 1 :])) for n in (2, 3, 4)}  # shares may add up to a little over 1
        told += [Share(f"of soundscapes have {n} sounds or more", events[n - 1 :].sum(), share, count, EVENTS_LACK) for n, share in wanted.items()]
    if (scene := _firsts(rows, grounded & np.isin(edits, OF_ALL))).any():
        twice = Share("of soundscapes have one sound twice", (different < sounds)[scene].mean(), asked.repeats, scene.sum(), REPEATS_LACK)
        yield f"soundscapes of {_named(OF_ALL, edits[grounded])}: {twice.found:.0%} with one sound twice ({twice.asked:.0%} asked for)"
        told.append(twice)
    about = np.isin(edits, TOLD_APART)
    for kind, wanted in (("soundscape", 1 - asked.events[0]), ("piece", None)):
        if (mine := about & (rows["kind"] == kind).to_numpy()).any():
            beside, names = (different > 1)[mine].mean(), _named(TOLD_APART, edits[mine])
            yield f"{names} of {kind}s: {beside:.0%} beside another labelled sound{f' ({wanted:.0%} asked for)' if wanted is not None else ''}"
            if wanted is not None:
                told.append(Share(f"of {names} pairs stand beside another labelled sound", beside, wanted, _firsts(rows, mine).sum(), EVENTS_LACK))
    if (possible := about & (edits != "extract") & rows["kind"].isin(("soundscape", "piece")).to_numpy()).any():
        absent = Share("of remove, replace pairs name a sound that is not there", rows["noop"][possible].mean(), asked.noops, possible.sum(), NOOPS_LACK)
        yield f"remove, replace: {absent.found:.1%} name a sound that is not there ({absent.asked:.1%} asked for)"
        told.append(absent)
    for share in told:
        yield from share.shortage()


def _percent(found: np.ndarray | tuple) -> str:
    return ", ".join(f"{share:.0%}" for share in found)


def _named(edits: tuple[str, ...], there: np.ndarray) -> str:
    return ", ".join(edit for edit in edits if edit in there)


def _firsts(rows: pd.DataFrame, among: np.ndarray) -> np.ndarray:
    """The first row of each scene among some, bool (rows,)."""
    return among & ~rows["scene_id"].where(among).duplicated().to_numpy()


def _heard(lists: pa.ListArray, grounded: np.ndarray, clips: pd.DataFrame, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """How many labelled sounds each row's clips are, and of how many labels; where it is `grounded`, without the first."""
    meant = {label: labels[label].name for label in clips["label"].unique()}
    codes, names = pd.factorize(clips["label"].map(meant))
    codes = np.where(names[codes] == "", -1, codes)[pd.Index(clips["clip_id"]).get_indexer(lists.flatten().to_pandas())]
    lengths = np.diff(lists.offsets.to_numpy())
    row = np.repeat(np.arange(len(lists)), lengths)
    first = np.arange(len(row)) == np.repeat(np.cumsum(lengths) - lengths, lengths)
    heard = (codes >= 0) & ~(first & grounded[row])
    distinct = np.unique(row[heard] * np.int64(len(names)) + codes[heard]) // max(1, len(names))
    return np.bincount(row[heard], minlength=len(lists)), np.bincount(distinct, minlength=len(lists))

"""What a plan's scenes are made of, as shares, to be held against what was asked for."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from manifests.labels import Labels

TOLD_APART = ("remove", "extract", "replace")  # edits that want another sound to be confused with


def shares(plan: pa.Table, clips: pd.DataFrame, labels: Labels) -> Iterator[str]:
    """A line for each thing that was asked for in `scenes`.

    Args:
        plan: plan.parquet.
        clips: of the run; columns clip_id and label.
        labels: what labels mean.
    """
    rows = plan.select(["scene_id", "kind", "edit", "noop"]).to_pandas()
    sounds, different = _heard(plan["clip_ids"].combine_chunks(), (rows["kind"] == "soundscape").to_numpy(), clips, labels)
    scene = ((rows["kind"] == "soundscape") & ~rows["scene_id"].duplicated()).to_numpy()
    if scene.any():
        events = np.bincount(different[scene], minlength=5)[1:] / scene.sum()
        yield (f"{scene.sum()} soundscapes: {', '.join(f'{share:.0%}' for share in events)} with 1, 2, 3, 4 sounds; "
               f"{(different < sounds)[scene].mean():.0%} with one of them twice")
    about = (rows["edit"].isin(TOLD_APART) & rows["kind"].isin(("soundscape", "piece"))).to_numpy()
    if about.any():
        there = set(rows["edit"][about])
        yield f"{', '.join(edit for edit in TOLD_APART if edit in there)}: {(different > 1)[about].mean():.0%} beside another labelled sound"
    if (possible := about & (rows["edit"] != "extract").to_numpy()).any():
        yield f"remove, replace: {rows['noop'][possible].mean():.1%} name a sound that is not there"


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

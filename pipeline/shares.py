"""What a plan's scenes are made of, as shares, to be held against what was asked for."""

from collections.abc import Iterator

import pandas as pd

from manifests.labels import Labels

TOLD_APART = ("remove", "extract", "replace")  # edits that want another sound to be confused with


def shares(plan: pd.DataFrame, clips: pd.DataFrame, labels: Labels) -> Iterator[str]:
    """A line for each thing that was asked for in `scenes`.

    Args:
        plan: rows of plan.parquet.
        clips: of the run; columns clip_id and label.
        labels: what labels mean.
    """
    names = dict(zip(clips["clip_id"], (labels[label].name for label in clips["label"])))
    heard = plan["clip_ids"].map(lambda ids: [names[clip] for clip in ids])
    scenes = heard[(plan["kind"] == "soundscape") & ~plan["scene_id"].duplicated()].map(lambda found: found[1:])  # without their backgrounds
    if len(scenes):
        events = scenes.map(set).map(len).value_counts(normalize=True)
        told = ", ".join(f"{events.get(count, 0):.0%}" for count in range(1, max(5, events.index.max() + 1)))
        yield f"{len(scenes)} soundscapes: {told} with 1, 2, 3, 4 sounds; {(scenes.map(set).map(len) < scenes.map(len)).mean():.0%} with one of them twice"
    about = plan["edit"].isin(TOLD_APART) & plan["kind"].isin(("soundscape", "piece"))
    if about.any():
        others = [len({name for name in found[kind == "soundscape" :] if name}) > 1 for found, kind in zip(heard[about], plan["kind"][about])]
        yield f"{', '.join(edit for edit in TOLD_APART if edit in set(plan['edit'][about]))}: {sum(others) / len(others):.0%} beside another labelled sound"
    if (possible := about & (plan["edit"] != "extract")).any():
        yield f"remove, replace: {plan['noop'][possible].mean():.1%} name a sound that is not there"

"""Check tables: what a run's tables promise of its pairs, its clips, its plan and its wordings, held against each other."""

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from manifests.clip import EXCLUDED
from manifests.errors import RequestError
from manifests.labels import Labels
from manifests.pair import EDITS
from manifests.storage import Storage
from manifests.tables import read_table
from pipeline.config import Scenes
from pipeline.duplicates import same_sounds
from pipeline.lanes import ROUNDS
from pipeline.shares import shares
from pipeline.split import of_several_voices
from stages.wordings import every, wordings


def check_tables(run: Storage, facts: dict, rows: pd.DataFrame, plan: pa.Table, clips: pd.DataFrame) -> Iterator[str]:
    """What is wrong with a run's tables, a line each.

    Args:
        facts: run.json.
        rows: quality/pairs.parquet.
        plan: plan.parquet; columns pair_id, scene_id, kind, edit, subject, noop, clip_ids and other.
        clips: clips/clips.parquet.

    Raises:
        OSError, ValueError: a further table of the run cannot be read.
    """
    yield from _pairs(rows, set(plan["pair_id"].to_pylist()))
    yield from _sides(clips)
    yield from _sounds(clips, None if facts["clips_of"] else read_table(run, "quality/clips.parquet").to_pandas())
    yield from _uses(plan)
    yield from _made_of(facts, plan, clips)
    yield from _wordings(read_table(run, "quality/wordings.parquet").to_pandas())


def _pairs(rows: pd.DataFrame, planned: set[str]) -> Iterator[str]:
    for pair in sorted(planned ^ set(rows["pair_id"])):
        yield f"pair {pair}: has no row in {'quality/pairs.parquet' if pair in planned else 'plan.parquet'}"
    for pair in rows.loc[rows["pair_id"].duplicated(), "pair_id"]:
        yield f"pair {pair}: has two rows in quality/pairs.parquet"
    for pair in rows.loc[rows["kept"] & rows["reason"].notna(), "pair_id"]:
        yield f"pair {pair}: kept, with a reason for its rejection"
    for pair in rows.loc[~rows["kept"] & rows["reason"].isna(), "pair_id"]:
        yield f"pair {pair}: rejected without a reason"


def _sides(clips: pd.DataFrame) -> Iterator[str]:
    """A file, a group or a speaker on two sides of the split."""
    for what, names in (("recording", clips["uri"]), ("group", clips["group"]), ("speaker", clips["speaker"].where(of_several_voices(clips), ""))):
        for name, splits in clips["split"].groupby(names.mask(names == "")).unique().items():
            if len(splits) > 1:
                yield f"{what} {name}: stands on both sides of the split, in {' and '.join(sorted(splits))}"


def _sounds(clips: pd.DataFrame, ingested: pd.DataFrame | None) -> Iterator[str]:
    """One sound on two sides of the split, and what is the same as a recording that exclude names.

    Args:
        ingested: quality/clips.parquet; None where the clips are another run's, which is to be checked itself. What was rejected is compared too, as it was
            when the clips were dealt: of a mark that many sounds share nothing is concluded, and how many do is a matter of all of them.
    """
    if ingested is None:
        return
    gone = ingested[(ingested["status"] == "rejected") & ((ingested["clip_id"] != "") | (ingested["role"] == EXCLUDED))]
    columns = ["clip_id", "uri", "role", "split", "fingerprint"]
    known = pd.concat([clips[columns], gone.rename(columns={"file": "uri"}).assign(split="")[columns]], ignore_index=True)
    excluded = (known["role"] == EXCLUDED).to_numpy()
    node, same = same_sounds(known["fingerprint"], np.where(excluded, -1, pd.factorize(known["uri"])[0]))
    yield from _apart(known, node, same)
    named, mine = known[excluded], known[: len(clips)]
    heard = node[excluded & (node >= 0)]
    heard = np.concatenate([heard, *(same[np.isin(same[:, 1 - side], heard), side] for side in (0, 1))])
    for what, those in (("is of a recording that exclude names", mine["uri"].isin(named["uri"])),
                        ("has the samples of one that exclude names", mine["clip_id"].isin(named["clip_id"])),
                        ("sounds like one that exclude names", np.isin(node[: len(clips)], heard))):
        for clip in mine[those].itertuples():
            yield f"clip {clip.clip_id} ({clip.uri}): {what}"


def _apart(known: pd.DataFrame, node: np.ndarray, same: np.ndarray) -> Iterator[str]:
    """Pairs of clips that sound the same and stand in different splits, one of each two fingerprints and splits."""
    dealt = known.assign(node=node)[(node >= 0) & (known["split"] != "")].drop_duplicates(["node", "split"])
    alike = pd.DataFrame({"node": np.append(same[:, 0], dealt["node"].unique()), "other": np.append(same[:, 1], dealt["node"].unique())})
    met = alike.merge(dealt, on="node").merge(dealt, left_on="other", right_on="node", suffixes=("", "_other"))
    met = met[(met["split"] != met["split_other"]) & ((met["node"] != met["other"]) | (met["split"] < met["split_other"]))]
    for row in met.itertuples():
        yield (f"clips {row.clip_id} ({row.uri}) and {row.clip_id_other} ({row.uri_other}): sound the same, "
               f"but stand in {row.split} and in {row.split_other}")


def _uses(plan: pa.Table) -> Iterator[str]:
    """Clips that stand in more scenes of one edit than a clip may, are edited more often, or take another's place."""
    rows = plan.select(["scene_id", "kind", "edit"]).to_pandas()
    first = np.flatnonzero((rows["kind"] == "soundscape") & ~rows.duplicated(["edit", "scene_id"]))
    lists = plan["clip_ids"].combine_chunks().take(pa.array(first))
    edits = rows["edit"].to_numpy()[first][pc.list_parent_indices(lists).to_numpy()]
    uses = pa.table({"edit": pa.array(edits, pa.string()), "clip": lists.flatten()}).group_by(["edit", "clip"]).aggregate([([], "count_all")])
    for row in uses.filter(pc.greater(uses["count_all"], ROUNDS)).to_pylist():
        yield f"clip {row['clip']}: stands in {row['count_all']} soundscapes of '{row['edit']}', {ROUNDS} are the most"
    pairs = plan.select(["kind", "edit", "subject", "other", "noop"]).to_pandas()
    lists = plan["clip_ids"].combine_chunks()
    pairs = pairs.assign(start=lists.offsets.to_numpy()[:-1] - lists.offsets.to_numpy()[0])[pairs["kind"].isin(("soundscape", "solo"))]
    pairs["edited"] = lists.flatten().take(pa.array(pairs["start"] + pairs["subject"])).to_pandas().to_numpy()
    edited = pairs.groupby(["kind", "edit", "edited"]).size()
    for (kind, edit, clip), count in edited[edited > ROUNDS].items():
        yield f"clip {clip}: is what {count} pairs of '{edit}' ({kind}) are about, {ROUNDS} are the most"
    instead = pairs[(pairs["other"] != "") & ~pairs["noop"]].groupby(["kind", "edit", "other"]).size()
    for (kind, edit, clip), count in instead[instead > ROUNDS].items():
        yield f"clip {clip}: takes a sound's place in {count} pairs of '{edit}' ({kind}), {ROUNDS} are the most"


def _made_of(facts: dict, plan: pa.Table, clips: pd.DataFrame) -> Iterator[str]:
    """Where run.json tells other shares than the plan has; a labels file of the user's own is read as it is now, if it is still there."""
    made = facts["configuration"]
    try:
        labels = Labels.read(made["labels"])
    except RequestError:
        return
    for told, found in zip_longest(facts["counts"].get("made_of", []), shares(plan, clips, labels, Scenes(**made["scenes"])), fillvalue="nothing"):
        if told != found:
            yield f"run.json: counts.made_of says '{told}', plan.parquet and clips/clips.parquet say '{found}'"


def _wordings(told: pd.DataFrame) -> Iterator[str]:
    """Wordings that are kept for the test split in another, and others in the test split."""
    kept: dict[str, tuple[set[str], set[str]]] = {}  # by edit, those for test and those for the other splits
    for edit, split, wording in zip(told["edit"], told["split"], told["wording"]):
        if edit not in kept:
            mine = [name for name in every() if name == edit or (name.startswith(f"{edit}_") and name not in EDITS)]
            kept[edit] = tuple({text for name in mine for text in wordings(name, of)} for of in ("test", "train"))
        tested, trained = kept[edit]
        if split != "test" and wording in tested - trained:
            yield f"wording '{wording}': told in {split} of '{edit}', and kept for test"
        if split == "test" and wording not in tested:
            yield f"wording '{wording}': told in test of '{edit}', and none of those that test may have"

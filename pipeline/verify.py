"""Verify: a finished run against its own records, and a sample of its pairs against their clips."""

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from math import sqrt

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from manifests.audio import decode_flac
from manifests.chance import key
from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.pair import QualityRow
from manifests.scene import MIXED
from manifests.storage import Storage
from manifests.tables import read_table, records_of
from pipeline import commit
from pipeline.check_pair import check_pair
from pipeline.check_tables import check_tables
from pipeline.clips import tar_name
from pipeline.pairs import REJECTED, REJECTED_TAR, TAR, read_clip
from pipeline.rooms import NAME as ROOMS
from pipeline.rooms import read_rooms
from pipeline.status import open_run
from stages.filter import Rule, first_broken

SAMPLE_TYPES = {
    "id": str, "scene_id": str, "edit": str, "branch": str, "tier": str, "domain": str, "language": str, "instruction": str,
    "instructions": list, "label": str, "noop": bool, "split": str, "sample_rate": int, "duration": float, "source_text": str,
    "target_text": str, "edit_start": float, "edit_end": float, "edit_spans": list, "n_events": int, "clips": list,
    "gain_db": float, "params": str, "scores": str,
}  # KEY.json
QUIET = ("background", "rest")  # roles of stems that are no events


def verify(root: str, count: int) -> list[str]:
    """Check a run.

    Args:
        count: how many pairs to make again from their params and clips; those of the lowest keyed hash.

    Returns:
        What is wrong, a line each; empty if nothing is.

    Raises:
        RequestError: there is no run.
    """
    run, facts = open_run(root)
    if facts["state"] != "done":
        return [f"run.json: the run is {facts['state']}, not done"]
    try:
        table, clip_table = read_table(run, "quality/pairs.parquet"), read_table(run, "clips/clips.parquet")
        plan = read_table(run, "plan.parquet", ["pair_id", "scene_id", "kind", "edit", "subject", "noop", "clip_ids", "other"])
        rows, clips = table.to_pandas(), {clip.clip_id: clip for clip in records_of(clip_table, Clip)}
        index = run.read_json("shards/index.json")
        made = facts["configuration"]
        rooms = read_rooms(run.root, made["seed"], made["audio"]["sample_rate"]) if run.exists(ROOMS) else []
        faults = [*check_tables(run, facts, rows, plan, clip_table.to_pandas()), *_files(run, index, bool(facts["clips_of"]))]
    except (OSError, ValueError, KeyError) as error:  # KeyError: of a column
        return [f"a table or the rooms of the run cannot be read: {error}"]
    known = rows.drop_duplicates("pair_id").set_index("pair_id")
    known["stands"] = known["split"].where(known["kept"], "").mask(known.index.isin(_stored(table, facts["configuration"]["filters"])), REJECTED)
    stored = known.index[known["stands"] != ""]
    chosen = set(sorted(stored, key=lambda pair: key("verify", pair))[:count])
    seen: dict[str, str] = {}
    inside: dict[str, list[bool]] = {}
    siblings = known.groupby(["part", "stands"]).groups  # a part's pairs, which are whole scenes, are one shard, and what is rejected of them another
    for shard in tqdm(index, desc="shards", unit=" shard", file=sys.stderr, mininterval=0.5 if sys.stderr.isatty() else 10):
        try:
            faults += _shard(run, shard, facts["identity"][:8], known, siblings.get((shard["part"], shard["split"]), []), clips, seen, inside, chosen, rooms)
        except (OSError, tarfile.TarError) as error:
            faults.append(f"{shard['name']}: cannot be read: {error}")
    faults += _rooms(inside, len(set(plan["scene_id"].filter(pc.equal(plan["kind"], "soundscape")).to_pylist())), made["scenes"]["rooms"])
    missing = known.loc[sorted(set(stored) - set(seen)), "kept"]
    return faults + [f"pair {pair}: {'kept' if kept else 'rejected by a rule'} by quality/pairs.parquet, but in no shard" for pair, kept in missing.items()]


def _stored(table: pa.Table, filters: dict) -> list[str]:
    """Ids of the rejected pairs that are stored: those whose reason is the rule that their scores break."""
    if not filters.get("store_rejected"):
        return []
    rules, rejected = [Rule(**rule) for rule in filters["rules"]], records_of(table.filter(pc.invert(table["kept"])), QualityRow)
    return [pair.pair_id for pair in rejected if pair.reason and pair.reason == first_broken(pair, rules)]


def _files(run: Storage, index: list[dict], foreign_clips: bool) -> Iterator[str]:
    """Files that are missing, too many, or not the bytes that their part committed."""
    names = {f"shards/{name}" for name in run.names("shards")} - {"shards/index.json"}
    for name in sorted(names - {shard["name"] for shard in index}):
        yield f"{name}: is not in shards/index.json"
    recorded = {record["files"][name]["sha256"] for record in commit.records(run, "pairs").values() for name in (TAR, REJECTED_TAR) if name in record["files"]}
    for shard in index:
        if shard["sha256"] not in recorded:
            yield f"{shard['name']}: no part committed the bytes that shards/index.json says"
        if not shard["pairs"]:
            yield f"{shard['name']}: is empty"
        yield from _same_bytes(run, shard["name"], shard["sha256"])
    for number, record in {} if foreign_clips else commit.records(run, "clips").items():
        if "clips.tar" in record["files"]:
            yield from _same_bytes(run, tar_name(number), record["files"]["clips.tar"]["sha256"])


def _same_bytes(run: Storage, name: str, sha256: str) -> Iterator[str]:
    if not run.exists(name):
        yield f"{name}: is missing"
    elif run.sha256(name) != sha256:
        yield f"{name}: its bytes were altered after it was committed"


def _shard(run: Storage, shard: dict, run8: str, known: pd.DataFrame, expected: list[str], clips: dict[str, Clip], seen: dict[str, str],
           inside: dict[str, list[bool]], chosen: set[str], rooms: list[np.ndarray]) -> Iterator[str]:
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(run.read(shard["name"]))) as tar:
        for member in tar:
            pair, _, kind = member.name.partition(".")
            if kind in samples.setdefault(pair, {}):
                yield f"pair {pair}: {kind} twice in {shard['name']}"
            samples[pair][kind] = tar.extractfile(member).read()
    gains: dict[str, float] = {}
    if len(samples) != shard["pairs"]:
        yield f"{shard['name']}: holds {len(samples)} pairs, shards/index.json says {shard['pairs']}"
    for pair, files in samples.items():
        if pair in seen:
            yield f"pair {pair}: in {shard['name']} and in {seen[pair]}"
        seen[pair] = shard["name"]
        if set(files) != {"source.flac", "target.flac", "json"}:
            yield f"pair {pair}: holds {', '.join(sorted(files))} in {shard['name']}"
            continue
        try:
            said = json.loads(files["json"])
            faults = list(_said(pair, said, shard["split"], run8, known, clips))
            if not faults and (recipe := json.loads(said["params"]))["kind"] == "soundscape":
                inside[said["scene_id"]] = [stem["room"] is not None for stem in recipe["stems"] if stem["role"] == "event"]  # all siblings have all events
            if not faults and gains.setdefault(said["scene_id"], said["gain_db"]) != said["gain_db"]:
                faults = [f"its gain is {said['gain_db']} dB, that of its siblings {gains[said['scene_id']]} dB"]
            if not faults and pair in chosen:
                faults = check_pair(said, decode_flac(files["source.flac"], dtype="int16"), decode_flac(files["target.flac"], dtype="int16"),
                                    clips, lambda clip: read_clip(run, clip), rooms)
        except (ValueError, RuntimeError, OSError, KeyError, TypeError, IndexError, Rejected) as error:  # of what its json says
            faults = [f"cannot be checked: {type(error).__name__}: {error}"]
        yield from (f"pair {pair}: {fault}" for fault in faults)
    for pair in sorted(set(expected) - set(samples)):
        yield f"pair {pair}: not in {shard['name']} with its siblings"


def _said(pair: str, said: dict, split: str, run8: str, known: pd.DataFrame, clips: dict[str, Clip]) -> Iterator[str]:
    """What is wrong with KEY.json by itself and beside the tables."""
    if {name: type(value) for name, value in said.items()} != SAMPLE_TYPES:
        yield "its json has other keys or types than the contract says"
        return
    if said["id"] != pair or not pair.startswith(f"{run8}-"):
        yield f"is called {said['id']}; a pair of this run starts with {run8}"
    if pair not in known.index:
        yield "has no row in quality/pairs.parquet"
        return
    row = known.loc[pair]
    if row["stands"] != split:
        why = "" if row["kept"] else f", since it was rejected ({row['reason']})"
        yield f"is in a shard of split {split}, but belongs in {'one of split ' + row['stands'] if row['stands'] else 'none'}{why}"
    for name in ("scene_id", "edit", "split", "instruction", "label", "tier", "n_events"):
        if row[name] != said[name]:
            yield f"its {name} is '{said[name]}', quality/pairs.parquet says '{row[name]}'"
    stems = [stem for stem in json.loads(said["params"])["stems"] if stem["role"] in MIXED and stem["role"] not in QUIET]
    events = len({stem["label"] if stem["role"] == "voice" else n for n, stem in enumerate(stems)})  # a speaker's turns are one
    if events != said["n_events"]:
        yield f"its n_events is {said['n_events']}, its params hold {events}"
    for clip in said["clips"]:
        if clip["id"] not in clips:
            yield f"its clip {clip['id']} is not in clips/clips.parquet"
        elif clips[clip["id"]].split != said["split"]:
            yield f"its clip {clip['id']} is of split {clips[clip['id']].split}, the pair of {said['split']}"


def _rooms(inside: dict[str, list[bool]], planned: int, asked: float) -> Iterator[str]:
    """Whether as many events of soundscapes sound in rooms as were asked for, but for chance and for the scenes, of those planned, that are not stored."""
    events = [room for scene in inside.values() for room in scene]
    if not events:
        return
    share, chance = sum(events) / len(events), 4 * sqrt(asked * (1 - asked) / len(events)) + 0.01
    lost = max(0.0, 1 - len(inside) / max(1, planned))  # which may have been in rooms more or less often
    if abs(share - asked) > chance + lost * max(asked, 1 - asked):
        yield f"rooms: {share:.1%} of {len(events)} events of soundscapes sound in one, scenes.rooms asks for {asked:.1%}"

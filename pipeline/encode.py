"""Encode: latents and states of a run's samples, computed once for `train`. A shard is a part; run again, it does what is missing."""

import functools
import hashlib
import io
import json
import os
import sys
import tarfile
import time
from dataclasses import dataclass

import pyarrow as pa
from tqdm import tqdm

from manifests.errors import Rejected, RequestError, RunError
from manifests.part import Part
from manifests.storage import Storage
from model.folder import CONFIG
from model.training.encode import MADE_WITH, Encoder, made_with
from model.training.shards import Shards
from pipeline import commit, run
from pipeline.config import SPLITS, Resources
from pipeline.lease import Lease
from stages.shard import add_member

TAR = "shard.tar"
KIND = "encoded"


@dataclass(frozen=True)
class EncodeWork:
    """What every part needs to know. `here`: where relative paths begin."""

    model: str
    data: str
    output: str
    device: str
    here: str


def encode(model: str, data: str, root: str, resources: Resources, address: str | None = None) -> str:
    """Encode a finished run into the folder or URI `root`, or finish that.

    Args:
        model: a MODEL folder, which all nodes see.
        resources: of the one stage: with GPUs it needs actors.
        address: of a cluster, as `pipeline.run.connect` takes it.

    Returns:
        "encoded", or "already" where there was nothing to do.

    Raises:
        RequestError: the model or the run cannot be read, or `root` holds something else.
        RunError: parts failed, or there is no room.
    """
    storage, source, made = Storage(root), Storage(data), made_with(model)
    shards = _shards(source)
    identity = hashlib.sha256(json.dumps([made, [shard["sha256"] for shard in shards]], sort_keys=True).encode()).hexdigest()
    try:
        if _done(storage, identity):
            return "already"
        lease = Lease(storage, {"identity": identity, "model": model, "data": data, "state": "running", "counts": {}})
    except OSError as error:
        if error.errno in run.NO_ROOM:
            raise _no_room(root, error) from None
        raise RequestError(f"{root}: cannot be written: {error.strerror or error}") from None
    try:
        with lease:
            lease.update(state="running")
            run.connect(address)
            steps = [run.Step(encode_part, resources), run.Step(commit_part, resources)]
            run.check_place(steps)
            for file in (source.path(shards[0]["name"]), os.path.join(os.path.abspath(model), CONFIG)):
                run.check_nodes(storage, file)
            work = EncodeWork(os.path.abspath(model), source.root, storage.root, "cuda" if resources.gpus else "cpu", os.getcwd())
            _work(shards, steps, work, storage)
            lease.update()  # a driver that lost its run must not finish it
            counts, faults = _finish(storage, shards, made)
            lease.update(state="done", counts=counts)
            storage.remove(commit.ATTEMPTS)
    except OSError as error:
        if error.errno not in run.NO_ROOM:
            raise
        raise _no_room(root, error) from None
    if counts["broken"]:
        print(f"{counts['broken']} samples could not be read and were left out: {'; '.join(faults[:3])}{' …' if len(faults) > 3 else ''}", file=sys.stderr)
    return "encoded"


def _shards(source: Storage) -> list[dict]:
    """The index of a finished run that is not encoded, without what was rejected."""
    try:
        shards = [shard for shard in source.read_json("shards/index.json") if shard["split"] in SPLITS]
    except (OSError, ValueError):
        raise RequestError(f"--data {source.root}: no finished run is there (shards/index.json); audioedit status tells how far it is") from None
    if source.exists(MADE_WITH):
        raise RequestError(f"--data {source.root}: is encoded already; give the run that it was made of")
    if not shards:
        raise RequestError(f"--data {source.root}: has no samples")
    return shards


def _done(storage: Storage, identity: str) -> bool:
    """Whether there is nothing to do. Raises RequestError where the folder holds something else."""
    if not storage.exists("run.json"):
        if any(not name.startswith(".") for name in storage.names("")):
            raise RequestError(f"{storage.root}: is not empty and holds nothing encoded; choose another folder")
        return False
    held = storage.read_json("run.json")
    if held.get("identity") != identity:
        raise RequestError(f"{storage.root}: holds something else than this run encoded with this model; choose another folder")
    if held["state"] == "done":
        storage.remove(commit.ATTEMPTS)  # left where the driver was killed after its last record
    return held["state"] == "done"


def _no_room(root: str, error: OSError) -> RunError:
    return RunError(f"{root}: {error.strerror}; make room, then give the same command again")


def _work(shards: list[dict], steps: list[run.Step], work: EncodeWork, storage: Storage) -> None:
    done = commit.records(storage, KIND)
    missing = (Part(KIND, number, [shard], shard["split"]) for number, shard in enumerate(shards) if number not in done)
    with tqdm(total=sum(shard["pairs"] for shard in shards), unit=" pair", desc="encode", file=sys.stderr,
              initial=sum(record["kept"] + record["broken"] for record in done.values()), mininterval=0.5 if sys.stderr.isatty() else 10) as bar:
        for _, record in run.run_parts(missing, steps, work, lambda shard: shard["name"]):
            bar.update(record["kept"] + record["broken"])


@functools.lru_cache(maxsize=1)
def _encoder(work: EncodeWork) -> Encoder:
    if os.path.isdir(work.here):
        os.chdir(work.here)  # the model may name its MLLM by a path
    return Encoder(work.model, work.device)


def encode_part(part: Part, work: EncodeWork) -> dict:
    """A shard's samples encoded, as a tar.

    Raises:
        OSError: the shard cannot be reached; one that is damaged gives what can be read of it.
    """
    started, [shard] = time.perf_counter(), part.items
    name = shard["name"]
    if name in part.skip:
        raise RunError(f"{name}: {part.skip[name]}")
    Storage(work.data).size(name)
    try:
        samples = Shards([work.data], part.split, tar=name)
        faults = list(samples.damaged)
    except RequestError:
        samples, faults = (), [f"nothing of {name} can be read"]
    buffer, keys = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(len(samples)):
            try:
                sample = samples.read(number)
                facts, members = _encoder(work).encode(sample)
            except Rejected as rejected:
                faults.append(str(rejected))
                continue
            for kind, data in members.items():
                add_member(tar, f"{sample.key}.{kind}", data)
            add_member(tar, f"{sample.key}.json", json.dumps(facts, ensure_ascii=False).encode())
            keys.append(sample.key)
    return {"part": part, "tar": buffer.getvalue(), "keys": keys, "broken": shard["pairs"] - len(keys), "faults": faults[:20],
            "seconds": time.perf_counter() - started}


def commit_part(state: dict, work: EncodeWork) -> dict:
    """The record of a part."""
    outcome = {"kept": len(state["keys"]), "broken": state["broken"], "faults": state["faults"], "seconds": state["seconds"]}
    return commit.commit(Storage(work.output), state["part"], pa.table({"pair_id": pa.array(state["keys"], pa.string())}), {TAR: state["tar"]}, outcome)


def _finish(storage: Storage, shards: list[dict], made: dict) -> tuple[dict[str, int], list[str]]:
    """Name the shards as the run names its own, and write their index last. Gives counts, and what was wrong with samples."""
    found = sorted(commit.records(storage, KIND).items())
    index = [
        {**commit.reveal(storage, record, TAR, shards[number]["name"]), "split": record["split"], "pairs": record["kept"], "part": number}
        for number, record in found if record["kept"]
    ]
    faults = [fault for _, record in found for fault in record["faults"]]
    if not index:
        raise RunError(f"no sample could be encoded: {'; '.join(faults[:3])}")
    storage.write_json(MADE_WITH, made)
    storage.write_json("shards/index.json", index)
    for folder in ("", "parts", "shards"):
        storage.sweep(folder)
    return {"pairs": sum(shard["pairs"] for shard in index), "broken": sum(record["broken"] for _, record in found)}, faults

"""Encode: latents and states of a run's samples, computed once for `train`. A shard is a part; run again, it does what is missing."""

import functools
import hashlib
import io
import json
import sys
import tarfile
import time
from dataclasses import dataclass

import pyarrow as pa
from tqdm import tqdm

from manifests.errors import Rejected, RequestError, RunError
from manifests.part import Part
from manifests.storage import Storage
from model.training.encode import MADE_WITH, Encoder, made_with
from model.training.shards import Shards
from pipeline import commit, run
from pipeline.config import Resources
from pipeline.lease import Lease
from stages.shard import add_member

TAR = "shard.tar"
KIND = "encoded"


@dataclass(frozen=True)
class EncodeWork:
    """What every part needs to know."""

    model: str
    data: str
    output: str
    device: str


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
        RunError: parts failed.
    """
    storage, source, made = Storage(root), Storage(data), made_with(model)
    try:
        shards = source.read_json("shards/index.json")
    except (OSError, ValueError):
        raise RequestError(f"--data {data}: no finished run is there (shards/index.json); audioedit status tells how far it is") from None
    identity = hashlib.sha256(json.dumps([made, [shard["sha256"] for shard in shards]], sort_keys=True).encode()).hexdigest()
    if storage.exists("run.json"):
        held = storage.read_json("run.json")
        if held.get("identity") != identity:
            raise RequestError(f"{root}: holds something else than this run encoded with this model; choose another folder")
        if held["state"] == "done":
            return "already"
    elif any(not name.startswith(".") for name in storage.names("")):
        raise RequestError(f"{root}: is not empty and holds nothing encoded; choose another folder")
    with Lease(storage, {"identity": identity, "model": model, "data": data, "state": "running", "counts": {}}) as lease:
        lease.update(state="running")
        run.connect(address)
        steps = [run.Step(encode_part, resources), run.Step(commit_part, resources)]
        run.check_place(steps)
        run.check_nodes(storage, None)
        _work(shards, steps, EncodeWork(model, source.root, storage.root, "cuda" if resources.gpus else "cpu"), storage)
        storage.write_json(MADE_WITH, made)
        counts = _finish(storage, shards)
        lease.update(state="done", counts=counts)
        storage.remove(commit.ATTEMPTS)
    if counts["broken"]:
        print(f"{counts['broken']} samples could not be read and were left out", file=sys.stderr)
    return "encoded"


def _work(shards: list[dict], steps: list[run.Step], work: EncodeWork, storage: Storage) -> None:
    done = commit.records(storage, KIND)
    missing = (Part(KIND, number, [shard["name"]], shard["split"]) for number, shard in enumerate(shards) if number not in done)
    with tqdm(total=sum(shard["pairs"] for shard in shards), unit=" pair", desc="encode", initial=sum(r["kept"] for r in done.values()), file=sys.stderr,
              mininterval=0.5 if sys.stderr.isatty() else 10) as bar:
        for _, record in run.run_parts(missing, steps, work, str):
            bar.update(record["kept"] + record["broken"])


@functools.lru_cache(maxsize=1)
def _encoder(model: str, device: str) -> Encoder:
    return Encoder(model, device)


def encode_part(part: Part, work: EncodeWork) -> dict:
    """A shard's samples encoded, as a tar."""
    started, [name] = time.perf_counter(), part.items
    if name in part.skip:
        raise RunError(f"{name}: {part.skip[name]}")
    encoder, samples, broken = _encoder(work.model, work.device), Shards([work.data], part.split, tar=name), []
    buffer, keys = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(len(samples)):
            try:
                sample = samples.read(number)
                facts, members = encoder.encode(sample)
            except Rejected as rejected:
                broken.append(str(rejected))
                continue
            for kind, data in members.items():
                add_member(tar, f"{sample.key}.{kind}", data)
            add_member(tar, f"{sample.key}.json", json.dumps(facts, ensure_ascii=False).encode())
            keys.append(sample.key)
    return {"part": part, "tar": buffer.getvalue(), "keys": keys, "broken": broken + samples.damaged, "seconds": time.perf_counter() - started}


def commit_part(state: dict, work: EncodeWork) -> dict:
    """The record of a part."""
    outcome = {"kept": len(state["keys"]), "broken": len(state["broken"]), "faults": state["broken"][:20], "seconds": state["seconds"]}
    return commit.commit(Storage(work.output), state["part"], pa.table({"pair_id": pa.array(state["keys"], pa.string())}), {TAR: state["tar"]}, outcome)


def _finish(storage: Storage, shards: list[dict]) -> dict[str, int]:
    """Name the shards as the run names its own, and write their index."""
    found, index = commit.records(storage, KIND), []
    for number, record in sorted(found.items()):
        if record["kept"]:
            index.append({**commit.reveal(storage, record, TAR, shards[number]["name"]), "split": record["split"], "pairs": record["kept"], "part": number})
    storage.write_json("shards/index.json", index)
    if not index:
        raise RunError("no sample could be encoded")
    return {"pairs": sum(shard["pairs"] for shard in index), "broken": sum(record["broken"] for record in found.values())}

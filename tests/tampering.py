"""Faults planted in the shards of a finished run, with all records made to agree with them."""

import hashlib
import io
import pathlib
import tarfile

import numpy as np
import pandas as pd

from manifests.audio import decode_flac, encode_flac
from stages.shard import add_member


def change(run: pathlib.Path, how, edit: str = "remove", forge: bool = True, kept: bool = True) -> str:
    """Change the files of one pair in its shard, and forge index and record to say so; gives the pair's id."""
    rows = pd.read_parquet(run / "quality" / "pairs.parquet")
    pair = rows.loc[(rows["kept"] == kept) & (rows["edit"] == edit), "pair_id"].iloc[0]
    for path in sorted((run / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
        if f"{pair}.json" in files:
            break
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    mine = {name.partition(".")[2]: data for name, data in files.items() if name.startswith(pair)}
    changed = how(mine)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            data = changed.get(name.partition(".")[2], b"") if name.startswith(pair) else data
            if data:
                add_member(tar, name, data)
    path.write_bytes(buffer.getvalue())
    if forge:
        after = hashlib.sha256(path.read_bytes()).hexdigest()
        for record in [run / "shards" / "index.json", *(run / "parts").glob("pairs-*.json")]:
            record.write_text(record.read_text().replace(before, after))
    return pair


def audio(data: bytes) -> np.ndarray:
    return decode_flac(data, dtype="int16")


def swapped(files):
    return {**files, "source.flac": files["target.flac"], "target.flac": files["source.flac"]}


def shifted(files):
    return {**files, "target.flac": encode_flac(np.roll(audio(files["target.flac"]), 1, axis=1), 16_000)}

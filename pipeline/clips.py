"""Phase 1: a clip part's windows become stored clips."""

import io
import tarfile
import time
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa

from manifests.clip import Clip
from manifests.part import Part
from manifests.storage import Storage
from manifests.tables import concat, schema_of, table_of, write_table
from pipeline import commit
from stages.ingest import Gates, ingest
from stages.shard import add_member

TAR = "clips.tar"
HIDDEN = ("tar", "offset", "size", "gain_db", "split", "source", "metadata", "piece", "part", "variant", "tier", "unit")


@dataclass(frozen=True)
class ClipWork:
    """What every clip part needs to know of the run."""

    run: str
    rate: int
    channels: int
    seconds: float
    gates: Gates


def ingest_part(part: Part, work: ClipWork) -> dict:
    """Ingest a part's windows, one after the other."""
    started, clips = time.perf_counter(), []
    for window in part.items:
        if reason := part.skip.get(item_id(window)):
            clips.append((replace(window, reason=reason), b""))
        else:
            clips += ingest(window, work.rate, work.channels, work.seconds, work.gates)
    return {"part": part, "clips": clips, "seconds": time.perf_counter() - started}


def commit_clips(state: dict, work: ClipWork) -> dict:
    """Store a part's clips in one tar and commit it."""
    part, buffer, rows = state["part"], io.BytesIO(), []
    stored = {}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for clip, flac in state["clips"]:
            if flac and clip.clip_id not in stored:
                add_member(tar, f"{clip.clip_id}.flac", flac)
                end = tar.offset
                stored[clip.clip_id] = end - -(-len(flac) // 512) * 512
            where = {"tar": tar_name(part.number), "offset": stored[clip.clip_id], "size": len(flac)} if flac else {}
            rows.append(replace(clip, **where))
    seconds = sum(clip.duration for clip in rows)
    stages = [{"stage": "ingest", "seconds": state["seconds"], "items": len(part.items), "bytes": buffer.tell()}]
    outcome = {"items": len(part.items), "kept": len(stored), "audio_seconds": round(seconds, 3), "stages": stages}
    return commit.commit(Storage(work.run), part, table_of(rows, Clip), {TAR: buffer.getvalue()}, outcome)


def item_id(window: Clip) -> str:
    """What names a window among a part's items."""
    return f"{window.uri} [{window.start:g} s, {window.end:g} s]"


def tar_name(number: int) -> str:
    return f"clips/clip-{number:05d}.tar"


def gather(run: Storage, rejected: list[Clip]) -> pd.DataFrame:
    """Give all committed clips their names, settle which are the same sound, and write quality/clips.parquet.

    Args:
        rejected: windows that never reached a part.

    Returns:
        The clips that were kept, duplicates too (they tie their files together); `reason` tells them apart.
    """
    found = commit.records(run, "clips")
    tables = commit.rows_of(run, found)
    for number, record in found.items():
        commit.reveal(run, record, TAR, tar_name(number))
    table = concat([*tables, table_of(rejected, Clip)], schema_of(Clip))
    clips = table.to_pandas()
    sounding = clips[clips["clip_id"] != ""]
    first = sounding.groupby("clip_id")["uri"].transform("first")
    again = sounding.index[sounding.duplicated("clip_id")]
    clips.loc[again, "reason"] = "the same sound as " + first[again].astype(str)
    clips["status"] = clips["reason"].isna().map({True: "ok", False: "rejected"})
    shown = clips.drop(columns=list(HIDDEN)).rename(columns={"uri": "file"})
    write_table(run, "quality/clips.parquet", pa.Table.from_pandas(shown, preserve_index=False))
    return clips[clips["clip_id"] != ""].drop(columns="status")

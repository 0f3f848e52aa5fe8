"""Finish: committed parts become the files that users read. Every step can be repeated."""

from collections import Counter

import pandas as pd
import pyarrow as pa

from manifests.errors import RunError
from manifests.pair import QUALITY
from manifests.storage import Storage
from manifests.tables import concat, read_table, schema_of, write_table
from pipeline import commit, pairs
from pipeline.attribution import attribution
from pipeline.config import SPLITS
from pipeline.sources import Listing, SourceFile

QUANTILES = (0.05, 0.5, 0.95)
WORDINGS = pa.schema([("edit", pa.string()), ("split", pa.string()), ("wording", pa.string()), ("pairs", pa.int64())])


def finish(run: Storage, parts: int) -> dict[str, int]:
    """Name the shards, write their index, the tables and whose recordings stand in them. Returns what was kept."""
    found = commit.records(run, "pairs")
    if sorted(found) != list(range(parts)):
        raise RunError(f"{parts - len(found)} parts have no record")
    shards, numbers = [], Counter()
    for number, record in sorted(found.items()):
        for name, split, count in ((pairs.TAR, record["split"], record["kept"]), (pairs.REJECTED_TAR, pairs.REJECTED, record["stored_rejected"])):
            if count:
                shard = commit.reveal(run, record, name, f"shards/{split}-{numbers[split]:06d}.tar")
                numbers[split] += 1
                shards.append({**shard, "split": split, "pairs": count, "part": number})
    table = concat(commit.rows_of(run, found), QUALITY)
    rows, clips = table.to_pandas(), read_table(run, "clips/clips.parquet", ["clip_id", "uri", "license", "metadata"]).to_pandas()
    write_table(run, "quality/pairs.parquet", table)
    write_table(run, "quality/summary.parquet", pa.Table.from_pandas(summary(rows), preserve_index=False))
    write_table(run, "quality/wordings.parquet", wordings(found))
    run.write("attribution.csv", attribution(rows, clips))
    write_table(run, "quality/stages.parquet", pa.Table.from_pylist(
        [{"part": r["part"], **stage} for kind in ("clips", "pairs") for _, r in sorted(commit.records(run, kind).items()) for stage in r["stages"]]))
    run.write_json("shards/index.json", shards)
    kept = [shard for shard in shards if shard["split"] in SPLITS]
    if not kept:
        raise RunError(f"no pair was kept; see the reasons in {run.path('quality/pairs.parquet')}")
    return {"kept": sum(s["pairs"] for s in kept), "shards": len(kept), "bytes": sum(s["bytes"] for s in kept)}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row an edit and split: planned, kept, rejected by reason (text), quantiles of the main scores."""
    found = []
    for (edit, split), group in rows.groupby(["edit", "split"], sort=True):
        kept = group[group["kept"]]
        reasons = group.loc[~group["kept"], "reason"].value_counts()
        row = {"edit": edit, "split": split, "planned": len(group), "kept": len(kept), "rejected": len(group) - len(kept),
               "reasons": "; ".join(f"{count} × {reason}" for reason, count in reasons.items())}
        for score in ("snr_db", "local_snr_db", "source_lufs", "target_lufs", "active_ratio"):
            values = kept[score].astype(float)
            row |= {f"{score}_p{round(100 * q):02d}": float(values.quantile(q)) if values.notna().any() else None for q in QUANTILES}
        found.append(row)
    return pd.DataFrame(found)


def wordings(found: dict[int, dict]) -> pa.Table:
    """One row an edit, split and wording that kept pairs are told in, its places not filled: how many of them are, commonest first."""
    counts = Counter()
    for record in found.values():
        for edit, told in record["wordings"].items():
            counts.update({(edit, record["split"], wording): count for wording, count in told.items()})
    ordered = sorted(counts.items(), key=lambda row: (*row[0][:2], -row[1], row[0][2]))
    return pa.Table.from_pylist([dict(zip(WORDINGS.names, (*names, count))) for names, count in ordered], schema=WORDINGS)


def write_sources(run: Storage, listing: Listing) -> None:
    """quality/sources.parquet: a row a source file; one none of whose windows became a clip is rejected too."""
    clips = read_table(run, "quality/clips.parquet", ["file", "status", "reason"]).to_pandas()
    good = set(clips.loc[clips["status"] == "ok", "file"])
    why = clips[clips["status"] != "ok"].drop_duplicates("file").set_index("file")["reason"].to_dict()
    rows = []
    for file in listing.files.values():
        if file.status == "ok" and file.uri not in good:
            file.status, file.reason = "rejected", why.get(file.uri, "no window of it became a clip")
        rows.append(file.__dict__)
    write_table(run, "quality/sources.parquet", pa.Table.from_pylist(rows, schema=schema_of(SourceFile)))


def first_reasons(run: Storage) -> str:
    """The commonest reasons why files were rejected, in a few words."""
    reasons = read_table(run, "quality/sources.parquet", ["reason"]).to_pandas()["reason"].value_counts()
    return "; ".join(f"{count} × {reason}" for reason, count in reasons.head(3).items())

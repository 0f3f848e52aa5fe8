"""Probe: how long each source file is, by its header, in tasks of many files. Done once a run."""

import sys
from dataclasses import asdict, dataclass

import fsspec
import pyarrow as pa
from tqdm import tqdm

from manifests.audio import probe
from manifests.errors import Rejected
from manifests.part import Part
from manifests.storage import Storage
from manifests.tables import concat, read_table, records_of, schema_of, table_of, write_table
from pipeline import commit
from pipeline.alone import give_up_after
from pipeline.config import Resources
from pipeline.run import Step, run_parts
from pipeline.sources import Listing, SourceFile

FILES = 500  # a task
LIMIT = 60.0  # s that a header may take
FEWEST_BYTES = 4  # a second of audio takes more; silence in FLAC some 20


@dataclass
class Header:
    """What a file's header says, or why it says nothing."""

    uri: str
    seconds: float | None = None
    sample_rate: int = 0
    channels: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class ProbeWork:
    run: str
    limit: float  # s that a header may take


def measure(listing: Listing, run: Storage, resources: Resources, limit: float = LIMIT) -> None:
    """Fill in length, rate and channels of every listed file, from sources.parquet where that exists.

    Args:
        limit: s; a file whose header takes longer is rejected.
    """
    if run.exists("sources.parquet"):
        for row in read_table(run, "sources.parquet").to_pylist():
            listing.files[row["uri"]] = SourceFile(**row)
        return
    unknown = [f.uri for f in listing.files.values() if f.status == "ok" and f.seconds is None]
    parts, done = [Part("headers", n // FILES, unknown[n : n + FILES]) for n in range(0, len(unknown), FILES)], commit.records(run, "headers")
    steps, missing = [Step(_probe_part, resources), Step(_commit_headers, resources)], (part for part in parts if part.number not in done)
    with tqdm(total=len(unknown), unit=" file", desc="headers", initial=sum(r["items"] for r in done.values()), disable=len(parts) < 2,
              file=sys.stderr, mininterval=0.5 if sys.stderr.isatty() else 10) as bar:
        for part, _ in run_parts(missing, steps, ProbeWork(run.root, limit), str):
            bar.update(len(part.items))
    for header in records_of(concat(commit.rows_of(run, commit.records(run, "headers")), schema_of(Header)), Header):
        file = listing.files[header.uri]
        if header.reason is not None:
            file.status, file.reason = "rejected", header.reason
        elif file.bytes and header.seconds * FEWEST_BYTES > file.bytes:
            file.status, file.reason = "rejected", f"damaged: its header says {header.seconds:.0f} s, in {file.bytes} bytes"
        else:
            file.seconds, file.sample_rate, file.channels = header.seconds, header.sample_rate, header.channels
    write_table(run, "sources.parquet", pa.Table.from_pylist([asdict(file) for file in listing.files.values()], schema=schema_of(SourceFile)))


def _probe_part(part: Part, work: ProbeWork) -> dict:
    """What each of a part's files has."""
    headers = []
    for uri in part.items:
        with give_up_after(work.limit, f"its header was not read after {work.limit:g} s: given up"):
            what = part.skip.get(uri) or probe_file(uri)
        headers.append(Header(uri, reason=what) if isinstance(what, str) else Header(uri, *what))
    return {"part": part, "headers": headers}


def _commit_headers(state: dict, work: ProbeWork) -> dict:
    part = state["part"]
    return commit.commit(Storage(work.run), part, table_of(state["headers"], Header), {}, {"items": len(part.items)})


def probe_file(uri: str) -> tuple[float, int, int] | str:
    """Seconds, rate (Hz) and channels of a file, or why it has none."""
    try:
        if "://" not in uri:
            return probe(uri)
        with fsspec.open(uri, "rb") as file:
            return probe(file)
    except Rejected as rejected:
        return str(rejected)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"

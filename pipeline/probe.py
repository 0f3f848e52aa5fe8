"""Probe: how long each source file is, by its header, in tasks of many files. Done once a run."""

from dataclasses import asdict

import fsspec
import pyarrow as pa

from manifests.audio import probe
from manifests.errors import Rejected
from manifests.part import Part
from manifests.storage import Storage
from manifests.tables import read_table, schema_of, write_table
from pipeline.alone import give_up_after
from pipeline.config import Resources
from pipeline.run import Step, run_parts
from pipeline.sources import Listing, SourceFile

FILES = 500  # a task
LIMIT = 60.0  # s that a header may take
FEWEST_BYTES = 4  # a second of audio takes more; silence in FLAC some 20


def measure(listing: Listing, run: Storage, resources: Resources, limit: float = LIMIT) -> None:
    """Fill in length, rate and channels of every listed file, from sources.parquet where that exists.

    Args:
        limit: s; a file whose header takes longer is rejected.
    """
    if not run.exists("sources.parquet"):
        unknown = [f.uri for f in listing.files.values() if f.status == "ok" and f.seconds is None]
        parts = (Part("headers", n // FILES, unknown[n : n + FILES]) for n in range(0, len(unknown), FILES))
        for part, found in run_parts(parts, [Step(_probe_files, resources), Step(_give, resources)], limit, str):
            for uri, what in zip(part.items, found):
                file = listing.files[uri]
                if isinstance(what, str):
                    file.status, file.reason = "rejected", what
                elif file.bytes and what[0] * FEWEST_BYTES > file.bytes:
                    file.status, file.reason = "rejected", f"damaged: its header says {what[0]:.0f} s, in {file.bytes} bytes"
                else:
                    file.seconds, file.sample_rate, file.channels = what
        table = pa.Table.from_pylist([asdict(file) for file in listing.files.values()], schema=schema_of(SourceFile))
        write_table(run, "sources.parquet", table)
        return
    for row in read_table(run, "sources.parquet").to_pylist():
        listing.files[row["uri"]] = SourceFile(**row)


def _probe_files(part: Part, limit: float) -> list[tuple[float, int, int] | str]:
    """What each of a part's files has."""
    found = []
    for uri in part.items:
        with give_up_after(limit, f"its header was not read after {limit:g} s: given up"):
            found.append(part.skip.get(uri) or probe_file(uri))
    return found


def _give(found: list, limit: float) -> list:
    """The end of the chain, where others commit: what was found goes to the driver."""
    return found


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

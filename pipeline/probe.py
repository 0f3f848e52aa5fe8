"""Probe: how long each source file is, by its header, in tasks of many files. Done once a run."""

from dataclasses import asdict

import fsspec
import pyarrow as pa
import ray

from manifests.audio import probe
from manifests.errors import Rejected
from manifests.storage import Storage
from manifests.tables import read_table, schema_of, write_table
from pipeline.config import Resources
from pipeline.run import DIED
from pipeline.sources import Listing, SourceFile

FILES = 500  # a task
FEWEST_BYTES = 4  # a second of audio takes more; silence in FLAC some 20


def measure(listing: Listing, run: Storage, resources: Resources) -> None:
    """Fill in length, rate and channels of every listed file, from sources.parquet where that exists."""
    if not run.exists("sources.parquet"):
        unknown = [f.uri for f in listing.files.values() if f.status == "ok" and f.seconds is None]
        groups = [unknown[n : n + FILES] for n in range(0, len(unknown), FILES)]
        started = [_probe.options(num_cpus=resources.cpus).remote(group) for group in groups]
        for uris, reference in zip(groups, started):
            for uri, what in zip(uris, probed(reference, uris, resources)):
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


def probed(reference: ray.ObjectRef, uris: list[str], resources: Resources) -> list[tuple[float, int, int] | str]:
    """What a task found; where its process died, each file is probed by itself, and the one that kills is told."""
    try:
        return ray.get(reference)
    except DIED as death:
        if len(uris) == 1:
            return [f"its header kills the process that reads it: {str(death).splitlines()[0]}"]
    return [probed(_probe.options(num_cpus=resources.cpus, max_retries=0).remote([uri]), [uri], resources)[0] for uri in uris]


@ray.remote
def _probe(uris: list[str]) -> list[tuple[float, int, int] | str]:
    return [probe_file(uri) for uri in uris]


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

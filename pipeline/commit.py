"""Commit: what makes a part done. The first record wins; a losing attempt leaves nothing under a name that users read."""

import hashlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from manifests.part import Part
from manifests.storage import Storage, to_json
from manifests.tables import read_table, to_parquet

ATTEMPTS = ".attempts"
ROWS = "rows.parquet"


def commit(run: Storage, part: Part, rows: pa.Table, files: dict[str, bytes], outcome: dict) -> dict:
    """Write an attempt aside, then its record, exclusively and last.

    Args:
        rows: the part's rows for the run's tables.
        files: further files of the part, by name; empty ones are left out.
        outcome: what the record says besides.

    Returns:
        The part's record: this attempt's, or that of an attempt that came first.
    """
    attempt = f"{ATTEMPTS}/{part.name}-{secrets.token_hex(6)}"
    files = {name: data for name, data in {**files, ROWS: to_parquet(rows)}.items() if data}
    for name, data in files.items():
        run.write(f"{attempt}/{name}", data)
    listed = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    record = {"part": part.name, "split": part.split, "attempt": attempt, "committed": time.time(), **outcome, "files": listed}
    if run.create(part.record, to_json(record)):
        return record
    first = run.read_json(part.record)
    if first["attempt"] != attempt:  # it is this one where a store answered a creation that succeeded with a retry's refusal
        run.remove(attempt)
    return first


def records(run: Storage, kind: str) -> dict[int, dict]:
    """Records of the parts of a kind that are done, by number."""
    names = [name for name in run.names("parts") if name.startswith(f"{kind}-") and name.endswith(".json")]
    with ThreadPoolExecutor(16) as pool:  # an object store answers many as fast as one
        found = list(pool.map(lambda name: run.read_json(f"parts/{name}"), names))
    return {int(name[len(kind) + 1 : -5]): record for name, record in zip(names, found)}


def rows_of(run: Storage, found: dict[int, dict]) -> list[pa.Table]:
    """The rows of parts, in order of their numbers."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda number: read_table(run, f"{found[number]['attempt']}/{ROWS}"), sorted(found)))


def reveal(run: Storage, record: dict, name: str, contract_name: str) -> dict:
    """Give a committed file the name that users know; can be repeated. Returns what an index says of it."""
    run.move(f"{record['attempt']}/{name}", contract_name)
    return {"name": contract_name, **record["files"][name]}

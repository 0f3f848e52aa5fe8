"""Dataclasses as Arrow tables and parquet files."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from functools import cache
from typing import get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.storage import Storage

_ARROW = {
    str: pa.string(), str | None: pa.string(), int: pa.int64(), float: pa.float64(), float | None: pa.float64(),
    bool: pa.bool_(), list[str]: pa.list_(pa.string()),
}


@cache
def schema_of(record: type) -> pa.Schema:
    """The Arrow schema of a dataclass, a column a field."""
    hints = get_type_hints(record)
    return pa.schema([(field.name, _ARROW[hints[field.name]]) for field in fields(record)])


def table_of(records: Sequence, record: type) -> pa.Table:
    """A table of dataclass instances."""
    return pa.Table.from_pylist([asdict(r) for r in records], schema=schema_of(record))


def records_of(table: pa.Table, record: type) -> list:
    """Dataclass instances of a table's rows."""
    names = [field.name for field in fields(record)]
    return [record(**row) for row in table.select(names).to_pylist()]


def to_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def write_table(storage: Storage, name: str, table: pa.Table) -> None:
    """Write a parquet file, whole or not at all."""
    storage.write(name, to_parquet(table))


def read_table(storage: Storage, name: str, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file of a run."""
    return pq.read_table(io.BytesIO(storage.read(name)), columns=columns)


def concat(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables of one schema as one; none give an empty one."""
    found = list(tables)
    return pa.concat_tables(found) if found else schema.empty_table()

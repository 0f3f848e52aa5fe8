"""Manifest: a table of files becomes clips that are not yet cut or measured, a row each, whatever stands in it."""

import io
import json
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.clip import ROLES, Clip
from manifests.errors import RequestError
from pipeline.source_kinds import Manifest

DOMAINS = ("sound", "music", "speech")
TEXT_COLUMNS = ("label", "caption", "transcript", "speaker", "language", "role", "domain", "license", "group")
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def named_clip(uri: str, domain: str, **known: str) -> Clip:
    """A file, with what its source says of it."""
    known["label"] = " ".join(known.get("label", "").split())
    return Clip(uri, 0.0, 0.0, source=0, domain=domain, tier="synthetic", **known)


def clips_of(source: Manifest, data: bytes) -> Iterator[Clip]:
    """What a manifest names, a clip a row in its order; one with a fault has a reason, and the manifest's path where it names no file.

    Raises:
        RequestError: see `read_manifest`.
    """
    uris: dict[str, str] = {}  # a file may stand in many rows
    for number, row in enumerate(read_manifest(source.path, data), start=1):
        name = row.pop("path", "") or row.pop("file_name", "")
        if name not in uris:
            uris[name] = _uri(name, source.path)
        start, end = (_number(row.pop(key, "")) for key in ("start", "end"))
        known = {key: row.pop(key, "") for key in TEXT_COLUMNS}
        clip = named_clip(uris[name], known.pop("domain") or source.domain, **known)
        clip.start, clip.end = start, end
        if not name:
            clip.reason = f"row {number} names no file"
        elif clip.role not in ("", *ROLES[:3]):
            clip.reason = f"role '{clip.role}' is none of event, background, either"
        elif clip.domain not in DOMAINS:
            clip.reason = f"domain '{clip.domain}' is none of {', '.join(DOMAINS)}"
        elif not (start >= 0 and end >= 0 and (end == 0 or start < end)):  # NaN fails too
            clip.reason = f"start and end make no stretch of time: {start} to {end}"
        left = {key: value for key, value in row.items() if value}
        clip.metadata = _to_json(left) if left else ""
        yield clip


def _uri(name: str, manifest: str) -> str:
    if not name:
        return manifest
    uri = name if "://" in name or os.path.isabs(name) else f"{manifest.rpartition('/')[0]}/{name}"
    return uri if "://" in uri else os.path.normpath(uri)


def read_manifest(path: str, data: bytes) -> Iterator[dict[str, str]]:
    """A manifest's rows, every value as text, "" where there is none.

    Raises:
        RequestError: it is no such table, or has neither a `path` nor a `file_name` column; told before the first row is asked for.
    """
    try:
        if path.endswith(".csv"):
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # rows with more fields than the header
                table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, index_col=False, skipinitialspace=True)
        elif path.endswith((".jsonl", ".ndjson")):
            rows = [json.loads(line) for line in data.splitlines() if line.strip()]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("each line must be one object, {…}")
            table = pd.DataFrame(rows, dtype=object)
        elif path.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(data)).to_pandas(integer_object_nulls=True, ignore_metadata=True)
        else:
            raise RequestError(f"{path}: a manifest is a .csv, .jsonl or .parquet file")
        columns = [_texts(table.iloc[:, n].tolist()) for n in range(table.shape[1])]  # here, since it is now that text is found not to be UTF-8
    except pd.errors.ParserWarning:
        raise RequestError(f"{path}: cannot be read as a table: its rows have more fields than its header") from None
    except (ValueError, OSError, RecursionError, pa.ArrowException) as error:
        raise RequestError(f"{path}: cannot be read as a table: {' '.join(str(error).split())[:200]}") from None
    if not {"path", "file_name"} & set(table.columns):
        raise RequestError(f"{path}: needs a column 'path' (or 'file_name'); it has {', '.join(map(str, table.columns)) or 'none'}")
    names = [_text(name) for name in table.columns]
    return (dict(zip(names, values)) for values in zip(*columns))


def _texts(values: list) -> list[str]:
    """Values as text, those that are equal as one object: a table of a million rows has few labels and few files."""
    seen: dict[str, str] = {}
    return [seen[value] if type(value) is str and value in seen else seen.setdefault(text := _text(value), text) for value in values]


def _text(value: Any) -> str:
    if not isinstance(value, str) and pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # JSON can hold halves of characters, which no table can


def _number(text: str) -> float:
    try:
        return float(text) if text else 0.0
    except ValueError:
        return float("nan")


def settle_repeated(named: list[Clip], sources: list) -> None:
    """Give a reason to each clip whose file and stretch were named before: the first stands, whatever is said of it later.

    Args:
        named: what the sources name, in order, a clip a row.
        sources: the configuration's; those that are no table or folder have nothing named twice.
    """
    first: dict[tuple[str, float, float], tuple[int, int]] = {}  # place in `named`, row of its source
    row, source = 0, None
    for place, clip in enumerate(named):
        row, source = (row + 1 if clip.source == source else 1), clip.source
        if clip.reason is not None:
            continue
        before, row_before = first.setdefault((clip.uri, clip.start, clip.end), (place, row))
        if before == place:
            continue
        other = named[before]
        where = sources[other.source]
        faults = [f"{key}: {_quoted(getattr(clip, key))}, before {_quoted(getattr(other, key))}"
                  for key in TEXT_COLUMNS if getattr(clip, key) != getattr(other, key)]
        if faults:
            clip.reason = f"disagrees with another row on its {' and its '.join(faults)}"
        elif isinstance(where, Manifest):
            clip.reason = f"named twice: the same as row {row_before} of {where.path}"
        else:
            clip.reason = f"named twice: it lies in {where.path}"


def _quoted(text: str) -> str:
    return f"'{text[:40]}{'…' if len(text) > 40 else ''}'" if text else "none"

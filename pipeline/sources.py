"""Sources: what files there are, what is said of them, and the windows that they are worked on in."""

import hashlib
import io
import json
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.clip import ROLES, Clip
from manifests.errors import RequestError
from manifests.part import Part
from pipeline.config import Config, Folder, Manifest, Soundfont
from stages.engines import soundfont

PART_SECONDS = 600.0  # audio in a clip part, at most
WINDOW_SCENES = 3  # a long file is cut into windows of this many scenes
SOUNDFONT_SCENES = 1.6  # length of a piece, and of an embedded background, in scenes
AUDIO_NAMES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".webm", ".aif", ".aiff", ".aac")
DOMAINS = ("sound", "music", "speech")
TEXT_COLUMNS = ("label", "caption", "transcript", "speaker", "language", "role", "domain", "license", "group")


@dataclass
class SourceFile:
    """One row of quality/sources.parquet."""

    uri: str
    source: int  # which of the configuration's sources
    bytes: int = 0
    modified: float = 0.0  # s since 1970
    seconds: float | None = None
    sample_rate: int = 0
    channels: int = 0
    status: str = "ok"  # ok | rejected
    reason: str | None = None


@dataclass
class Listing:
    """All that the sources name: the files, and what they say of stretches of them (clips not yet cut or measured)."""

    files: dict[str, SourceFile]
    named: list[Clip]  # end = 0: to the end of the file
    digest: str  # of the manifests' bytes and each file's size and modification time


def list_sources(config: Config) -> Listing:
    """List every source of a configuration.

    Raises:
        RequestError: a folder or manifest is not there, is no table, or lacks a column.
    """
    files: dict[str, SourceFile] = {}
    named: list[Clip] = []
    digest = hashlib.sha256()
    pieces = sounds = 0  # of soundfont sources so far
    for index, source in enumerate(config.sources):
        if isinstance(source, Soundfont):
            soundfont.check()
            long = SOUNDFONT_SCENES * config.audio.seconds
            played = [soundfont.piece(config.seed, pieces + n, long, source=index) for n in range(source.pieces)]
            played += [soundfont.sound(config.seed, sounds + n, long, source=index) for n in range(source.sounds)]
            pieces, sounds = pieces + source.pieces, sounds + source.sounds
            named += played
            files |= {clip.uri: SourceFile(clip.uri, index, seconds=clip.end) for clip in played}
            continue
        rows = _folder(source) if isinstance(source, Folder) else _manifest(source, digest)
        for clip in rows:
            clip.source = index
            if clip.uri not in files:
                file = _look(clip.uri, index)
                files[file.uri] = file
                clip.uri = file.uri
            named.append(clip)
    for file in files.values():
        digest.update(f"{file.uri}\0{file.bytes}\0{file.modified}\n".encode("utf-8", "surrogateescape"))
    return Listing(files, named, digest.hexdigest())


def _folder(source: Folder) -> Iterator[Clip]:
    if "://" in source.path:
        fs, root = fsspec.core.url_to_fs(source.path)
        paths = [fs.unstrip_protocol(path) for path in sorted(fs.find(root))]
    elif not os.path.isdir(source.path):
        raise RequestError(f"{source.path}: no such folder (sources, kind: folder)")
    else:
        paths = _walk(source.path)
    for path in paths:
        parent, name = path.rstrip("/").rsplit("/", 2)[-2:]
        label = {"parent": parent, "stem": name.rsplit(".", 1)[0], None: ""}[source.label]
        yield _clip(path, source.domain, label=label.replace("_", " ").replace("-", " "), role=source.role or "", license=source.license)


def _walk(root: str) -> Iterator[str]:
    """All that lies in a folder, in order, hidden names left out; folders with an audio file's name, or that are links, are told too."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        odd = [name for name in folders if name.lower().endswith(AUDIO_NAMES) or os.path.islink(os.path.join(folder, name))]
        for name in sorted([*names, *odd]):
            if not name.startswith("."):
                yield os.path.join(folder, name)


def _manifest(source: Manifest, digest) -> Iterator[Clip]:
    try:
        with fsspec.open(source.path, "rb") as file:
            data = file.read()
    except (OSError, ValueError, ImportError) as error:  # ValueError, ImportError: a URI that nothing here can open
        raise RequestError(f"{source.path}: cannot be read (sources, kind: manifest): {_why(error)}") from None
    digest.update(data)
    for row in read_manifest(source.path, data):
        name = row.pop("path", None) or row.pop("file_name", None)
        if not name:
            continue
        uri = name if "://" in name or os.path.isabs(name) else f"{source.path.rpartition('/')[0]}/{name}"
        if "://" not in uri:
            uri = os.path.normpath(uri)
        start, end = (_number(row.pop(key, "")) for key in ("start", "end"))
        known = {key: row.pop(key, "") for key in TEXT_COLUMNS}
        clip = _clip(uri, known.pop("domain") or source.domain, **known)
        clip.start, clip.end = start, end
        if clip.role not in ("", *ROLES[:3]):
            clip.reason = f"role '{clip.role}' is none of event, background, either"
        elif clip.domain not in DOMAINS:
            clip.reason = f"domain '{clip.domain}' is none of {', '.join(DOMAINS)}"
        elif not (start >= 0 and end >= 0 and (end == 0 or start < end)):  # NaN fails too
            clip.reason = f"start and end make no stretch of time: {start} to {end}"
        left = {key: value for key, value in row.items() if value}
        clip.metadata = pd.Series(left).to_json() if left else ""
        yield clip


def read_manifest(path: str, data: bytes) -> list[dict[str, str]]:
    """A manifest's rows, every value as text, "" where there is none.

    Raises:
        RequestError: it is no such table, or has neither a `path` nor a `file_name` column.
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
        rows = table.to_dict("records")  # here, since it is now that text is found not to be UTF-8
    except pd.errors.ParserWarning:
        raise RequestError(f"{path}: cannot be read as a table: its rows have more fields than its header") from None
    except (ValueError, OSError, RecursionError, pa.ArrowException) as error:
        raise RequestError(f"{path}: cannot be read as a table: {' '.join(str(error).split())[:200]}") from None
    if not {"path", "file_name"} & set(table.columns):
        raise RequestError(f"{path}: needs a column 'path' (or 'file_name'); it has {', '.join(map(str, table.columns)) or 'none'}")
    return [{_text(k): _text(v) for k, v in row.items()} for row in rows]


def _text(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    return str(value).encode("utf-8", "replace").decode()  # JSON can hold halves of characters, which no table can


def _number(text: str) -> float:
    try:
        return float(text) if text else 0.0
    except ValueError:
        return float("nan")


def _clip(uri: str, domain: str, **known: str) -> Clip:
    known["label"] = " ".join(known.get("label", "").split())
    return Clip(uri, 0.0, 0.0, source=0, domain=domain, tier="synthetic", **known)


def _is_text(name: str) -> bool:
    """Whether a file's name can be written in a table."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _look(uri: str, index: int) -> SourceFile:
    """Size and time of a file, or why it is none; nothing is opened."""
    file = SourceFile(uri, index, status="rejected")
    if "://" in uri:
        try:
            fs, path = fsspec.core.url_to_fs(uri)
            info = fs.info(path)
        except (OSError, ValueError, ImportError) as error:
            return replace(file, reason=_why(error))
        if info["type"] != "file":
            return replace(file, reason="not an ordinary file")
        return replace(file, bytes=info["size"] or 0, modified=_seconds(info), status="ok")
    if (name := os.fsencode(uri).decode("utf-8", "backslashreplace")) != uri:
        return replace(file, uri=name, reason="its name is not UTF-8 text: rename it")
    try:
        found = os.stat(uri)
    except (OSError, ValueError) as error:
        return replace(file, reason="a link that leads nowhere" if os.path.islink(uri) else _why(error))
    if stat.S_ISDIR(found.st_mode):
        return replace(file, reason="a link to a folder, which is not followed" if os.path.islink(uri) else "a folder with the name of an audio file")
    if not stat.S_ISREG(found.st_mode):
        return replace(file, reason="not an ordinary file")
    if found.st_size == 0:
        return replace(file, reason="empty file")
    if not os.access(uri, os.R_OK):
        return replace(file, reason="no permission to read it")
    return replace(file, bytes=found.st_size, modified=found.st_mtime, status="ok")


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__).lower()


def _seconds(info: dict) -> float:
    when = info.get("mtime") or info.get("LastModified") or info.get("created") or 0.0
    return when.timestamp() if hasattr(when, "timestamp") else float(when)


def windows(listing: Listing, seconds: float) -> list[Clip]:
    """Cut what the sources name into windows of a few scenes; what has no length yet or was rejected is left out."""
    found = []
    for clip in listing.named:
        file = listing.files[clip.uri]
        if clip.reason is not None or file.status != "ok" or file.seconds is None:
            continue
        end = min(clip.end or file.seconds, file.seconds)
        if clip.start >= end:
            clip.reason = f"it starts at {clip.start:g} s, the file ends at {file.seconds:g} s"
            continue
        size = end - clip.start if clip.piece else WINDOW_SCENES * seconds
        count = max(1, int((end - clip.start) / size + 0.5))  # the last one takes a remainder of under half a window
        cuts = [clip.start + n * size for n in range(count)] + [end]
        found.extend(replace(clip, start=a, end=b) for a, b in zip(cuts, cuts[1:]))
    return found


def clip_parts(found: list[Clip]) -> list[Part]:
    """Windows in parts of at most ten minutes of audio, in the order of the listing."""
    parts: list[Part] = []
    load = 0.0
    for window in found:
        cost = (window.end - window.start) * (6 if window.piece else 1)
        if not parts or load + cost > PART_SECONDS:
            parts.append(Part("clips", len(parts), []))
            load = 0.0
        parts[-1].items.append(window)
        load += cost
    return parts

"""Sources: what files there are, what is said of them, and the windows that they are worked on in."""

import hashlib
import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import fsspec

from manifests.clip import EXCLUDED, Clip
from manifests.errors import RequestError
from manifests.pair import LICENSES
from manifests.part import Part
from manifests.strict import nearest
from pipeline.config import Config
from pipeline.manifest import clips_of, named_clip, settle_repeated
from pipeline.source_kinds import Espeak, Folder, Licenses, Manifest, Soundfont, plain
from stages.engines import espeak, soundfont
from stages.engines.check_font import check_font

PART_SECONDS = 600.0  # audio in a clip part, at most
WINDOW_SCENES = 3  # a long file is cut into windows of this many scenes
MANY = 6  # times its length that a piece's tracks take, or the stems of a recording
LEAST_COST = 0.5  # s that a window counts for at least, however short it is
SOUNDFONT_SCENES = 1.6  # length of a piece, and of an embedded background, in scenes
AUDIO_NAMES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".webm", ".aif", ".aiff", ".aac")


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
    named: list[Clip]  # end = 0: to the end of the file; last what `exclude` names, of role EXCLUDED
    digest: str  # of the manifests' bytes and the size and modification time of each file and soundfont


def list_sources(config: Config) -> Listing:
    """List every source of a configuration.

    Raises:
        RequestError: a folder or manifest is not there, is no table, or lacks a column; a soundfont is not there, or cannot play what is asked of it;
            a licence that is allowed seems to be misspelt.
    """
    files: dict[str, SourceFile] = {}
    named: list[Clip] = []
    digest = hashlib.sha256()
    made = Counter()  # pieces, sounds and utterances of embedded sources so far
    for index, source in enumerate(config.sources):
        if isinstance(source, Soundfont | Espeak):
            played = _embedded(source, index, config, made, digest)
            named += played
            files |= {clip.uri: SourceFile(clip.uri, index, seconds=clip.end) for clip in played}
            continue
        rows = _folder(source) if isinstance(source, Folder) else _manifest(source, digest)
        for clip in rows:
            clip.source = index
            if source.separate:
                clip.role, clip.tier = "stem", "real"
            elif source.conversation:
                clip.role = "conversation"
            elif clip.domain == "speech" and not clip.role and config.transcriber.engine != "none":
                clip.role = "utterance"
            _list(clip, index, files, source.path)
            named.append(clip)
    settle_repeated(named, config.sources)
    _settle_licenses(named, config.licenses)
    named += _exclude(config, named, files, digest)
    for file in files.values():
        _say(file, digest)
    return Listing(files, named, digest.hexdigest())


def _list(clip: Clip, index: int, files: dict[str, SourceFile], where: str) -> None:
    """Look at the file of a clip that a source, at a path, names."""
    if clip.uri not in files and (clip.reason is None or clip.uri != where):  # a row that names no file has its manifest's path
        file = _look(clip.uri, index)
        files[file.uri] = file
        clip.uri = file.uri


def _exclude(config: Config, named: list[Clip], files: dict[str, SourceFile], digest) -> list[Clip]:
    """What never enters, to be known again by its sound; those of the sources' clips that are of the same files get a reason."""
    kept_out = []
    for index, source in enumerate(config.exclude, start=len(config.sources)):
        rows = _folder(source) if isinstance(source, Folder) else _manifest(source, digest, "exclude")
        found = [Clip(row.uri, row.start, row.end, index, "sound", "synthetic", role=EXCLUDED, reason=row.reason) for row in rows]
        for clip in found:
            _list(clip, index, files, source.path)
        kept_out += found
    uris = {clip.uri for clip in kept_out}
    for clip in named:
        clip.reason = clip.reason or (f"exclude names it: {clip.uri}" if clip.uri in uris else None)
    return kept_out


def _say(file: SourceFile, digest) -> None:
    digest.update(f"{file.uri}\0{file.bytes}\0{file.modified}\n".encode("utf-8", "surrogateescape"))


def _embedded(source: Soundfont | Espeak, index: int, config: Config, made: Counter, digest) -> list[Clip]:
    """What an embedded source is to play or speak; several of a kind go on where the last ended."""
    long, known = SOUNDFONT_SCENES * config.audio.seconds, {"source": index, "license": source.license}
    if isinstance(source, Espeak):
        espeak.check()
        kinds = {"utterances": lambda n: espeak.utterance(config.seed, n, **known)}
    else:
        soundfont.check()
        if source.font is not None:
            check_font(source.font, bool(source.pieces), bool(source.sounds))
            _say(_look(source.font, index), digest)
        known["font"] = source.font or ""
        kinds = {"pieces": lambda n: soundfont.piece(config.seed, n, long, **known), "sounds": lambda n: soundfont.sound(config.seed, n, long, **known)}
    found = []
    for kind, make in kinds.items():
        count = getattr(source, kind)
        found += [make(made[kind] + n) for n in range(count)]
        made[kind] += count
    return found


def _folder(source: Folder) -> Iterator[Clip]:
    if "://" in source.path:
        fs, root = fsspec.core.url_to_fs(source.path)
        paths = [fs.unstrip_protocol(path) for path in sorted(fs.find(root))]
    elif not os.path.isdir(source.path):
        raise RequestError(f"{source.path}: no such folder (kind: folder)")
    else:
        paths = _walk(source.path)
    for path in paths:
        parent, name = path.rstrip("/").rsplit("/", 2)[-2:]
        label = {"parent": parent, "stem": name.rsplit(".", 1)[0], None: ""}[source.label]
        yield named_clip(path, source.domain, label=label.replace("_", " ").replace("-", " "), role=source.role or "", license=source.license)


def _walk(root: str) -> Iterator[str]:
    """All that lies in a folder, in order, hidden names left out; folders with an audio file's name, or that are links, are told too."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        odd = [name for name in folders if name.lower().endswith(AUDIO_NAMES) or os.path.islink(os.path.join(folder, name))]
        for name in sorted([*names, *odd]):
            if not name.startswith("."):
                yield os.path.join(folder, name)


def _manifest(source: Manifest, digest, where: str = "sources") -> Iterator[Clip]:
    try:
        with fsspec.open(source.path, "rb") as file:
            data = file.read()
    except (OSError, ValueError, ImportError) as error:  # ValueError, ImportError: a URI that nothing here can open
        raise RequestError(f"{source.path}: cannot be read ({where}, kind: manifest): {_why(error)}") from None
    digest.update(data)
    return clips_of(source, data)


def _settle_licenses(named: list[Clip], licenses: Licenses) -> None:
    """Give a reason to each clip whose licence is not allowed.

    Raises:
        RequestError: an allowed name is neither known nor any source's, but nearly is.
    """
    if licenses.allow is None:
        return
    names = {*LICENSES, *(plain(clip.license) for clip in named)} - {""}
    for name in licenses.allow:
        if plain(name) not in names and (meant := nearest(plain(name), names)):
            raise RequestError(f"licenses.allow: unknown licence '{name}'{meant}")
    for clip in named:
        clip.reason = clip.reason or licenses.fault(clip.license)


def _look(uri: str, index: int) -> SourceFile:
    """Size and time of a file, or why it is none; nothing is opened."""
    file = SourceFile(uri, index, status="rejected")
    if "\0" in uri:
        return replace(file, reason="its name holds a NUL byte, which no file's can")
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


def windows(listing: Listing, seconds: float, utterance: float = 30.0) -> list[Clip]:
    """Cut what the sources name into windows of a few scenes, conversations into windows of one; what has no length yet or was rejected is left out.

    Args:
        seconds: of a scene.
        utterance: s, of the longest; speech with a transcript is one window, or gets a reason where it is longer.
    """
    found = []
    for clip in listing.named:
        if clip.reason is not None or (file := listing.files[clip.uri]).status != "ok" or file.seconds is None:
            continue
        end = min(clip.end or file.seconds, file.seconds)
        if clip.start >= end:
            clip.reason = f"it starts at {clip.start:g} s, the file ends at {file.seconds:g} s"
            continue
        whole = bool(clip.piece) or (clip.role == "utterance" and bool(clip.transcript.strip()))
        if whole and not clip.piece and end - clip.start > utterance:
            clip.reason = f"{end - clip.start:.0f} s with one transcript (at most {utterance:g} s): give start and end of each sentence"
            continue
        if clip.role == "conversation":
            count = max(1, int((end - clip.start) / seconds + 0.5))  # a rest of under half a scene is left
            found.extend(replace(clip, start=clip.start + n * seconds, end=min(end, clip.start + (n + 1) * seconds)) for n in range(count))
            continue
        longest = min(WINDOW_SCENES * seconds, utterance / 1.5) if clip.role == "utterance" else WINDOW_SCENES * seconds
        size = end - clip.start if whole else longest
        count = max(1, int((end - clip.start) / size + 0.5))  # the last one takes a remainder of under half a window
        cuts = [clip.start + n * size for n in range(count)] + [end]
        said = clip.transcript if count == 1 else ""  # of a part of it, nobody knows what is said
        found.extend(replace(clip, start=a, end=b, transcript=said) for a, b in zip(cuts, cuts[1:]))
    return found


def clip_parts(found: list[Clip]) -> list[Part]:
    """Windows in parts of at most ten minutes of audio, in the order of the listing.

    A file that no longer fits begins a part of its own, so that what is read together does not depend on other files.
    """
    parts: list[Part] = []
    load = 0.0
    for _, group in itertools.groupby(found, key=lambda window: window.uri):
        of_file = [(window, max(LEAST_COST, window.end - window.start) * (MANY if window.piece or window.role == "stem" else 1)) for window in group]
        fits = load + sum(cost for _, cost in of_file) <= PART_SECONDS
        for n, (window, cost) in enumerate(of_file):
            if not parts or (n == 0 and not fits) or load + cost > PART_SECONDS:
                parts.append(Part("clips", len(parts), []))
                load = 0.0
            parts[-1].items.append(window)
            load += cost
    return parts

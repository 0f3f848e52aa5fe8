"""Files of a run, in a folder or under a URI (fsspec): written aside, then named; some created only once."""

import hashlib
import json
import os
import posixpath
import secrets
import shutil
from typing import Any, BinaryIO

import fsspec

from manifests.errors import RequestError


class Storage:
    """A folder, local or remote, whose files are whole or absent.

    Args:
        root: path or URI such as ``s3://bucket/run``; made when first written to.
    """

    def __init__(self, root: str):
        self.root = root.rstrip("/") or "/"
        try:
            self.fs, self._base = fsspec.core.url_to_fs(self.root)
        except (ValueError, ImportError) as error:  # a URI that nothing here can open
            raise RequestError(f"{root}: {' '.join(str(error).split())}") from None
        self.local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))
        if self.local:
            self.root = self._base = os.path.abspath(self._base)

    def path(self, name: str) -> str:
        """The full path or URI of a file of this folder."""
        return posixpath.join(self.root, name)

    def _at(self, name: str) -> str:
        return posixpath.join(self._base, name)

    def exists(self, name: str) -> bool:
        return self.fs.exists(self._at(name))

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Bytes of a file, or a range of them; FileNotFoundError if there is none."""
        return self.fs.cat_file(self._at(name), start=start, end=end)

    def open(self, name: str, block: int | None = None) -> BinaryIO:
        """A file to read from at any place, remote ones so many bytes at once."""
        return self.fs.open(self._at(name), "rb", block_size=block)

    def size(self, name: str) -> int:
        return self.fs.size(self._at(name))

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; empty if there is no such folder."""
        try:
            found = self.fs.ls(self._at(folder), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(path.rstrip("/")) for path in found)

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file; a reader sees the old or the new, never a part."""
        if not self.local:
            self.fs.pipe_file(self._at(name), data)
            return
        aside = self._write_aside(name, data)
        try:
            os.replace(aside, self._at(name))
        except OSError:
            os.unlink(aside)
            raise

    def create(self, name: str, data: bytes) -> bool:
        """Write a whole file unless one of that name exists; whether this call made it."""
        if not self.local:
            try:
                self.fs.pipe_file(self._at(name), data, mode="create")
            except FileExistsError:
                return False
            return True
        aside = self._write_aside(name, data)
        try:
            os.link(aside, self._at(name))
        except FileExistsError:
            return False
        finally:
            os.unlink(aside)
        return True

    def _write_aside(self, name: str, data: bytes) -> str:
        path = self._at(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        folder, base = os.path.split(path)
        aside = os.path.join(folder, f".{base}.{secrets.token_hex(6)}.tmp")
        try:
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if os.path.exists(aside):
                os.unlink(aside)
            raise
        return aside

    def move(self, old: str, new: str) -> None:
        """Rename a file; done already (only the new name exists) is fine."""
        if not self.exists(old) and self.exists(new):
            return
        if self.local:
            os.makedirs(os.path.dirname(self._at(new)), exist_ok=True)
            os.replace(self._at(old), self._at(new))
        else:
            self.fs.copy(self._at(old), self._at(new))
            self.fs.rm_file(self._at(old))

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all in it; nothing there is fine."""
        path = self._at(name)
        if not self.local:
            if self.fs.exists(path):
                self.fs.rm(path, recursive=True)
        elif os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def sweep(self, folder: str) -> None:
        """Remove what killed processes left half-written in a folder."""
        for name in self.names(folder) if self.local else []:
            if name.startswith(".") and name.endswith(".tmp"):
                self.remove(posixpath.join(folder, name))

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, to_json(value))

    def sha256(self, name: str) -> str:
        """Of a file's bytes, in hex."""
        digest = hashlib.sha256()
        with self.open(name) as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


def to_json(value: Any) -> bytes:
    """Indented JSON with a closing newline; NaN is an error."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def split_uri(uri: str) -> tuple[Storage, str]:
    """The folder and the name of a file given by path or URI."""
    folder, _, name = uri.rpartition("/")
    return Storage(folder or ("/" if uri.startswith("/") else ".")), name

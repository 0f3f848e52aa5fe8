"""Samples of finished runs by number, read from their WebDataset tars where they lie.

A sample's members stand side by side in its tar, so that a sample is one range of bytes: any order of any samples can be read from a folder or a URI, and a
position in that order is a number.
"""

import io
import json
import tarfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from manifests.errors import Rejected, RequestError
from manifests.pair import speaks
from manifests.storage import Storage

FACTS = ("edit", "domain", "tier", "duration")
LISTED = 65_536  # bytes at once of a tar that is listed: most of it is skipped
PAUSES = (1, 4, 15)  # s
READERS = 16  # tars that are listed at once; they mostly wait


class Sample(NamedTuple):
    """`facts` is its KEY.json; `members` the rest, by what follows the key in their names."""

    key: str
    facts: dict
    members: dict[str, bytes]


class _Place(NamedTuple):
    key: str
    begin: int
    size: int
    facts: dict


class Shards:
    """The samples of a split of some runs.

    Args:
        runs: folders or URIs, each a finished run or what was encoded of one.
        split: "train", "val" or "test".
        keys: only these.
        tar: only this one, by its name in the run.

    Raises:
        RequestError: a run that is none or not finished, or no sample that is wanted.

    Attributes:
        run: (samples,) which of the runs each is of.
        edit, domain, tier, duration: (samples,) of each; duration in s.
        speaks: (samples,) whether each makes speech of what is to be said.
        damaged: what could not be listed, a line each.
    """

    def __init__(self, runs: Sequence[str], split: str, keys: set[str] | None = None, tar: str | None = None):
        self._storages = [Storage(run) for run in runs]
        self._tars = [(number, shard["name"]) for number, run in enumerate(self._storages) for shard in _index(run)
                      if shard["split"] == split and tar in (None, shard["name"])]
        with ThreadPoolExecutor(READERS) as pool:
            listed = list(pool.map(lambda tar: _places(self._storages[tar[0]], tar[1]), self._tars))
        self.damaged = [f"{self._storages[number].path(name)}: {fault}" for (number, name), (_, fault) in zip(self._tars, listed) if fault]
        kept = [(tar, place) for tar, (places, _) in enumerate(listed) for place in places
                if keys is None or place.key in keys]
        if not kept:
            raise RequestError(f"--data {', '.join(runs)}: no sample of the split {split} that is wanted" + "".join(f"; {line}" for line in self.damaged[:1]))
        self._tar = np.array([tar for tar, _ in kept])
        self._range = np.array([(place.begin, place.begin + place.size) for _, place in kept])
        self.run = np.array([self._tars[tar][0] for tar, _ in kept])
        self.edit, self.domain, self.tier, self.duration, self.speaks = (np.array([place.facts[name] for _, place in kept]) for name in (*FACTS, "speaks"))

    def __len__(self) -> int:
        return len(self._tar)

    def read(self, number: int) -> Sample:
        """One sample.

        Raises:
            Rejected: it is damaged.
            OSError: its tar cannot be read.
        """
        run, name = self._tars[self._tar[number]]
        begin, end = map(int, self._range[number])
        for pause in PAUSES:
            try:
                return _grouped(self._storages[run].read(name, begin, end), name)
            except FileNotFoundError:
                break
            except OSError:  # a store or a network may come back
                time.sleep(pause)
        return _grouped(self._storages[run].read(name, begin, end), name)

    def __getstate__(self) -> dict:
        """For worker processes, which only read."""
        return {name: value for name, value in self.__dict__.items() if name not in ("run", "speaks", *FACTS)}


def has_split(runs: Sequence[str], split: str) -> bool:
    """Whether any of the runs has samples of a split."""
    return any(shard["split"] == split for run in runs for shard in _index(Storage(run)))


def _grouped(data: bytes, name: str) -> Sample:
    """The first sample in the bytes of some tar members."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    try:
        found = next(group_by_keys(tar_file_expander([{"url": name, "stream": io.BytesIO(data)}])), {})
        facts = json.loads(found["json"])
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise Rejected(f"a sample of {name} is damaged: {error}") from None
    return Sample(found["__key__"], facts, {kind: held for kind, held in found.items() if isinstance(held, bytes) and kind != "json"})


def _index(run: Storage) -> list[dict]:
    try:
        return run.read_json("shards/index.json")
    except (OSError, ValueError):
        raise RequestError(f"--data {run.root}: no finished run is there (shards/index.json); audioedit status tells how far it is") from None


def _places(run: Storage, name: str) -> tuple[list[_Place], str]:
    """Where each sample of a tar lies, as far as it can be read, and what is wrong after that."""
    places, open_ = [], []
    try:
        with run.open(name, LISTED) as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                if open_ and open_[0] != key:
                    open_ = []
                open_ = open_ or [key, member.offset]
                if kind == "json":
                    end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                    facts = json.loads(tar.extractfile(member).read())
                    told = {name: facts[name] for name in FACTS} | {"speaks": facts["edit"] == "generate" and speaks(facts)}
                    places.append(_Place(key, open_[1], end - open_[1], told))
    except (OSError, tarfile.TarError, ValueError, KeyError) as error:
        return places, f"damaged after {len(places)} samples ({' '.join(str(error).split())[:100]})"
    return places, ""

"""Shard: kept pairs as the members of one WebDataset tar."""

import io
import json
import tarfile
from collections.abc import Iterable

from manifests.audio import encode_flac
from manifests.pair import Pair


def shard(pairs: Iterable[Pair]) -> bytes:
    """A tar of KEY.source.flac, KEY.target.flac and KEY.json for each pair, in the order given.

    The same pairs give the same bytes: members carry no time and no owner. Sides that are one array (the source of
    siblings) are encoded once.
    """
    buffer, encoded = io.BytesIO(), {}  # by id; the array is held beside its bytes, so that no other can have that id
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for pair in pairs:
            for side, audio in (("source", pair.source), ("target", pair.target)):
                if id(audio) not in encoded:
                    encoded[id(audio)] = audio, encode_flac(audio, pair.sample_rate)
                add_member(tar, f"{pair.pair_id}.{side}.flac", encoded[id(audio)][1])
            add_member(tar, f"{pair.pair_id}.json", json.dumps(pair.sample(), ensure_ascii=False, allow_nan=False).encode())
    return buffer.getvalue()


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add bytes as a file that belongs to nobody and has no time."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))

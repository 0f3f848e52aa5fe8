"""SoundFont 2 files: which pitches each preset sounds at.

Only the zones are read (SoundFont 2.04, chapter 7), no audio, and no offsets into it. The synthesizer believes the numbers that it finds in a file's tables,
so those that lead from one to another are checked here.
"""

import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

import numpy as np

RECORDS = {b"phdr": "<20xHHH12x", b"pbag": "<HH", b"pmod": "<10x", b"pgen": "<HBB", b"inst": "<20xH", b"ibag": "<HH", b"imod": "<10x", b"igen": "<HBB",
           b"shdr": "<20xII16xH"}
INSTRUMENT, KEYS, VELOCITIES, SAMPLE = 41, 43, 44, 53  # generators
SOFTEST = 60  # velocity; nothing here is struck softer, and fonts may be silent where it is
COMPRESSED = 0x30  # flags of a sample whose place is given in bytes (SF3)
DAMAGED = "damaged: its tables lead out of it"
Pitches = dict[tuple[int, int], frozenset[int]]  # by (bank, program), the MIDI pitches that a preset sounds at


def pitches(path: str) -> Pitches:
    """By (bank, program), the MIDI pitches at which a preset of the file sounds, struck at any velocity from `SOFTEST` on.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no SoundFont 2 file, or a damaged one.
    """
    tables, room = _tables(path)
    samples = tables[b"shdr"]
    if not all(start <= end <= (room if kind & COMPRESSED else room // 2) for start, end, kind in samples):
        raise ValueError("damaged: it lacks some of its audio")
    instruments = [np.zeros((128, 128), bool) for _ in tables[b"inst"][1:]]  # by pitch and velocity
    for sounds, ((first,), (last,)) in zip(instruments, pairwise(tables[b"inst"])):
        for _, keys, velocities in _zones(tables[b"ibag"], tables[b"igen"], first, last, SAMPLE, len(samples)):
            sounds[keys[0] : keys[1] + 1, velocities[0] : velocities[1] + 1] = True
    found: Pitches = {}
    for (program, bank, first), (_, _, last) in pairwise(tables[b"phdr"]):
        sounds = np.zeros((128, 128), bool)
        for number, keys, velocities in _zones(tables[b"pbag"], tables[b"pgen"], first, last, INSTRUMENT, len(instruments)):
            inside = np.s_[keys[0] : keys[1] + 1, velocities[0] : velocities[1] + 1]
            sounds[inside] |= instruments[number][inside]
        found.setdefault((bank, program), frozenset(np.flatnonzero(sounds[:, SOFTEST:].all(axis=1)).tolist()))  # of two alike, the first is played
    return found


def longest_run(pitches: frozenset[int], low: int, high: int) -> tuple[int, int] | None:
    """The lowest and highest of the longest stretch of `pitches` without a gap from `low` to `high`; None where none of them is there.

    >>> longest_run(frozenset([50, 60, 61, 62, 64, 65, 90]), 55, 80)
    (60, 62)
    """
    runs = [[]]
    for pitch in range(low, high + 1):
        runs[-1].append(pitch) if pitch in pitches else runs.append([])
    longest = max(runs, key=len)
    return (longest[0], longest[-1]) if longest else None


def _zones(bags: list, generators: list, first: int, last: int, leaf: int, count: int) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """What zones `first` to `last` lead to (one of `count` instruments or samples), and for which keys and velocities.

    A first zone that leads nowhere says what holds for those after it.
    """
    if not first <= last < len(bags):
        raise ValueError(DAMAGED)
    common = {KEYS: (0, 127), VELOCITIES: (0, 127)}
    for place in range(first, last):
        (begin, _), (end, _) = bags[place : place + 2]
        if not begin <= end <= len(generators):
            raise ValueError(DAMAGED)
        own, leads = dict(common), False
        for kind, low, high in generators[begin:end]:
            if kind == leaf:
                if (number := low + 256 * high) >= count:
                    raise ValueError(DAMAGED)
                leads = True
                yield number, own[KEYS], own[VELOCITIES]
            elif kind in own:
                own[kind] = low, high
        if place == first and not leads:
            common = own


def _tables(path: str) -> tuple[dict[bytes, list[tuple]], int]:
    """The records of a file's tables, and the bytes of its audio."""
    tables: dict[bytes, list[tuple]] = {}
    room = 0
    with open(path, "rb") as file:
        head, length = file.read(12), os.fstat(file.fileno()).st_size
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"sfbk":
            raise ValueError("not a SoundFont 2 file")
        end = 8 + int.from_bytes(head[4:8], "little")
        if end > length:
            raise ValueError(f"cut short: {length} of {end} bytes")
        for name, size in _chunks(file, end):
            stop, kind = file.tell() + size, file.read(4)
            for part, bytes_ in _chunks(file, stop) if name == b"LIST" and kind in (b"sdta", b"pdta") else ():
                if part == b"smpl":
                    room = bytes_
                elif kind == b"pdta" and part in RECORDS and bytes_ % struct.calcsize(RECORDS[part]) == 0:
                    tables[part] = list(struct.iter_unpack(RECORDS[part], file.read(bytes_)))
    if missing := [name.decode() for name in RECORDS if not tables.get(name)] + ["smpl"] * (not room):
        raise ValueError(f"damaged: it has no {missing[0]} chunk")
    return tables, room


def _chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk up to `end`, the file being where its contents begin. One follows another without padding, as the synthesizer has it."""
    while (begin := file.tell() + 8) <= end:
        name, size = struct.unpack("<4sI", file.read(8))
        if begin + size > end:
            raise ValueError(DAMAGED)
        yield name, size
        file.seek(begin + size)

"""Small SoundFont 2 files of one sine for tests."""

import pathlib
import struct

import numpy as np

ALL = ((0, 127),)
GENERAL_MIDI = {(0, program): ALL for program in range(128)} | {(128, 0): ALL}
RATE = 8000
SINE = np.rint(16000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype("<i2")  # 1 s of pitch 69


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data


def listed(name: bytes, **chunks: bytes) -> bytes:
    return chunk(b"LIST", name + b"".join(chunk(part.encode(), data) for part, data in chunks.items()))


def soundfont(presets: dict = GENERAL_MIDI, within: tuple[int, int] | None = None, common: tuple[int, int] | None = None) -> bytes:
    """A SoundFont whose every preset holds a looped sine.

    Args:
        presets: by (bank, program), zones of the preset's instrument as (lowest, highest key) or (lowest, highest key, softest, loudest velocity).
        within: keys that the presets' own zones let through.
        common: keys that hold for an instrument's zones given as None.
    """
    phdr = pbag = pgen = inst = ibag = igen = b""
    for number, ((bank, program), zones) in enumerate(presets.items()):
        phdr += struct.pack("<20s3H12x", b"preset", program, bank, number)
        pbag += struct.pack("<HH", len(pgen) // 4, 0)
        pgen += (struct.pack("<HBB", 43, *within) if within else b"") + struct.pack("<HH", 41, number)
        inst += struct.pack("<20sH", b"instrument", len(ibag) // 4)
        if common:
            ibag += struct.pack("<HH", len(igen) // 4, 0)
            igen += struct.pack("<HBB", 43, *common)
        for zone in zones:
            ibag += struct.pack("<HH", len(igen) // 4, 0)
            igen += struct.pack("<HBB", 43, *zone[:2]) if zone else b""
            igen += struct.pack("<HBB", 44, *zone[2:]) if zone and zone[2:] else b""
            igen += struct.pack("<HHHH", 54, 1, 53, 0)  # looped; the sample
    phdr += struct.pack("<20s3H12x", b"EOP", 0, 0, len(pbag) // 4)
    pbag += struct.pack("<HH", len(pgen) // 4, 0)
    inst += struct.pack("<20sH", b"EOI", len(ibag) // 4)
    ibag += struct.pack("<HH", len(igen) // 4, 0)
    shdr = struct.pack("<20s5IBbHH", b"sine", 0, len(SINE), 0, len(SINE), RATE, 69, 0, 0, 1) + struct.pack("<20s26x", b"EOS")
    tables = {"phdr": phdr, "pbag": pbag, "pmod": bytes(10), "pgen": pgen + bytes(4), "inst": inst, "ibag": ibag, "imod": bytes(10), "igen": igen + bytes(4),
              "shdr": shdr}
    parts = listed(b"INFO", ifil=struct.pack("<HH", 2, 1)) + listed(b"sdta", smpl=SINE.tobytes() + bytes(92)) + listed(b"pdta", **tables)
    return chunk(b"RIFF", b"sfbk" + parts)


def write(path: pathlib.Path, data: bytes | None = None) -> str:
    """Write a font (General MIDI, if no other is given), and give its path."""
    path.write_bytes(soundfont() if data is None else data)
    return str(path)

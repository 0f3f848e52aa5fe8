"""The pitches that a SoundFont's tables promise are those that the synthesizer sounds; tables that lead nowhere are told, and never followed."""

import struct

import numpy as np
import pytest
import tinysoundfont
from soundfonts import GENERAL_MIDI, listed, soundfont, write

from stages.engines import sf2
from stages.engines.soundfont import bundled

FULL = frozenset(range(128))


def heard(path: str, bank: int, program: int, pitches: list[int]) -> list[bool]:
    """Which pitches the synthesizer sounds, held for 0.2 s each."""
    synthesizer = tinysoundfont.Synth(samplerate=8000)
    synthesizer.program_select(0, synthesizer.sfload(path), bank, program)
    found = []
    for pitch in pitches:
        synthesizer.noteon(0, pitch, 100)
        found.append(bool(np.abs(np.frombuffer(synthesizer.generate(1600), np.float32)).max() > 1e-5))
        synthesizer.sounds_off()
        for _ in range(20):
            silent = np.abs(np.frombuffer(synthesizer.generate(800), np.float32)).max() == 0
        assert silent
    return found


@pytest.mark.parametrize(("made", "expected"), [
    ({"presets": {(0, 5): [(40, 60)]}}, {*range(40, 61)}),
    ({"presets": {(0, 5): [(40, 50), (60, 60), (126, 127)]}}, {*range(40, 51), 60, 126, 127}),
    ({"presets": {(0, 5): [(0, 127)]}, "within": (30, 33)}, {30, 31, 32, 33}),
    ({"presets": {(0, 5): [(20, 31), (50, 60)]}, "within": (30, 55)}, {30, 31, *range(50, 56)}),
    ({"presets": {(0, 5): [None, (80, 81)]}, "common": (70, 72)}, {70, 71, 72, 80, 81}),
    ({"presets": {(0, 5): [(40, 60, 0, 90), (50, 70, 91, 127)]}}, {*range(50, 61)}),
    ({"presets": {(0, 5): [(40, 60, sf2.SOFTEST, 127), (61, 70, sf2.SOFTEST + 1, 127)]}}, {*range(40, 61)}),
    ({"presets": {(0, 5): []}}, set()),
])
def test_a_presets_pitches_are_those_of_its_zones(tmp_path, made, expected):
    assert sf2.pitches(write(tmp_path / "a.sf2", soundfont(**made))) == {(0, 5): frozenset(expected)}


def test_presets_are_told_apart_by_bank_and_program_and_of_two_alike_the_first_counts(tmp_path):
    font = soundfont({(128, 0): [(35, 81)], (0, 0): [(21, 108)], (0, 1): [(0, 127)]})
    assert sf2.pitches(write(tmp_path / "a.sf2", font)) == {(128, 0): frozenset(range(35, 82)), (0, 0): frozenset(range(21, 109)), (0, 1): FULL}
    twice = font.replace(struct.pack("<20sHH", b"preset", 1, 0), struct.pack("<20sHH", b"preset", 0, 0))
    path = write(tmp_path / "b.sf2", twice)
    assert sf2.pitches(path)[0, 0] == frozenset(range(21, 109))
    assert heard(path, 0, 0, [20, 21, 108, 109]) == [False, True, True, False]


@pytest.mark.parametrize("made", [{"presets": {(0, 5): [(40, 50), (60, 60)]}}, {"presets": {(0, 5): [(20, 31), (50, 60)]}, "within": (30, 55)},
                                  {"presets": {(0, 5): [None, (80, 81)]}, "common": (70, 72)}])
def test_the_synthesizer_sounds_these_pitches_and_no_other(tmp_path, made):
    path = write(tmp_path / "a.sf2", soundfont(**made))
    assert {pitch for pitch, sounds in enumerate(heard(path, 0, 5, list(range(128)))) if sounds} == sf2.pitches(path)[0, 5]


def test_of_the_bundled_font_too():
    """Where a run of pitches ends, the last sounds and the next does not; several of its presets have gaps."""
    found = {key: pitches for key, pitches in sf2.pitches(bundled()).items() if pitches != FULL and key[0] == 0 and key[1] < 80}
    assert len(found) > 10
    for (bank, program), pitches in found.items():
        ends = sorted({p for edge in range(1, 128) if (edge in pitches) != (edge - 1 in pitches) for p in (edge - 1, edge)})
        assert heard(bundled(), bank, program, ends) == [p in pitches for p in ends], program


def test_compressed_samples_are_placed_in_bytes(tmp_path):
    whole = soundfont()
    place = whole.index(b"sine".ljust(20, b"\0"))
    far = whole[: place + 24] + struct.pack("<I", 15000) + whole[place + 28 :]
    with pytest.raises(ValueError, match="lacks some of its audio"):
        sf2.pitches(write(tmp_path / "a.sf2", far))
    compressed = far[: place + 44] + struct.pack("<H", 0x11) + far[place + 46 :]
    assert len(sf2.pitches(write(tmp_path / "b.sf3", compressed))) == len(GENERAL_MIDI)


@pytest.mark.parametrize(("data", "word"), [
    (b"", "not a SoundFont"), (b"RIFF", "not a SoundFont"), (b"This is a letter.\n" * 9, "not a SoundFont"),
    (b"RIFF\x04\0\0\0WAVE" + bytes(99), "not a SoundFont"), (b"RIFF\x04\0\0\0sfbk", "no phdr"),
])
def test_what_is_no_soundfont_is_told(tmp_path, data, word):
    with pytest.raises(ValueError, match=word):
        sf2.pitches(write(tmp_path / "a.sf2", data))


def test_a_font_that_is_cut_short_is_told_wherever_it_is_cut(tmp_path):
    whole = soundfont({(0, 0): [(0, 127)]})
    for length in range(0, len(whole), 37):
        cut = whole[:length]
        for data in (cut, cut[:4] + struct.pack("<I", max(4, length - 8)) + cut[8:] if length > 8 else cut):  # as it is, and as if that were all
            with pytest.raises(ValueError, match="cut short|damaged|not a SoundFont"):
                sf2.pitches(write(tmp_path / "a.sf2", data))


def test_a_number_that_leads_out_of_the_tables_is_told(tmp_path):
    """Each number of each table that the synthesizer follows, made too large."""
    whole = soundfont({(0, 0): [(0, 60), (61, 127)], (0, 1): [(0, 127)]})
    for name, size, at in ((b"phdr", 38, 24), (b"pbag", 4, 0), (b"inst", 22, 20), (b"ibag", 4, 0), (b"shdr", 46, 20), (b"shdr", 46, 24)):
        table = whole.index(name, whole.index(b"pdta")) + 8
        place = table + size + at if name != b"shdr" else table + at
        with pytest.raises(ValueError, match="damaged"):
            sf2.pitches(write(tmp_path / "a.sf2", whole[:place] + b"\xf0\xff" + whole[place + 2 :]))
    for name, generator in ((b"pgen", 41), (b"igen", 53)):
        place = whole.index(struct.pack("<H", generator), whole.index(name)) + 2
        with pytest.raises(ValueError, match="damaged"):
            sf2.pitches(write(tmp_path / "a.sf2", whole[:place] + b"\x03\0" + whole[place + 2 :]))


@pytest.mark.parametrize("name", ["phdr", "pbag", "pmod", "pgen", "inst", "ibag", "imod", "igen", "shdr", "smpl"])
def test_a_chunk_that_is_missing_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=f"no {name} chunk"):
        sf2.pitches(write(tmp_path / "a.sf2", soundfont().replace(name.encode(), b"junk")))


def test_other_lists_and_chunks_are_passed_over(tmp_path):
    whole = soundfont()
    more = listed(b"junk", phdr=b"abc", abcd=b"")
    longer = whole[:4] + struct.pack("<I", len(whole) - 8 + len(more)) + whole[8:12] + more + whole[12:]
    assert sf2.pitches(write(tmp_path / "a.sf2", longer)) == sf2.pitches(write(tmp_path / "b.sf2", whole))

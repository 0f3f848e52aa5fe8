"""A soundfont that is not there, is none, or cannot play what may be asked of it is told in one line; and what may be asked is all that is."""

import os

import numpy as np
import pytest
from soundfonts import GENERAL_MIDI, soundfont, write

from manifests.chance import generator
from manifests.errors import RequestError
from stages.engines.check_font import check_font, of_pieces, of_sounds
from stages.engines.sf2 import SOFTEST
from stages.engines.soundfont import LEAD, PADS, SHOTS, _sound, bundled, sound
from stages.scenes import general_midi
from stages.scenes.compose import alternatives_for, compose


def refusal(path, pieces: bool = True, sounds: bool = True) -> str:
    with pytest.raises(RequestError) as error:
        check_font(str(path), pieces, sounds)
    said = str(error.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and "sources, kind: soundfont, font" in said
    return said


def test_a_general_midi_font_is_taken_and_the_bundled_one_is_one(tmp_path):
    check_font(write(tmp_path / "a.sf2"), True, True)
    check_font(bundled(), True, True)


def test_what_is_no_font_is_told(tmp_path):
    assert "no such file" in refusal(tmp_path / "gone.sf2") and "no such file" in refusal(tmp_path) and "no such file" in refusal("s3://fonts/a.sf2")
    (tmp_path / "letter.sf2").write_text("This is a letter, and no soundfont.")
    assert "not a SoundFont" in refusal(tmp_path / "letter.sf2")
    whole = soundfont()
    (tmp_path / "cut.sf2").write_bytes(whole[: len(whole) // 2])
    assert "cut short" in refusal(tmp_path / "cut.sf2")
    (tmp_path / "damaged.sf2").write_bytes(whole.replace(b"igen", b"ogen"))
    assert "damaged" in refusal(tmp_path / "damaged.sf2")


@pytest.mark.skipif(not os.geteuid(), reason="who may read everything is refused nothing")
def test_a_font_that_may_not_be_read_is_told(tmp_path):
    path = write(tmp_path / "locked.sf2")
    os.chmod(path, 0)
    assert "ermission denied" in refusal(path)


@pytest.mark.parametrize(("changes", "pieces", "sounds"), [
    ({(0, 56): None}, "it has no trumpet (bank 0, program 56 from 0)", "it has no trumpet (bank 0, program 56 from 0)"),
    ({(128, 0): None}, "it has no drum kit (bank 128, program 0 from 0)", "it has no percussion (bank 128, program 0)"),
    ({(128, 0): [(0, 35)]}, "its drum kit (bank 128, program 0 from 0) has no sound at pitch 36", "it has no percussion (bank 128, program 0)"),
    ({(0, 122): None}, None, "it has no seashore (bank 0, program 122 from 0)"),
    ({(0, 127): [(0, 60)]}, None, "its gunshot (bank 0, program 127 from 0) has no sound at pitch 61"),
    ({(0, 88): [(50, 127)]}, None, "its new age synth pad (bank 0, program 88 from 0) has no sound at pitch 48"),
    ({(0, 33): [(30, 127)]}, "its fingered electric bass (bank 0, program 33 from 0) has no sound at pitch 28", None),  # a phrase keeps to what there is
    ({(0, 40): [(55, 70), (72, 127)]}, "its violin (bank 0, program 40 from 0) has no sound at pitch 71", None),
    ({(0, 40): [(55, 127, 90, 127)]}, "its violin (bank 0, program 40 from 0) has no sound at pitch 55", "it has no violin (bank 0, program 40 from 0)"),
    ({(0, 40): [(0, 40)]}, "its violin (bank 0, program 40 from 0) has no sound at pitch 55", "it has no violin (bank 0, program 40 from 0)"),
    ({(0, 40): [(55, 84)]}, None, None),  # no part is written higher
    ({(0, 78): None, (0, 80): None}, "it has no square lead synth (bank 0, program 80 from 0)", "it has no whistling (bank 0, program 78 from 0)"),
    ({(0, 112): None, (0, 98): None}, "it has no crystal synth", None),
    ({(0, 40): None, (0, 41): None, (0, 42): None}, "it has no violin (bank 0, program 40 from 0), and 2 more", "and 2 more"),
])
def test_what_a_font_lacks_is_named_where_it_may_be_asked_for(tmp_path, changes, pieces, sounds):
    presets = {key: zones for key, zones in {**GENERAL_MIDI, **changes}.items() if zones is not None}
    path = write(tmp_path / "a.sf2", soundfont(presets))
    check_font(path, False, False)
    for expected, asked in ((pieces, (True, False)), (sounds, (False, True))):
        if expected is None:
            check_font(path, *asked)
        else:
            assert expected in refusal(path, *asked)


def test_pieces_and_their_second_timbres_ask_for_nothing_else():
    asked = of_pieces()
    softest = 127
    for seed in range(300):
        piece = compose(np.random.default_rng(seed), 8)
        for track in piece:
            pitches = {note.pitch for note in track.notes}
            softest = min([softest, *(note.velocity for note in track.notes)])
            programs = [0] if track.drums else [track.program, *alternatives_for(track, piece)]
            assert all(pitches <= asked[128 if track.drums else 0, program] for program in programs), track.label
    assert softest >= SOFTEST


def test_sounds_ask_for_nothing_else():
    held, seen = {*LEAD, *PADS, *SHOTS}, set()
    for number in range(1500):
        window = sound(3, number, 4.0, source=0)
        _, (program, drums, _, notes) = _sound(generator("3", "test", str(number)), window, None)
        pitches = {note.pitch for note in notes}
        assert min(note.velocity for note in notes) >= SOFTEST
        if program in held and not drums:
            assert pitches <= of_sounds()[0, program]
            seen.add(program)
        elif not drums:
            low, high = general_midi.playable_range(program)
            assert program < 80 and min(pitches) >= low and max(pitches) <= high
    assert seen == held

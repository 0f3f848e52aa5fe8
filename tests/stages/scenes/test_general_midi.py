"""The facts on General MIDI hold together: names are distinct, ranges are ranges, alternatives can really step in."""

import pytest

from stages.scenes import general_midi

MELODIC = range(112)


def test_every_sound_has_a_name_of_its_own():
    names = [general_midi.name(program) for program in range(128)] + [general_midi.DRUMS, *general_midi.PERCUSSION.values()]
    assert len({name.replace(" ", "") for name in names}) == len(names)
    assert all(name == name.lower().strip() and "(" not in name and not any(c.isdigit() for c in name) for name in names)


def test_names_stand_where_the_standard_puts_them():
    standard = {0: "acoustic grand piano", 8: "celesta", 16: "drawbar organ", 24: "nylon-string guitar", 32: "upright bass",
                40: "violin", 48: "string ensemble", 56: "trumpet", 65: "alto saxophone", 73: "flute", 80: "square lead synth",
                88: "new age synth pad", 96: "rain synth", 104: "sitar", 111: "shanai", 112: "tinkle bell", 127: "gunshot"}
    assert {program: general_midi.name(program) for program in standard} == standard


def test_there_are_128_programs_of_which_112_are_melodic():
    with pytest.raises(IndexError):
        general_midi.name(128)
    with pytest.raises(IndexError):
        general_midi.playable_range(112)


@pytest.mark.parametrize("program", MELODIC)
def test_ranges_are_midi_pitches_and_an_octave_at_least(program):
    low, high = general_midi.playable_range(program)
    assert 0 <= low and high <= 127
    assert high - low >= 12


@pytest.mark.parametrize("program", MELODIC)
def test_alternatives_sound_different_speak_at_once_and_share_an_octave(program):
    low, high = general_midi.playable_range(program)
    others = general_midi.alternatives(program)
    assert others and list(others) == sorted(set(others))
    for other in others:
        bottom, top = general_midi.playable_range(other)
        assert min(high, top) - max(low, bottom) >= 12
        assert general_midi.timbre(other) != general_midi.timbre(program)
        assert general_midi.MELODIC[other].envelope != "slow"


@pytest.mark.parametrize("program", MELODIC)
def test_what_is_plucked_stays_plucked_and_what_is_held_stays_held(program):
    held = general_midi.MELODIC[program].envelope in ("sustained", "slow")
    assert all((general_midi.MELODIC[other].envelope == "sustained") == held for other in general_midi.alternatives(program))


def test_alternatives_by_example():
    def named(program):
        return {general_midi.name(other) for other in general_midi.alternatives(program)}

    assert {"oboe", "flute", "clarinet"} <= named(40) and not {"viola", "fiddle", "harp", "string ensemble"} & named(40)
    assert {"harp", "harpsichord", "sitar"} <= named(24) and not {"violin", "marimba", "drawbar organ"} & named(24)


def test_percussion_and_effects_are_where_general_midi_has_them():
    assert all(35 <= pitch <= 81 for pitch in general_midi.PERCUSSION)
    assert general_midi.PERCUSSION[39] == "hand clap" and general_midi.PERCUSSION[56] == "cowbell"

"""A composed piece keeps its promises: same generator, same piece; playable; musical; every track there to be heard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.engines.soundfont import render
from stages.scenes import general_midi
from stages.scenes.compose import SCALES, Track, alternatives_for, compose, draw_plan

RATE = 24_000

seeds = st.integers(0, 2**63)
lengths = st.floats(4, 40)
pieces = settings(max_examples=40, deadline=None)


def piece_of(seed: int, seconds: float) -> tuple[Track, ...]:
    return compose(np.random.default_rng(seed), seconds)


def melodic(piece: tuple[Track, ...]) -> list[Track]:
    return [track for track in piece if not track.drums]


def sounding(track: Track, begin: float, end: float) -> float:
    """The share of the window from `begin` to `end` (s) in which a note of the track is held."""
    held, until = 0.0, begin
    for note in track.notes:
        stop = min(note.start + note.duration, end)
        held += max(0.0, stop - max(note.start, until))
        until = max(until, stop)
    return held / (end - begin)


@pieces
@given(seeds, lengths)
def test_the_same_generator_gives_the_same_piece(seed, seconds):
    assert repr(piece_of(seed, seconds)) == repr(piece_of(seed, seconds))


def test_different_generators_give_different_pieces():
    assert len({repr(piece_of(seed, 12)) for seed in range(50)}) == 50


@pieces
@given(seeds, lengths)
def test_notes_are_inside_the_piece_and_the_instrument(seed, seconds):
    for track in piece_of(seed, seconds):
        low, high = (35, 81) if track.drums else general_midi.playable_range(track.program)
        starts = [note.start for note in track.notes]
        assert starts == sorted(starts)
        for note in track.notes:
            assert 0 <= note.start and note.duration >= 0.03 and note.start + note.duration <= seconds
            assert low <= note.pitch <= high and 1 <= note.velocity <= 127
            assert type(note.start) is float and type(note.pitch) is int and type(note.velocity) is int


@pieces
@given(seeds, lengths)
def test_a_pitch_never_overlaps_itself_within_a_track(seed, seconds):
    for track in piece_of(seed, seconds):
        free = {}
        for note in track.notes:
            assert note.start >= free.get(note.pitch, 0)
            free[note.pitch] = note.start + note.duration


@pieces
@given(seeds, lengths)
def test_three_to_five_instruments_that_cannot_be_confused(seed, seconds):
    piece = piece_of(seed, seconds)
    assert 3 <= len(melodic(piece)) <= 5 and len(piece) - len(melodic(piece)) <= 1
    assert len({track.label for track in piece}) == len(piece)
    assert len({general_midi.timbre(track.program) for track in melodic(piece)}) == len(melodic(piece))
    assert {"bass", "harmony", "melody"} <= {track.part for track in piece}


def test_nine_pieces_in_ten_have_drums_labelled_as_such():
    kits = [track.label for seed in range(200) for track in piece_of(seed, 6) if track.drums]
    assert 160 <= len(kits) <= 198 and set(kits) == {"drum kit"}


@pieces
@given(seeds, lengths)
def test_every_track_sounds_in_most_of_any_ten_seconds(seed, seconds):
    for track in piece_of(seed, seconds):
        for begin in np.linspace(0, max(0.0, seconds - 10), 12):
            assert sounding(track, begin, min(begin + 10, seconds)) >= 0.7, track.label


@pieces
@given(seeds, lengths)
def test_every_instrument_has_an_alternative_outside_the_piece_that_plays_all_its_notes(seed, seconds):
    piece = piece_of(seed, seconds)
    for track in melodic(piece):
        others = alternatives_for(track, piece)
        assert others
        for other in others:
            low, high = general_midi.playable_range(other)
            assert all(low <= note.pitch <= high for note in track.notes)
            assert general_midi.name(other) not in {present.label for present in piece}


@pieces
@given(seeds, lengths)
def test_all_instruments_stay_in_one_key(seed, seconds):
    classes = {note.pitch % 12 for track in melodic(piece_of(seed, seconds)) for note in track.notes}
    keys = [{(tonic + step) % 12 for step in scale} for scale in SCALES.values() for tonic in range(12)]
    assert any(classes <= key for key in keys)


@pieces
@given(seeds, lengths)
def test_melody_has_chord_tones_on_strong_beats_and_mostly_small_steps(seed, seconds):
    rng = np.random.default_rng(seed)
    plan = draw_plan(rng, seconds)  # the first that compose draws
    melody = next(track for track in piece_of(seed, seconds) if track.part == "melody").notes
    for note in melody:
        bar, beat = divmod(round((note.start - 0.004) / plan.beat, 1), plan.beats)
        if beat == 0 and bar < len(plan.chords):
            assert note.pitch % 12 in plan.chords[int(bar)]
    leaps = np.abs(np.diff([note.pitch for note in melody]))
    assert leaps.max() <= 12
    assert melody[-1].pitch % 12 == plan.scale[0]


def test_melodies_move_by_step_more_often_than_by_leap():
    leaps = np.concatenate([np.abs(np.diff([note.pitch for note in track.notes]))
                            for seed in range(60) for track in piece_of(seed, 20) if track.part == "melody"])
    assert (leaps <= 2).mean() >= 0.6
    assert (leaps <= 5).mean() >= 0.95


def test_a_phrase_repeats_the_rhythm_of_its_motif():
    for seed in range(40):
        plan = draw_plan(np.random.default_rng(seed), 20)
        melody = next(track for track in piece_of(seed, 20) if track.part == "melody").notes
        bars = [[], []]
        for note in melody:
            bar, beat = divmod((note.start + 0.001) / plan.beat, plan.beats)
            if bar < 2:
                bars[int(bar)].append(beat)
        assert len(bars[0]) == len(bars[1])
        np.testing.assert_allclose(bars[0], bars[1], atol=0.02)


@pytest.mark.parametrize("seconds", [0, 3.9, -1, float("nan")])
def test_too_short_a_piece_is_refused(seconds):
    with pytest.raises(ValueError, match="at least 4 s"):
        compose(np.random.default_rng(0), seconds)


@pytest.mark.parametrize("seed", range(6))
def test_every_track_is_heard_in_the_mixture(seed):
    stems = {track.label: render(track.program, track.drums, 0.0, track.notes, 12.0, RATE, 2).astype(np.float64) for track in piece_of(seed, 12.0)}
    mixture = np.sqrt(np.mean(sum(stems.values()) ** 2))
    for label, stem in stems.items():
        assert np.isfinite(stem).all()
        assert 20 * np.log10(np.sqrt(np.mean(stem**2)) / mixture) > -25, label
        spans = np.sqrt(np.mean(stem.reshape(2, 6, 2 * RATE) ** 2, axis=(0, 2)))  # of 2 s each
        assert spans.min() > 1e-3, label

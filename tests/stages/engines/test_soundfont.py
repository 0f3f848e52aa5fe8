"""The embedded synthesizer plays the same notes the same way, whatever it played before, and exactly as long as asked."""

import numpy as np
import pytest
from soundfonts import GENERAL_MIDI, write
from soundfonts import soundfont as made_font

from manifests.chance import generator
from manifests.errors import Rejected
from stages.engines import sf2, soundfont
from stages.scenes import compose, general_midi
from stages.scenes.compose import Note

RATE = 22_050
MELODY = tuple(Note(n * 0.2, 0.18, 60 + 2 * n, 90 + n) for n in range(6))


def played(program: int = 40, drums: bool = False, notes=MELODY, seconds: float = 1.5, rate: int = RATE, channels: int = 1) -> np.ndarray:
    return soundfont.render(program, drums, 0.0, notes, seconds, rate, channels)


def test_the_synthesizer_is_there():
    soundfont.check()


@pytest.mark.parametrize("channels", [1, 2])
def test_audio_is_float32_finite_and_heard(channels):
    audio = played(channels=channels)
    assert audio.shape == (channels, round(1.5 * RATE)) and audio.dtype == np.float32 and audio.flags["C_CONTIGUOUS"]
    assert np.isfinite(audio).all() and 0.01 < np.abs(audio).max() < 1


@pytest.mark.parametrize(("program", "drums"), [(0, False), (40, False), (100, False), (0, True), (122, False)])
def test_it_does_not_matter_what_was_played_before(program, drums):
    fresh = played(program, drums)
    for other in (73, 126, 0):
        played(other, not drums)
    np.testing.assert_array_equal(played(program, drums), fresh)


def test_programs_differ():
    assert np.abs(played(40) - played(73)).max() > 0.01
    assert np.abs(played(0, True) - played(0, False)).max() > 0.01


@pytest.mark.parametrize("program", [0, 40, 61])
def test_notes_played_apart_add_up_to_the_whole(program):
    """But for the steps of the envelopes, which begin anew at every note."""
    whole = played(program)
    apart = played(program, notes=MELODY[::2]) + played(program, notes=MELODY[1::2])
    assert np.sqrt(np.mean((apart - whole) ** 2) / np.mean(whole**2)) < 0.05


def test_mono_is_the_mean_of_stereo():
    np.testing.assert_allclose(played()[0], played(channels=2).mean(axis=0), atol=1e-7)


def test_a_note_sounds_from_its_start_at_its_pitch_and_louder_when_struck_harder():
    note = Note(0.5, 0.9, 69, 100)
    audio = played(73, notes=(note,))[0]
    assert np.abs(audio[: RATE // 2 - 1]).max() < 1e-4 < np.abs(audio[RATE // 2 : RATE * 6 // 10]).max()
    spectrum = np.abs(np.fft.rfft(audio[RATE * 7 // 10 : RATE * 13 // 10]))
    assert np.argmax(spectrum) / 0.6 == pytest.approx(440, abs=6)
    assert np.abs(played(73, notes=(Note(0.5, 0.9, 69, 50),))).max() < 0.7 * np.abs(audio).max()


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("seconds", "lead", "channels"), [(1, 2.5, 1), (2, 2.5, 2), (3, 2.5, 1), (1, 0.0, 2), (2, 4.0, 1), (3, 1.0, 1)])
def test_audio_is_exactly_as_long_as_asked(rate, seconds, lead, channels):
    audio = soundfont.render(122, False, lead, (Note(0.0, 0.3, 60, 90),), float(seconds), rate, channels)
    assert audio.shape == (channels, seconds * rate)


def test_the_lead_is_left_out():
    note = (Note(0.0, 4.0, 60, 90),)
    whole = soundfont.render(125, False, 0.0, note, 3.0, RATE, 1)
    np.testing.assert_allclose(soundfont.render(125, False, 1.0, note, 2.0, RATE, 1), whole[:, RATE:], atol=1e-6)


def test_of_the_bundled_font_every_instrument_sounds_all_over_its_range():
    """Each pitch has a sample; the lowest, middle and highest are heard."""
    has = sf2.pitches(soundfont.bundled())
    for program in range(112):
        low, high = general_midi.playable_range(program)
        assert [(program, p) for p in range(low, high + 1) if p not in has[0, program]] == []
        for pitch in (low, (low + high) // 2, high):
            audio = played(program, notes=(Note(0.0, 0.5, pitch, 90),), seconds=0.5)
            assert np.sqrt(np.mean(audio**2)) > 1e-3, (program, pitch)


def test_of_the_bundled_font_all_drums_and_percussion_sound():
    for pitch in {*compose.DRUM_RING, *general_midi.PERCUSSION}:
        assert np.abs(played(0, True, notes=(Note(0.0, 0.3, pitch, 90),), seconds=0.5)).max() > 0.003, pitch


# -- fonts of the user's


@pytest.fixture(scope="module")
def sine(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("fonts") / "sine.sf2")


def test_another_font_plays_the_same_notes_by_its_own_sounds(sine):
    note = (Note(0.2, 0.8, 69, 100),)
    audio = soundfont.render(0, False, 0.0, note, 1.0, RATE, 1, sine)[0]
    assert np.abs(audio[: RATE // 5 - 1]).max() == 0
    spectrum = np.abs(np.fft.rfft(audio[RATE * 3 // 10 : RATE * 8 // 10]))
    assert np.argmax(spectrum) / 0.5 == pytest.approx(440, abs=2) and spectrum.max() > 100 * np.median(spectrum)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(audio, played(0, notes=note, seconds=1.0)[0], atol=0.01)


def test_the_fonts_leave_each_other_alone(sine):
    bundled, other = played(40), soundfont.render(40, False, 0.0, MELODY, 1.5, RATE, 1, sine)
    np.testing.assert_array_equal(played(40), bundled)
    np.testing.assert_array_equal(soundfont.render(40, False, 0.0, MELODY, 1.5, RATE, 1, sine), other)


def test_the_bundled_font_under_another_name_plays_the_same_piece(tmp_path):
    with open(soundfont.bundled(), "rb") as file:
        path = write(tmp_path / "a font?font=2.sf2", file.read())
    found = soundfont.play(soundfont.piece(5, 3, 4.0, path, source=1), 8_000, 1)
    assert {clip.uri for clip, _ in found} == {f"soundfont:5/piece-00003?font={path}"}
    for (one, heard), (other, expected) in zip(found, soundfont.play(soundfont.piece(5, 3, 4.0, source=1), 8_000, 1), strict=True):
        assert (one.label, one.part, one.variant, one.group, one.piece) == (other.label, other.part, other.variant, other.group, other.piece)
        np.testing.assert_array_equal(heard, expected)


def test_a_piece_by_another_font_has_the_same_tracks_and_other_sounds(sine, tracks):
    found = soundfont.play(soundfont.piece(5, 3, 6.0, sine, source=2), RATE, 1)
    assert [(clip.label, clip.variant) for clip, _ in found] == [(clip.label, clip.variant) for clip, _ in tracks]
    for (_, one), (_, other) in zip(found, tracks):
        assert np.abs(one).max() > 0.003 and np.abs(one - other).max() > 0.003


def test_sounds_keep_to_the_percussion_and_the_pitches_that_a_font_has(tmp_path):
    """A font of a fifth in the middle of each range and a gap beside it, and of three drums, leaves no note of a phrase out."""
    middle = {program: sum(general_midi.playable_range(program)) // 2 for program in range(80)}
    presets = GENERAL_MIDI | {(0, program): [(at - 9, at - 6), (at - 3, at + 4)] for program, at in middle.items()} | {(128, 0): [(38, 39), (56, 56)]}
    path = write(tmp_path / "gaps.sf2", made_font(presets))
    labels = set()
    for number in range(1, 120):
        ((clip, audio),) = soundfont.play(soundfont.sound(7, number, 4.0, path, source=0), 8_000, 1)
        labels.add(clip.label)
        loud = np.flatnonzero(np.abs(audio[0, : 4 * 8_000 // 80 * 80].reshape(-1, 80)).max(axis=1) > 1e-4)  # frames of 10 ms
        assert loud[0] == 0 and np.diff(loud).max() <= 2, (number, clip.label)
    assert labels & set(general_midi.PERCUSSION.values()) == {"snare drum", "hand clap", "cowbell"} and len(labels) > 20


def test_a_font_that_is_not_there_costs_its_window_and_says_so(tmp_path):
    with pytest.raises(Rejected, match="gone.sf2 cannot be read: No such file"):
        soundfont.play(soundfont.piece(5, 3, 4.0, str(tmp_path / "gone.sf2"), source=0), 8_000, 1)


# -- windows


@pytest.fixture(scope="module")
def tracks():
    return soundfont.play(soundfont.piece(5, 3, 6.0, source=2), RATE, 1)


def test_a_piece_gives_a_clip_a_track(tracks):
    composed = compose.compose(generator("5", soundfont.SCHEME, "piece-00003"), 6.0)
    first = [clip for clip, _ in tracks if clip.variant == 0]
    assert [(clip.label, clip.part) for clip in first] == [(track.label, track.part) for track in composed]
    for clip, audio in tracks:
        assert (clip.tier, clip.domain, clip.role, clip.piece, clip.source) == ("demo", "music", "track", "piece-00003", 2)
        assert clip.group == "soundfont/piece-00003" and clip.uri == "soundfont:5/piece-00003"
        assert audio.shape == (1, 6 * RATE) and np.abs(audio).max() > 0.003


def test_some_tracks_are_played_again_by_another_program(tracks):
    first = {clip.part: (clip, audio) for clip, audio in tracks if clip.variant == 0}
    again = [(clip, audio) for clip, audio in tracks if clip.variant == 1]
    assert len(again) == len({clip.part for clip, _ in again}) == soundfont.SECOND_TIMBRES
    labels = [clip.label for clip, _ in first.values()]
    for clip, audio in again:
        assert clip.part != "drums" and clip.label not in labels
        assert np.abs(audio - first[clip.part][1]).max() > 0.01


def test_both_timbres_begin_together():
    """Onsets agree within 10 ms: the first sound of each track, found at a hundredth of its peak."""
    for seed in range(4):
        found = soundfont.play(soundfont.piece(seed, 0, 5.0, source=0), RATE, 1)
        begin = {(clip.part, clip.variant): np.argmax(np.abs(audio[0]) > 0.01 * np.abs(audio).max()) / RATE for clip, audio in found}
        for (part, variant), time in begin.items():
            assert not variant or time == pytest.approx(begin[part, 0], abs=0.010)


def test_a_window_is_played_the_same_every_time(tracks):
    again = soundfont.play(soundfont.piece(5, 3, 6.0, source=2), RATE, 1)
    assert [clip for clip, _ in again] == [clip for clip, _ in tracks]
    for (_, one), (_, other) in zip(tracks, again):
        np.testing.assert_array_equal(one, other)
    other_seed = soundfont.play(soundfont.piece(6, 3, 6.0, source=2), RATE, 1)
    assert len(other_seed) != len(tracks) or np.abs(other_seed[0][1] - tracks[0][1]).max() > 0.001


@pytest.mark.parametrize("number", range(16))
def test_single_sounds_are_labelled_and_of_tier_demo(number):
    window = soundfont.sound(7, number, 4.0, source=0)
    ((clip, audio),) = soundfont.play(window, RATE, 1)
    assert clip.role == ("background" if number % 4 == 0 else "event") and clip.tier == "demo" and clip.domain == "sound"
    named = {general_midi.name(program) for program in range(128)} | set(general_midi.PERCUSSION.values())
    assert clip.label in named and clip.piece == ""
    assert audio.shape == (1, 4 * RATE) and np.abs(audio).max() > 1e-3
    if clip.role == "background":
        levels = np.sqrt(np.mean(audio.reshape(8, -1) ** 2, axis=1))
        assert levels.min() > 0.02 * levels.max()


def test_sounds_differ_by_number_and_seed():
    labels = {soundfont.play(soundfont.sound(7, n, 1.0, source=0), 8_000, 1)[0][0].label for n in range(1, 40) if n % 4}
    assert len(labels) > 10

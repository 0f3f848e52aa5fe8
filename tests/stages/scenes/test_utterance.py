"""Outside of an edit's span, cross-fades included, both sides of a speech pair are the same samples, shifted."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.audio import encode_flac, to_int16
from manifests.chance import generator
from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import Pair
from manifests.part import Part
from manifests.scene import Rendered, Scene
from manifests.speech import Cut, Word, stretches, to_json
from pipeline.pairs import PairWork, render_scene
from stages.render import render
from stages.scenes.utterance import Change, joins, place, spans

EDITS = ("speech_delete", "speech_insert", "speech_substitute")
JOIN_DB = -25.0


@dataclass
class Made:
    """A recording of made words, noise for each, and what is known of it."""

    clip: Clip
    words: list[Word]
    cuts: list[Cut]
    flac: bytes = field(repr=False)


def made(seed: int, words: list[str], rate: int = 16_000, channels: int = 1, levels: list[float] | None = None, level: float = 0.1) -> Made:
    """Words of 100 to 400 ms with pauses of 30 to 200 ms, cut in their middles; `levels` of the cuts are quiet if not given."""
    rng = np.random.default_rng(seed)
    at, said, edges = 0.1, [], [0.05]
    for text in words:
        end = at + rng.uniform(0.1, 0.4)
        said.append(Word(text, round(at, 4), round(end, 4)))
        at = end + rng.uniform(0.03, 0.2)
        edges.append((end + at) / 2)
    audio = (level * rng.standard_normal((channels, round((at + 0.05) * rate)))).astype(np.float32)
    cuts = [Cut(round(edge, 4), db) for edge, db in zip(edges, levels or [-40.0] * len(edges))]
    clip = Clip(f"{seed}.wav", 0.0, audio.shape[1] / rate, 0, "speech", "real", role="utterance", clip_id=f"{seed:016x}", duration=audio.shape[1] / rate,
                lufs=float(20 * np.log10(level)), gain_db=-3.0, words=to_json(said, cuts), editable=len(stretches(said, cuts, JOIN_DB)))
    return Made(clip, said, cuts, encode_flac(audio * np.float32(10 ** (-3 / 20)), rate))


def placed(recording: Made, asked: list[tuple[str, int, Made | None]], rate: int = 16_000, channels: int = 1) -> tuple[Scene, list[Change | str]]:
    scene = Scene("s", "utterance", "train", rate, channels, 0)
    wanted = [(edit, number, donor and donor.clip) for edit, number, donor in asked]
    return scene, place(scene, recording.clip, wanted, JOIN_DB, lambda *names: generator(1, *names))


def rendered(scene: Scene, *recordings: Made) -> Rendered:
    known = {recording.clip.clip_id: recording for recording in recordings}
    return render(scene, {name: one.clip for name, one in known.items()}, lambda clip: known[clip.clip_id].flac, generator(1, "loudness"))


def stretch_of(change: Change) -> tuple[int, int]:
    return change.first, change.last


TEXT = "well he said no and then the dog".split()
OTHER = "they walked home".split()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.sampled_from([8_000, 11_025, 16_000, 44_100]), st.sampled_from([1, 2]), st.integers(0, 20))
def test_the_sides_are_the_same_samples_outside_of_the_span(seed, count, rate, channels, number):
    recording, donor = made(seed, TEXT[:count], rate, channels), made(seed + 1, OTHER, rate, channels, level=0.02)
    scene, changes = placed(recording, [(edit, number, donor if edit == "speech_substitute" else None) for edit in EDITS], rate, channels)
    result = rendered(scene, recording, donor)
    for edit, change in zip(EDITS, changes):
        before, after = (to_int16(result.sum(side)) for side in (change.before, change.after))
        (a, b), (c, d) = spans(scene, change.before, change.after)
        assert np.array_equal(before[:, :a], after[:, :c]) and np.array_equal(before[:, b:], after[:, d:]) and a == c
        assert 0 <= a < b <= before.shape[1] and 0 <= c < d <= after.shape[1]
        natural = before if edit == "speech_delete" else after
        assert natural.shape[1] == round(recording.clip.duration * rate)
        assert (edit == "speech_delete") == (len(change.before) == 1)
        spliced = change.after if edit == "speech_delete" else change.before
        fades = [max(scene.stems[i].fade_in, scene.stems[i].fade_out) for i in spliced]
        assert max(fades) <= 0.020 * rate and [scene.stems[i].role for i in spliced] == ["kept", *["words"] * len(change.put_in), "kept"]
        for at, side in ((n, change.after if edit == "speech_delete" else change.before) for n in joins(scene, spliced)):
            low, high = (c, d) if edit == "speech_delete" else (a, b)
            assert low <= at <= high and side == spliced
    assert scene.samples == max(scene.length(side) for change in changes for side in (change.before, change.after))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([8_000, 22_050, 48_000]))
def test_the_words_gone_are_gone_and_cuts_lie_in_the_middles_of_cross_fades(seed, rate):
    recording = made(seed, TEXT, rate)
    scene, (change,) = placed(recording, [("speech_delete", 0, None)], rate)
    cut = [round(recording.cuts[n].at * rate) for n in (change.first, change.last)]
    result = rendered(scene, recording)
    whole, spliced = to_int16(result.sum(change.before)), to_int16(result.sum(change.after))
    assert whole.shape[1] - spliced.shape[1] == cut[1] - cut[0]
    (at,) = joins(scene, change.after)
    half = at - cut[0]
    assert abs(half) <= 1
    middle = (result.sum(change.before)[:, cut[0]] + result.sum(change.before)[:, cut[1]]) / 2
    assert np.allclose(result.sum(change.after)[:, cut[0]], middle, atol=0.02)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([8_000, 11_025, 44_100]))
def test_of_one_stretch_what_delete_leaves_is_as_long_as_what_insert_starts_from(seed, rate):
    recording = made(seed, TEXT[:5], rate)
    every = range(len(stretches(recording.words, recording.cuts, JOIN_DB)))
    scene, changes = placed(recording, [(edit, number, None) for edit in EDITS[:2] for number in every], rate)
    left = {stretch_of(change): scene.length(change.after) for change in changes if change.edit == "speech_delete"}
    start = {stretch_of(change): scene.length(change.before) for change in changes if change.edit == "speech_insert"}
    assert left == start and len(left) == len(every)


def test_rounds_are_about_other_words_until_all_were_edited():
    recording = made(3, TEXT, levels=[-40, -9, -40, -30, -20, -40, -26, -9, -40])
    possible = stretches(recording.words, recording.cuts, JOIN_DB)
    for edit in ("speech_delete", "speech_insert"):
        _, changes = placed(recording, [(edit, number, None) for number in range(2 * len(possible))])
        found = [stretch_of(change) for change in changes]
        assert sorted(found[: len(possible)]) == possible and found[len(possible) :] == found[: len(possible)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8))
def test_what_is_deleted_lies_between_pauses_while_there_is_such(seed, count):
    recording = made(seed, TEXT[:count])
    possible = stretches(recording.words, recording.cuts, JOIN_DB)
    gaps = [1.0, *(after.start - before.end for before, after in zip(recording.words, recording.words[1:])), 1.0]  # s
    _, changes = placed(recording, [("speech_delete", number, None) for number in range(2 * len(possible))])
    found = [stretch_of(change) for change in changes]
    paused = [min(gaps[first], gaps[last]) >= 0.06 for first, last in found[: len(possible)]]
    assert paused == sorted(paused, reverse=True) and sorted(found[: len(possible)]) == possible and found[len(possible) :] == found[: len(possible)]


def test_what_is_deleted_first_differs_by_recording_and_other_edits_ask_for_no_pauses():
    found = {edit: [] for edit in EDITS[:2]}
    for seed in range(20):
        recording = made(seed, TEXT)
        gaps = [1.0, *(after.start - before.end for before, after in zip(recording.words, recording.words[1:])), 1.0]
        for edit in found:
            _, (change,) = placed(recording, [(edit, 0, None)])
            found[edit].append((stretch_of(change), min(gaps[change.first], gaps[change.last]) >= 0.06))
    assert all(paused for _, paused in found["speech_delete"]) and len({stretch for stretch, _ in found["speech_delete"]}) > 5
    assert 0 < sum(paused for _, paused in found["speech_insert"]) < 20


def test_cuts_are_made_only_where_it_is_quiet():
    levels = [-40, -9, -40, -30, -20, -40, -24.9, -9, -40]
    recording = made(4, TEXT, levels=levels)
    _, changes = placed(recording, [("speech_delete", number, None) for number in range(20)])
    assert all(levels[n] <= JOIN_DB for change in changes for n in stretch_of(change))


def test_texts_of_a_change():
    recording, donor = made(5, TEXT), made(6, OTHER)
    _, changes = placed(recording, [("speech_delete", 0, None), ("speech_insert", 1, None), ("speech_substitute", 2, donor)])
    for change in changes:
        assert change.words == TEXT
        assert change.spliced == [*TEXT[: change.first], *change.instead, *TEXT[change.last :]]
    assert changes[0].instead == changes[1].instead == [] and changes[2].instead


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30))
def test_words_put_in_are_other_words_at_the_recordings_loudness(seed, number):
    recording, donor = made(seed, TEXT), made(seed + 1, [*TEXT[2:5], *OTHER], level=0.01)
    scene, (change,) = placed(recording, [("speech_substitute", number, donor)])
    assert change.instead != TEXT[change.first : change.last]
    (stem,) = (scene.stems[n] for n in change.put_in)
    assert stem.clip_id == donor.clip.clip_id and stem.gain_db == pytest.approx(20, abs=0.01)
    said = [word.text for word in donor.words]
    at = next(n for n in range(len(said)) if said[n : n + len(change.instead)] == change.instead and _near(donor, n, stem.offset))
    assert _near(donor, at + len(change.instead), stem.offset + stem.length)


def _near(recording: Made, cut: int, sample: int) -> bool:
    return abs(round(recording.cuts[cut].at * 16_000) - sample) <= 0.01 * 16_000


def test_a_donor_without_other_words_is_a_reason_and_leaves_its_siblings_alone():
    recording, nothing, donor = made(7, TEXT), made(8, OTHER, levels=[-40, -9, -9, -9]), made(9, OTHER)
    asked = [("speech_delete", 0, None), ("speech_substitute", 0, nothing), ("speech_insert", 0, None), ("speech_substitute", 1, donor)]
    scene, changes = placed(recording, asked)
    assert changes[1] == "the speaker's other recording has no words that could be put in"
    without, others = placed(recording, [one for n, one in enumerate(asked) if n != 1])
    assert scene == without and [change for change in changes if change is not changes[1]] == others


def test_a_donor_that_says_the_same_puts_in_other_words_of_it():
    same = made(11, TEXT)
    _, changes = placed(made(10, TEXT), [("speech_substitute", number, same) for number in range(20)])
    assert all(change.instead != TEXT[change.first : change.last] for change in changes)


def test_what_is_asked_beside_it_does_not_change_an_edit():
    recording, donor = made(12, TEXT), made(13, OTHER)
    _, (alone,) = placed(recording, [("speech_substitute", 3, donor)])
    _, together = placed(recording, [("speech_delete", 0, None), ("speech_insert", 2, None), ("speech_substitute", 3, donor)])
    assert (stretch_of(alone), alone.instead) == (stretch_of(together[2]), together[2].instead)


def test_a_scene_of_utterances_says_where_its_sides_end():
    recording = made(14, TEXT)
    scene, (change,) = placed(recording, [("speech_delete", 0, None)])
    result = rendered(scene, recording)
    assert result.sum(change.after).shape[1] < result.sum(change.before).shape[1] == scene.samples


def test_a_recording_without_a_place_to_cut_is_a_reason():
    loud = made(3, TEXT, levels=[-10.0] * (len(TEXT) + 1))
    _, changes = placed(loud, [("speech_delete", 0, None), ("speech_insert", 0, None)])
    assert all("no place to cut" in change for change in changes)


def test_a_scene_of_which_no_pair_can_be_made_is_rows_with_reasons():
    """The donor's only stretches are the words that are taken out."""
    twins = [made(seed, ["yes", "sir"], levels=[-40.0, -40.0, -40.0]) for seed in (1, 2)]
    for one in twins:
        one.clip.words, one.clip.editable = to_json([Word("yes", 0.1, 0.3), Word("yes", 0.4, 0.6)], one.cuts), 2
    item = {"scene_id": "00aa", "kind": "utterance", "split": "train", "clip_ids": [twins[0].clip.clip_id],
            "clips": {one.clip.clip_id: one.clip for one in twins}, "pairs": [("key", "speech_substitute", 0, twins[1].clip.clip_id, False)]}
    part = Part("pairs", 0, [item], "train")
    work = PairWork("", 1, 16_000, 1, 48_000, JOIN_DB, 0.5, 0.0, Labels.read(), 60.0, {}, ())
    pair = Pair("key", "00aa", "speech_substitute", "real", "synthetic", "speech", "en", "train", part.number)
    render_scene(item, [pair], work, lambda clip: next(one.flac for one in twins if one.clip.clip_id == clip.clip_id))
    assert "no words that could be put in" in pair.reason and pair.source is None

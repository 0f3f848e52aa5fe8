"""Audio-Omni's own wording comes first; all wordings name what is edited and none says something else."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.clip import Clip
from manifests.pair import EDITS, Pair
from manifests.scene import Scene, Stem
from stages.diarize import to_json
from stages.edit import sides
from stages.engines.protocols import Turn
from stages.instruct import SPEAKER_WORDINGS, SPEECH_WORDINGS, WORDINGS, beside, heard, instruct, instruct_speaker, instruct_speech, named
from stages.scenes.conversation import place
from stages.scenes.conversation import sides as conversation_sides
from stages.scenes.utterance import Change

FIRST = {
    "add": "Add the sound of 'dog bark' to the input audio.",
    "remove": "Remove the sound of 'dog bark' from the input audio.",
    "extract": "Extract the sound of 'dog bark' from the input audio.",
    "replace": "Replace the sound of 'dog bark' with 'church bell'.",
    "transfer": "Change the sound of 'dog bark' to 'church bell'.",
}
ALL = {**WORDINGS, **SPEECH_WORDINGS, **SPEAKER_WORDINGS}
SENTENCE = "she said no and he said yes".split()
word = st.sampled_from("yes no five or the dog said".split())


def spoken(edit: str, words: list[str] = SENTENCE, first: int = 1, last: int = 3, instead: list[str] | None = None) -> tuple[Pair, Change]:
    """A speech edit of words[first:last] of a recording, and the pair that tells of it."""
    instead = (["ate", "bread"] if instead is None else instead) if edit == "speech_substitute" else []
    change = Change(edit, [0], [0], list(words), first, last, instead, [])
    pair = Pair("key", "s", edit, "real", "demo", "speech", "en", "train", 0)
    instruct_speech(pair, change)
    return pair, change


def of_a_speaker(edit: str, subject: int = 1) -> Pair:
    """An edit of one speaker of a conversation of three."""
    turns = to_json([Turn(name, at, at + 1.0) for at, name in enumerate("abacb")])
    scene = place(Scene("s", "conversation", "train", 8000, 1, 0), Clip("talk.wav", 0.0, 5.0, 0, "speech", "real", clip_id="c", duration=5.0, turns=turns))
    pair = Pair("key", "s", edit, "real", "real", "speech", "en", "train", 0)
    pair.before, pair.after, pair.edited = conversation_sides(scene, edit, subject)
    instruct_speaker(pair, scene)
    return pair


def told(edit: str, x: str = "dog bark", y: str = "church bell") -> Pair:
    labels = [("background", "rain"), ("event", x), ("event", "door"), ("other", y)]
    scene = Scene("s", "soundscape", "train", 8000, 1, 10, [Stem("c", role, label, 0, 0, 5, 0, 0) for role, label in labels])
    scene.stems[3].place_of = 1
    pair = Pair("key", "s", edit, "synthetic", "demo", "sound", "en", "train", 0)
    pair.before, pair.after, pair.edited = sides(scene, edit, 1)
    instruct(pair, scene)
    return pair


@pytest.mark.parametrize("edit", WORDINGS)
def test_the_first_wording_is_audio_omnis(edit):
    pair = told(edit)
    assert pair.instruction == pair.instructions[0] == FIRST[edit]
    assert pair.label == "dog bark"


@pytest.mark.parametrize(("edit", "subject", "said"), [("extract_speaker", 1, "second speaker"), ("remove_speaker", 0, "first speaker"),
                                                       ("extract_speaker", 2, "third speaker")])
def test_a_speaker_is_named_by_order_of_appearance(edit, subject, said):
    pair = of_a_speaker(edit, subject)
    assert pair.label == said and all(said in wording for wording in pair.instructions) and pair.instruction == pair.instructions[0]


@pytest.mark.parametrize("edit", EDITS)
def test_there_are_several_wordings_all_different_and_each_an_edits_own(edit):
    words = (told(edit) if edit in WORDINGS else spoken(edit)[0] if edit in SPEECH_WORDINGS else of_a_speaker(edit)).instructions
    assert len(words) >= 5 and len(set(words)) == len(words)
    elsewhere = {wording for name, found in ALL.items() if name != edit for wording in found}
    assert not elsewhere & set(ALL[edit])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(WORDINGS)), st.text(string.printable, min_size=1, max_size=12), st.text(string.printable, min_size=1, max_size=12))
def test_all_wordings_name_the_label_whatever_is_in_it(edit, x, y):
    pair = told(edit, x, y)
    assert all(x in words for words in pair.instructions)
    assert all((y in words) for words in pair.instructions if edit in ("replace", "transfer"))
    assert pair.label == x and len(set(pair.instructions)) == len(pair.instructions)


def test_every_edit_has_wordings_and_wordings_have_no_other_place_to_fill():
    assert set(ALL) == set(EDITS) and not set(WORDINGS) & set(SPEECH_WORDINGS)
    places = {**dict.fromkeys(EDITS, ["x"]), **dict.fromkeys(("replace", "transfer", "speech_substitute"), ["x", "y"]), "speech_insert": ["place", "x"]}
    for edit, wordings in ALL.items():
        for wording in wordings:
            assert sorted(name for _, name, _, _ in string.Formatter().parse(wording) if name) == places[edit]


@pytest.mark.parametrize(("edit", "before", "after"), [
    ("add", "rain and door", "rain, dog bark and door"),
    ("remove", "rain, dog bark and door", "rain and door"),
    ("extract", "rain, dog bark and door", "dog bark"),
    ("replace", "rain, dog bark and door", "rain, door and church bell"),
])
def test_texts_say_what_is_heard_on_each_side(edit, before, after):
    pair = told(edit)
    assert (pair.source_text, pair.target_text) == (before, after)


def test_what_has_no_label_is_not_spoken_of():
    scene = Scene("s", "soundscape", "train", 8000, 1, 10, [Stem("c", "event", label, 0, 0, 5, 0, 0) for label in ("", "dog", "")])
    assert heard(scene, [0, 1, 2]) == "dog"
    assert heard(scene, [0, 2]) == heard(scene, []) == ""


@pytest.mark.parametrize(("edit", "instruction", "label", "source", "target"), [
    ("speech_delete", "Delete 'said no' from the speech.", "said no", "she said no and he said yes", "she and he said yes"),
    ("speech_insert", "Insert 'said no' after 'she' in the speech.", "said no", "she and he said yes", "she said no and he said yes"),
    ("speech_substitute", "Substitute 'ate bread' with 'said no' in the speech.", "ate bread", "she ate bread and he said yes", "she said no and he said yes"),
])
def test_a_speech_edit_tells_its_words_and_the_texts_of_both_sides(edit, instruction, label, source, target):
    pair, _ = spoken(edit)
    assert (pair.instruction, pair.label, pair.source_text, pair.target_text) == (instruction, label, source, target)
    assert pair.instruction == pair.instructions[0]


def test_words_said_more_than_once_are_told_by_their_order():
    assert spoken("speech_delete", first=5, last=6)[0].instruction == "Delete the second 'said' from the speech."
    assert spoken("speech_insert", first=6, last=7)[0].instruction == "Insert 'yes' after the second 'said' in the speech."
    assert spoken("speech_substitute", first=2, last=3, instead=["yes"])[0].instruction == "Substitute the first 'yes' with 'no' in the speech."
    assert spoken("speech_insert", first=0, last=1)[0].instruction == "Insert 'she' before the first 'said' in the speech."


@settings(max_examples=200, deadline=None)
@given(st.lists(word, min_size=2, max_size=14), st.data())
def test_what_an_instruction_names_is_found_in_one_place(words, data):
    first = data.draw(st.integers(0, len(words) - 1))
    count = data.draw(st.integers(1, len(words) - first))
    phrase = words[first : first + count]
    said = named(words, first, count)
    places = [n for n in range(len(words)) if words[n : n + count] == phrase]
    assert f"'{' '.join(phrase)}'" in said
    others = [named(words, n, count) for n in places if n != first]
    assert said not in others and (said.startswith("'") == (len(places) == 1))
    assert beside(words, first) not in [beside(words, n) for n in range(len(words)) if n != first]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(SPEECH_WORDINGS)), st.lists(word, min_size=2, max_size=9), st.lists(word, min_size=1, max_size=4), st.data())
def test_texts_of_a_speech_edit_differ_by_its_words_alone_and_all_wordings_name_them(edit, words, instead, data):
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, min(len(words), first + 4)))
    if last - first == len(words):
        first += 1
    pair, _ = spoken(edit, words, first, last, instead)
    longer, shorter = (pair.source_text, pair.target_text) if edit == "speech_delete" else (pair.target_text, pair.source_text)
    assert longer.split() == words
    assert shorter.split() == [*words[:first], *(instead if edit == "speech_substitute" else []), *words[last:]]
    assert pair.label.split() == (instead if edit == "speech_substitute" else words[first:last])
    for said in pair.instructions:
        assert f"'{pair.label}'" in said
        assert edit != "speech_substitute" or f"'{' '.join(words[first:last])}'" in said

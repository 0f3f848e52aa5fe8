"""Audio-Omni's own wording comes first; all wordings name what is edited and none says something else."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.pair import EDITS, Pair
from manifests.scene import Scene, Stem
from stages.edit import sides
from stages.instruct import WORDINGS, heard, instruct

FIRST = {
    "add": "Add the sound of 'dog bark' to the input audio.",
    "remove": "Remove the sound of 'dog bark' from the input audio.",
    "extract": "Extract the sound of 'dog bark' from the input audio.",
    "replace": "Replace the sound of 'dog bark' with 'church bell'.",
    "transfer": "Change the sound of 'dog bark' to 'church bell'.",
}


def told(edit: str, x: str = "dog bark", y: str = "church bell") -> Pair:
    labels = [("background", "rain"), ("event", x), ("event", "door"), ("other", y)]
    scene = Scene("s", "soundscape", "train", 8000, 1, 10, [Stem("c", role, label, 0, 0, 5, 0, 0) for role, label in labels])
    scene.stems[3].place_of = 1
    pair = Pair("key", "s", edit, "synthetic", "demo", "sound", "en", "train", 0)
    pair.before, pair.after, pair.edited = sides(scene, edit, 1)
    instruct(pair, scene)
    return pair


@pytest.mark.parametrize("edit", EDITS)
def test_the_first_wording_is_audio_omnis(edit):
    pair = told(edit)
    assert pair.instruction == pair.instructions[0] == FIRST[edit]
    assert pair.label == "dog bark"


@pytest.mark.parametrize("edit", EDITS)
def test_there_are_several_wordings_all_different_and_each_an_edits_own(edit):
    words = told(edit).instructions
    assert len(words) >= 5 and len(set(words)) == len(words)
    elsewhere = {wording for name, found in WORDINGS.items() if name != edit for wording in found}
    assert not elsewhere & set(WORDINGS[edit])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EDITS), st.text(string.printable, min_size=1, max_size=12), st.text(string.printable, min_size=1, max_size=12))
def test_all_wordings_name_the_label_whatever_is_in_it(edit, x, y):
    pair = told(edit, x, y)
    assert all(x in words for words in pair.instructions)
    assert all((y in words) for words in pair.instructions if edit in ("replace", "transfer"))
    assert pair.label == x and len(set(pair.instructions)) == len(pair.instructions)


def test_every_edit_has_wordings_and_wordings_have_no_other_place_to_fill():
    assert set(WORDINGS) == set(EDITS)
    for edit, wordings in WORDINGS.items():
        for wording in wordings:
            places = sorted(name for _, name, _, _ in string.Formatter().parse(wording) if name)
            assert places == (["x", "y"] if edit in ("replace", "transfer") else ["x"])


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

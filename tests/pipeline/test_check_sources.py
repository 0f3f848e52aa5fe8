"""What names, labels and groups alone show to be missing is one line before any work; what is only scarce is told."""

import pandas as pd
import pytest
from recordings import configuration, make_sounds

from manifests.errors import RequestError
from manifests.labels import Labels
from pipeline.check_sources import check_sources
from pipeline.config import Config
from pipeline.sources import list_sources

SEVERAL = ("dog bark", "rain", "church bell", "violin", "car horn", "applause")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return make_sounds(tmp_path_factory.mktemp("named") / "sounds")


@pytest.fixture
def checked(sounds, tmp_path):
    def check(labels=SEVERAL, columns=None, domain="sound", **changes) -> list[str]:
        """Check events and backgrounds that have labels in turn, and other columns by their numbers."""
        files = sorted(sounds.rglob("*.wav"))
        table = pd.DataFrame({"path": list(map(str, files)), "label": [labels[n % len(labels)] for n in range(len(files))],
                              **{name: [value(n) for n in range(len(files))] for name, value in (columns or {}).items()}})
        table.to_csv(tmp_path / "m.csv", index=False)
        config = Config.model_validate(configuration(sounds, sources=[{"kind": "manifest", "path": str(tmp_path / "m.csv"), "domain": domain}], **changes))
        return check_sources(config, list_sources(config), Labels.read())

    return check


def test_ordinary_sources_pass_without_a_word(checked):
    assert checked() == []
    assert checked(columns={"group": lambda n: f"recording {n}", "speaker": lambda n: "anna"}) == []  # one recording a group, one speaker


@pytest.mark.parametrize("labels", [("dog bark", "barking"), ("animal", "dog bark", "barking"), ("animal", "dog bark")])
def test_labels_of_which_each_could_be_meant_by_another_are_refused(checked, labels):
    with pytest.raises(RequestError, match="no two can stand in one scene: add sounds of other kinds") as told:
        checked(labels, edits={"remove": 10})
    assert "\n" not in str(told.value) and "labels (" in str(told.value)


@pytest.mark.parametrize("labels", [("animal", "cat", "dog"), ("animal", "meow", "bark")])
def test_labels_beside_one_that_could_mean_them_all_are_not_refused(checked, labels):
    (line,) = checked(labels, edits={"remove": 10})
    assert line.startswith("scenes: the sources name 2 labels that can be told apart")


@pytest.mark.parametrize("role", ["", "background", "either"])
def test_one_label_over_recordings_without_any_can_be_told(checked, role):
    (line,) = checked(("dog bark", ""), {"role": lambda n: role if n % 2 else ""}, edits={"remove": 10})
    assert "name 1 labels that can be told apart" in line
    with pytest.raises(RequestError, match="no two can stand in one scene"):
        checked(("dog bark", ""), {"role": lambda n: "event"}, edits={"remove": 10})


def test_too_few_labels_for_the_scenes_that_were_asked_for_are_told(checked):
    (line,) = checked(("dog bark", "rain", "barking", "animal", "violin"))
    assert line.startswith("scenes: the sources name 3 labels that can be told apart (animal, barking, dog bark, …)")
    assert "scenes of 4 different sounds over a background want 5" in line
    assert checked(("dog bark", "rain", "violin"), scenes={"events": [0.5, 0.5, 0, 0]}) == []
    assert checked(("dog bark", "rain", "violin"), missing="skip") == []


def test_recordings_of_fewer_groups_than_splits_are_refused(checked):
    with pytest.raises(RequestError, match="39 recordings are of 2 groups .*, which cannot stand on 3 sides of the split"):
        checked(columns={"group": lambda n: f"session {n % 2}"})
    with pytest.raises(RequestError, match="are of 1 group "):
        checked(columns={"group": lambda n: "one"})
    assert checked(columns={"group": lambda n: f"session {n % 2}"}, split={"train": 0.5, "val": 0, "test": 0.5}) == []
    assert checked(columns={"group": lambda n: f"session {n % 3}"}) == []


@pytest.mark.parametrize("labels, edit, line", [
    (("rain",), "remove", "edit 'remove' needs sounds of 2 labels, the sources name 1"), (("rain", "violin"), "replace", "needs sounds of 3 labels"),
    (SEVERAL, "speech_delete", "edit 'speech_delete' needs speech"), (SEVERAL, "extract_speaker", "needs conversations"),
    (("",), "generate", "edit 'generate' needs sounds with a label"),
])
def test_each_edit_says_what_it_lacks(checked, labels, edit, line):
    with pytest.raises(RequestError, match=line):
        checked(labels, edits={edit: 10})


def test_what_is_said_counts_where_a_label_says_what_it_is(checked):
    said = {"domain": lambda n: "speech" if n % 2 else "sound"}
    assert checked(("rain", "woman speaking"), said, edits={"remove": 10}, scenes={"events": [1, 0, 0, 0]}) == []
    with pytest.raises(RequestError, match="the sources name 1"):
        checked(("rain", ""), said, edits={"transfer": 10})

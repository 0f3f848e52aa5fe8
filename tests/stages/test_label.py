"""What nobody labelled is named by an engine, whose answer is kept; what somebody labelled is left as it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.clip import ROLES, Clip
from manifests.errors import Rejected
from manifests.part import Part
from pipeline.clips import ClipWork, label_part
from stages.engines.protocols import Described
from stages.ingest import Gates
from stages.label import label

RATE = 8_000
COLUMNS = st.dictionaries(st.text(max_size=6).filter(lambda name: name != "labeler"), st.text(max_size=6), max_size=4)


class Told:
    """A user's labeler, which says what it was told when it was made; it knows recordings by their first sample."""

    batch = 2

    def __init__(self, *answers: Described | Rejected):
        self.answers, self.asked = answers, []

    def label(self, recordings: list[np.ndarray], rate: int, labels: list[str]) -> list[Described | Rejected]:
        self.asked.append((len(recordings), labels))
        return [self.answers[round(float(audio[0, 0]))] for audio in recordings]


class Parrot:
    """Calls every recording the same, if it is asked at all."""

    def __init__(self, *, word: str):
        self.word = word

    def label(self, recordings: list[np.ndarray], rate: int, labels: list[str]) -> list[Described | Rejected]:
        return [Described(self.word, ", ".join(labels)) for _ in recordings]


def clips(count: int, **known) -> list[tuple[Clip, np.ndarray]]:
    return [(Clip(f"{n}.wav", 0.0, 1.0, 0, "sound", "real", **{"role": "event", **known}), np.full((1, 9), n, np.float32)) for n in range(count)]


@given(COLUMNS | st.none(), COLUMNS | st.none(), st.booleans())
def test_metadata_keep_what_the_manifest_said_and_get_the_answer(manifest, details, refused):
    answer = Rejected("only noise") if refused else Described("dog", details=details)
    known = json.dumps(manifest) if manifest is not None else ""
    ((clip, _),) = label(clips(1, metadata=known), RATE, Told(answer), "told", [])
    found = json.loads(clip.metadata)
    assert found.pop("labeler") == {"engine": "told", **({"rejected": "only noise"} if refused else details or {})}
    assert found == (manifest or {})


def test_each_is_given_its_own_label_and_one_that_has_none_stays_without_and_is_kept():
    told, todo = Told(Described("dog"), Rejected("only noise"), Described("  a \n bell "), Described("dog")), clips(4)
    found = label(todo, RATE, told, "told", ["dog", "cat"])
    assert [(clip.label, clip.reason) for clip, _ in found] == [("dog", None), ("", None), ("a bell", None), ("dog", None)]
    assert told.asked == [(2, ["dog", "cat"])] * 2 and all(audio is given_ for (_, audio), (_, given_) in zip(found, todo))
    assert [replace(clip, label="", metadata="") for clip, _ in found] == [clip for clip, _ in todo]
    assert [label([one], RATE, told, "told", ["dog", "cat"])[0][0] for one in todo] == [clip for clip, _ in found]


@pytest.mark.parametrize(("known", "said", "kept"), [("", "a dog barks", "a dog barks"), ("by the sea", "a dog barks", "by the sea"), ("", "", "")])
def test_a_caption_that_was_given_stays(known, said, kept):
    ((clip, _),) = label(clips(1, caption=known), RATE, Told(Described("dog", said)), "told", [])
    assert (clip.label, clip.caption) == ("dog", kept)


def work(engine: str = "", **options) -> ClipWork:
    spec = json.dumps({"engine": engine or f"{__name__}:Parrot", **options})
    return ClipWork("", RATE, 1, 1.0, Gates(), {"labeler": spec}, ("cat", "cow"))


def test_of_a_part_only_events_without_a_label_are_labelled():
    kinds = [(role, named) for role in ROLES for named in ("", "cow")]
    todo = [(replace(clip, role=role, label=named), audio) for (clip, audio), (role, named) in zip(clips(len(kinds)), kinds)]
    todo.append((Clip("late.wav", 0.0, 1.0, 0, "sound", "real", role="event", reason="clipped"), None))
    state = label_part({"part": Part("clips", 0, []), "clips": todo, "stages": []}, work(word="dog"))
    for (clip, audio), (before, same) in zip(state["clips"], todo, strict=True):
        assert audio is same
        if before.role == "event" and not before.label and before.reason is None:
            told = {"engine": f"{__name__}:Parrot"}
            assert clip == replace(before, label="dog", caption="cat, cow", metadata=json.dumps({"labeler": told}))
        else:
            assert clip == before
    assert [(stage["stage"], stage["items"]) for stage in state["stages"]] == [("label", 1)]


def test_a_part_in_which_all_is_labelled_loads_no_engine():
    state = {"part": Part("clips", 0, []), "clips": clips(3, label="cow"), "stages": []}
    assert label_part(state, work("nobody:Nothing")) is state

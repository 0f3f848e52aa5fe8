"""The shares of a plan are counted as they are."""

import pandas as pd
import pyarrow as pa

from manifests.labels import Labels
from pipeline.shares import shares

CLIPS = pd.DataFrame({"clip_id": list("gabcdt"), "label": ["", "dog bark", "bell", "barking", "rain", "piano"]})


def row(edit: str, scene: str, clips: str, kind: str = "soundscape", noop: bool = False) -> dict:
    return {"edit": edit, "scene_id": scene, "kind": kind, "clip_ids": list(clips), "noop": noop}


def test_what_is_planned_is_counted():
    plan = pa.Table.from_pylist([row("remove", "1", "ga"), row("extract", "1", "ga"), row("remove", "2", "gab", noop=True), row("extract", "3", "gabc"),
                                 row("add", "4", "gabd"), row("remove", "5", "ab", "piece"), row("speech_delete", "6", "g", "utterance")])
    assert list(shares(plan, CLIPS, Labels.read())) == [
        "4 soundscapes: 25%, 50%, 25%, 0% with 1, 2, 3, 4 sounds; 25% with one of them twice",  # scene 3: barking is a dog bark
        "remove, extract: 60% beside another labelled sound",
        "remove, replace: 33.3% name a sound that is not there",
    ]


def test_of_speech_alone_nothing_is_told():
    assert list(shares(pa.Table.from_pylist([row("speech_delete", "6", "g", "utterance")]), CLIPS, Labels.read())) == []

"""What a plan's soundscapes are made of, on made tables of clips."""

import numpy as np
import pandas as pd
import pytest
from made_plan import LABELS, clips, config, planned

from manifests.chance import mix


def soundscapes(count: int = 1500, edits: tuple[str, ...] = ("remove", "extract", "replace", "add"), **scenes) -> pd.DataFrame:
    table = clips(600, 40, 60).assign(duration=3.0)
    return planned(table, config(edits=dict.fromkeys(edits, count), scenes=scenes))


def test_a_fifth_of_the_scenes_hear_a_label_twice_and_are_about_both_and_about_one():
    rows = soundscapes()
    rows["twice"] = [len(set(labels)) < len(labels) for labels in rows["labels"]]
    assert 0.17 < rows.drop_duplicates("scene_id")["twice"].mean() < 0.23
    last = rows["subject"] == rows["clip_ids"].map(len) - 1
    twice = rows[rows["twice"]]
    assert not last[twice.index][twice["edit"] == "add"].any() and not (twice["subject"] == 1)[twice["edit"] == "replace"].any()
    for edit in ("remove", "extract"):
        of = twice[twice["edit"] == edit]
        assert (of["subject"] == 1).mean() > 0.3 and last[of.index].mean() > 0.3
    assert all(row.edited != row.clip_ids[1] for row in twice[last[twice.index]].itertuples())


def test_no_event_is_much_duller_than_its_background():
    table = clips(240, 12, 30)
    bands = np.where(np.arange(len(table)) % 3 == 0, 900.0, np.where(np.arange(len(table)) % 3 == 1, 2500.0, 7000.0))
    table = table.assign(duration=2.0, bandwidth_hz=bands)
    known = table.set_index("clip_id")["bandwidth_hz"]

    def dullest(**changes) -> float:
        rows = planned(table, config(edits={"remove": 200, "replace": 100, "transfer": 50}, split={"train": 1, "val": 0, "test": 0}, **changes))
        rows = rows[rows["kind"] == "soundscape"]
        heard = [(known[ids[0]], min([known[clip] for clip in ids[1:]] + ([known[other]] if other and not noop else [])))
                 for ids, other, noop in zip(rows["clip_ids"], rows["other"], rows["noop"])]
        assert {900.0, 2500.0, 7000.0} == {ground for ground, _ in heard}
        return min(event / ground for ground, event in heard)

    assert dullest() >= 0.5 and dullest(clips={"bandwidth": 0}) < 0.2


@pytest.mark.parametrize("count", [70, 90, 101, 200, 300])
def test_events_too_dull_for_any_background_keep_none_of_the_others_from_being_asked_for_again(count):
    table = clips(100, 10, 30).assign(duration=2.0, bandwidth_hz=7000.0)
    table.loc[table.index[table["role"] == "event"][:20], "bandwidth_hz"] = 900.0
    lacking: list[str] = []
    rows = planned(table, config(edits={"remove": count}, split={"train": 1, "val": 0, "test": 0}, missing="skip"), lacking)
    assert len(rows) == count and not lacking


@pytest.mark.parametrize("backgrounds, count", [(30, 1500), (4, 600), (60, 600)])
def test_no_clip_stands_in_more_than_fifty_scenes_of_an_edit(backgrounds, count):
    table = clips(30, 10, backgrounds).assign(duration=2.0)
    lacking: list[str] = []
    rows = planned(table, config(edits={"remove": count, "add": count, "transfer": count}, missing="skip", split={"train": 1, "val": 0, "test": 0}), lacking)
    scenes = rows[rows["kind"] == "soundscape"].drop_duplicates(["edit", "scene_id"]).explode("clip_ids").groupby(["edit", "clip_ids"]).size()
    assert scenes.max() <= 50
    made = rows.groupby("edit").size()
    assert all((made[edit] < count) == any(f"'{edit}'" in line for line in lacking) for edit in made.index)
    assert backgrounds != 4 or (made["remove"] < count and any("in at most 50 scenes each" in line for line in lacking))


def test_nor_takes_anothers_place_more_often():
    table = clips(60, 2, 60).assign(duration=2.0)
    table.loc[table["role"] == "event", "label"] = ["rare"] * 3 + ["common"] * 57
    lacking: list[str] = []
    rows = planned(table, config(edits={"replace": 900, "transfer": 900}, missing="skip", split={"train": 1, "val": 0, "test": 0}), lacking)
    places = rows[(rows["other"] != "") & ~rows["noop"]].groupby(["edit", "kind", "other"]).size()
    assert places.max() == 50 and len(lacking) == 2  # all but three can only be made into those


@pytest.mark.parametrize("edit", ["replace", "transfer"])
def test_what_takes_a_place_is_the_same_whatever_else_is_asked_for(edit):
    table = clips(60, 2, 60).assign(duration=2.0)
    table.loc[table["role"] == "event", "label"] = ["rare"] * 3 + ["common"] * 57

    def pairs(**edits) -> set:
        rows = planned(table, config(edits=edits, missing="skip", split={"train": 1, "val": 0, "test": 0}))
        return set(map(tuple, rows[rows["edit"] == edit][["pair_id", "other"]].to_numpy()))

    few, among_many, many = pairs(**{edit: 60, "add": 10}), pairs(**{edit: 60, "add": 1500}), pairs(**{edit: 120, "add": 1500})
    assert len(few) == 60 and few == among_many
    assert len(many) > 100 and (edit == "transfer" or few < many)  # of transfer's two kinds of scene each gives half


def test_what_one_kind_of_scene_cannot_give_another_does():
    table = clips(400, 10, 2).assign(duration=lambda t: np.where(t["role"] == "event", 2.0, 30.0))
    rows = planned(table, config(edits={"transfer": 600}, split={"train": 1, "val": 0, "test": 0}))
    kinds = rows["kind"].value_counts()
    assert len(rows) == 600 and kinds["soundscape"] < 200 and kinds["solo"] > 400  # two backgrounds stand in fifty scenes each


def test_asking_for_more_changes_nothing_where_clips_are_used_up():
    table = clips(30, 10, 8).assign(duration=2.0)
    few, many = (planned(table, config(edits={"remove": count}, missing="skip", split={"train": 1, "val": 0, "test": 0})) for count in (150, 300))
    assert {tuple(row) for row in few[["scene_id", "subject"]].to_numpy()} <= {tuple(row) for row in many[["scene_id", "subject"]].to_numpy()}


def test_what_is_said_is_an_event_where_it_has_a_label_and_is_as_short_and_clean():
    said = pd.DataFrame([{"role": "utterance", "label": label, "duration": seconds, "noise_floor_db": floor, "speaker": f"voice {n}"}
                         for n in range(60) for label, seconds, floor in (("woman speaking", 3.0, -60.0), ("", 3.0, -60.0), ("man speaking", 9.0, -60.0),
                                                                          ("child speaking", 3.0, -35.0))])
    said["clip_id"] = [f"{value:016x}" for value in mix(7, np.arange(len(said)))]
    said = said.assign(uri=said["clip_id"], piece="", part="", variant=0, caption="", group="", source=1, editable=0, leak_db=None, lufs=-20.0,
                       bandwidth_hz=4000.0)
    table = pd.concat([clips(60, 6, 20), said], ignore_index=True)
    rows = planned(table, config(edits={"remove": 150, "replace": 60, "transfer": 60}))
    heard = [label for labels, kind in zip(rows["labels"], rows["kind"]) if kind == "soundscape" for label in labels]
    assert heard.count("woman speaking") > 40 and not {"man speaking", "child speaking"} & set(heard)
    known = table.set_index("clip_id")
    about = known.loc[rows["edited"][rows["edit"] == "remove"], "label"]
    assert (about == "woman speaking").any()
    transfers = rows[rows["edit"] == "transfer"]
    assert "utterance" not in set(known.loc[transfers["edited"], "role"]) | set(known.loc[transfers["other"], "role"])
    assert "utterance" in set(known.loc[rows["other"][rows["edit"] == "replace"], "role"])


def test_what_is_heard_twice_fits_into_the_scene_one_after_the_other():
    table = clips(600, 40, 30)
    table["duration"] = np.where(table["role"] == "event", 3 + np.arange(len(table)) % 5, 30.0)
    known = table.set_index("clip_id")["duration"]
    rows = planned(table, config(edits={"remove": 1500}))
    twice = rows[[len(set(labels)) < len(labels) for labels in rows["labels"]]]
    assert len(twice) > 60 and all(known[row.clip_ids[1]] + known[row.clip_ids[-1]] <= 8.5 for row in twice.itertuples())


def test_most_pairs_have_another_labelled_event():
    rows = soundscapes()
    for edit in ("remove", "extract", "replace"):
        others = [len(set(labels[1:])) > 1 for labels in rows["labels"][rows["edit"] == edit]]
        assert np.mean(others) >= 0.8
    assert all(len(labels) == 2 for labels in soundscapes(300, ("remove",), events=[1, 0, 0, 0], repeats=0)["labels"])


def test_a_few_pairs_name_what_is_not_there():
    rows = soundscapes(noops=0.1)
    assert set(rows["edit"][rows["noop"]]) == {"remove", "replace"}
    for edit in ("remove", "replace"):
        assert 0.07 < rows["noop"][rows["edit"] == edit].mean() < 0.13
    assert all(row.other_label not in row.labels for row in rows[rows["noop"]].itertuples())
    assert (rows["other"] != "")[rows["noop"]].all() and not (rows["other"] != "")[(rows["edit"] == "remove") & ~rows["noop"]].any()
    table = clips(0, 1, 0, pieces=120)
    table["label"] = table["label"] + " of " + table["piece"].str[-1]
    music = planned(table, config(edits={"remove": 500}, scenes={"noops": 0.1}))
    assert 0.05 < music["noop"].mean() < 0.15
    assert all(row.other_label not in row.labels for row in music[music["noop"]].itertuples())


def test_no_scene_has_two_labels_of_which_one_could_mean_the_other():
    table = clips(300, 6, 12).assign(duration=3.0)
    names = ["dog bark", "animal", "barking", "rain", "Church Bell", "violin"]
    table.loc[table["role"] == "event", "label"] = [names[n % 6] for n in range(300)]
    rows = planned(table, config(edits={"remove": 200, "replace": 100}))
    families = [{LABELS[label].name for label in labels} for labels in rows["labels"]]
    assert any("dog bark" in family for family in families) and not any({"dog bark", "animal"} <= family for family in families)
    replaced = [{LABELS[row.other_label].name, LABELS[row.labels[row.subject]].name} for row in rows[rows["other"] != ""].itertuples()]
    assert not any({"dog bark", "animal"} <= family for family in replaced)

"""The plan's promises, on made tables of clips."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_plan import LABELS, clips, config, planned

from manifests.errors import RunError
from pipeline.plan import parts, plan
from pipeline.split import keys

MIXED = clips(events=120, labels=11, backgrounds=30, pieces=20)
ALL = {"add": 200, "remove": 200, "extract": 200, "replace": 100, "transfer": 60}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return planned(MIXED, config(edits=ALL))


def test_as_many_as_asked_in_each_split(rows):
    counts = rows.groupby(["edit", "split"]).size().unstack()
    assert counts.sum(axis=1).to_dict() == ALL
    assert counts.loc["add"].to_dict() == {"train": 160, "val": 20, "test": 20}
    assert rows["pair_id"].is_unique and rows["pair_id"].str.startswith("abcdefgh-").all() and not rows["pair_id"].str.contains(".", regex=False).any()


def test_no_label_twice_in_a_scene_but_that_of_its_first_event(rows):
    twice = [len(set(labels)) < len(labels) for labels in rows["labels"]]
    assert all(labels[1] == labels[-1] and len(set(labels[:-1])) == len(labels) - 1 for labels in rows["labels"][twice])
    assert (rows["kind"][twice] == "soundscape").all()
    assert all(other not in labels for other, labels in zip(rows["other_label"], rows["labels"]) if other)


def test_all_clips_of_a_scene_are_of_its_split(rows):
    assert all(splits == {split} for splits, split in zip(rows["splits"], rows["split"]))


def test_whole_scenes_stand_in_one_part_of_one_split_no_larger_than_a_shard(rows):
    assert (rows.groupby("scene_id")["part"].nunique() == 1).all() and (rows.groupby("part")["split"].nunique() == 1).all()
    for _, group in rows.groupby("split"):
        sizes = group.groupby("part").size()
        assert sizes.max() <= 16 and sizes.iloc[:-1].min() >= 16 - 4  # only a split's last part is small
    assert rows["part"].is_monotonic_increasing and set(rows["part"]) == set(range(rows["part"].max() + 1))


def test_scenes_have_two_to_four_siblings_and_share_clips(rows):
    siblings = rows[rows["kind"] != "solo"].groupby("scene_id").size()  # what is alone has none
    assert siblings.max() <= 4 and siblings.between(2, 4).mean() > 0.9
    assert (rows.groupby("scene_id")["clip_ids"].agg(lambda lists: len({tuple(c) for c in lists})) == 1).all()


def test_one_label_in_other_letters_is_one_label():
    table = clips(60, 6, 12)
    table.loc[table.index % 2 == 0, "label"] = table["label"].str.upper()
    rows = planned(table, config(edits={"remove": 60, "replace": 40}))
    assert all(len({label.lower() for label in labels[:-1]}) == len(labels) - 1 for labels in rows["labels"])
    assert all(labels[-1].lower() not in map(str.lower, [labels[0], *labels[2:-1]]) for labels in rows["labels"] if len(labels) > 2)


def test_a_background_and_an_event_of_one_recording_never_meet():
    table = clips(40, 8, 8)
    table["uri"] = [f"file {n % 8}" for n in range(len(table))]  # each recording gives five events and a background
    settings_ = config(edits={"remove": 60, "replace": 40}, split={"train": 1.0, "val": 0.0, "test": 0.0})
    known = table.set_index("clip_id")["uri"]
    rows = planned(table, settings_)
    assert len(rows) == 100
    for row in rows.itertuples():
        assert known[row.clip_ids[0]] not in {known[clip] for clip in (*row.clip_ids[1:], *([row.other] if row.other else []))}


def test_a_scene_has_as_many_events_as_the_weights_say(rows):
    scenes = planned(clips(600, 40, 30), config(edits={"remove": 1500})).drop_duplicates("scene_id")
    share = (scenes["labels"].map(lambda labels: len(set(labels))) - 1).value_counts(normalize=True)
    assert np.allclose([share[n] for n in (1, 2, 3, 4)], [0.2, 0.35, 0.3, 0.15], atol=0.05)


@pytest.mark.parametrize("edit", ["remove", "add", "replace", "extract"])
def test_no_clip_is_edited_twice_before_each_was_once(rows, edit):
    of = rows[(rows["edit"] == edit) & (rows["kind"] == "soundscape")]
    for _, group in of.groupby("split"):
        uses = group["edited"].value_counts()
        used = set(uses.index)
        assert uses.max() - uses.min() <= 1
        if uses.max() > 1:
            assert len(used) == sum((MIXED["role"] == "event") & MIXED["clip_id"].isin({c for row in group["clip_ids"] for c in row}))


def test_an_edit_more_changes_none_of_the_others(rows):
    fewer = planned(MIXED, config(edits={"remove": 200, "add": 200, "transfer": 60}))
    whole = rows[rows["edit"].isin(["remove", "add", "transfer"])]
    columns = ["pair_id", "edit", "subject", "other", "split"]
    assert sorted(map(tuple, fewer[columns].values)) == sorted(map(tuple, whole[columns].values))
    both = fewer.merge(whole, on="pair_id")
    assert all(list(a) == list(b) for a, b in zip(both["clip_ids_x"], both["clip_ids_y"]))


def test_a_clip_more_leaves_nearly_all_as_it_was():
    table = clips(4000, 40, 300)
    one = clips(1, 1, 0, first=10**6)
    settings_ = config(edits={"remove": 5000, "replace": 5000})
    before, after = (planned(t, settings_) for t in (table, pd.concat([table, one], ignore_index=True)))
    same = {(p, tuple(c), o) for p, c, o in zip(before["pair_id"], before["clip_ids"], before["other"])}
    same &= {(p, tuple(c), o) for p, c, o in zip(after["pair_id"], after["clip_ids"], after["other"])}
    assert len(same) > 0.99 * len(before)


def test_the_order_of_the_clips_does_not_matter(rows):
    shuffled = planned(MIXED.sample(frac=1, random_state=0).reset_index(drop=True), config(edits=ALL))
    assert (shuffled["pair_id"] == rows["pair_id"]).all() and all(list(a) == list(b) for a, b in zip(shuffled["clip_ids"], rows["clip_ids"]))


def test_transfer_has_the_same_part_in_another_timbre_or_another_sound_that_lasts_as_long(rows):
    known, asked = MIXED.set_index("clip_id"), rows[rows["edit"] == "transfer"]
    kinds = asked["kind"].value_counts()
    assert kinds["solo"] == len(asked) / 2 and min(kinds["soundscape"], kinds["piece"]) > 0.2 * len(asked)  # half of them inside a mixture
    for row in asked.itertuples():
        one, other = known.loc[row.edited], known.loc[row.other]
        if row.kind != "piece":
            assert one["role"] == other["role"] == "event" and (len(row.clip_ids) == 1) == (row.kind == "solo")
            assert other["duration"] >= one["duration"] and other["label"] not in row.labels and row.labels.count(one["label"]) == 1
            continue
        assert (one["piece"], one["part"], one["variant"], other["variant"]) == (other["piece"], other["part"], 0, 1)


def test_tracks_of_a_piece_are_each_taken_once_before_any_is_twice(rows):
    of = rows[(rows["edit"] == "remove") & (rows["kind"] == "piece")]
    for split, group in of.groupby("split"):
        uses = group["edited"].value_counts()
        assert uses.max() - uses.min() <= 1, split


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 40), st.integers(2, 8), st.integers(3, 12), st.integers(0, 4), st.integers(1, 300))
def test_any_sources_give_a_plan_or_one_line(events, labels, backgrounds, pieces, count):
    settings_ = config(edits={"remove": count, "replace": count}, missing="skip")
    lacking: list[str] = []
    rows = planned(clips(events, labels, backgrounds, pieces), settings_, lacking)
    assert rows["pair_id"].is_unique and all(len(set(labels[:-1])) == len(labels) - 1 for labels in rows["labels"])
    made = rows.groupby("edit").size()
    if not lacking:
        assert made["remove"] == count and made["replace"] >= 0.9 * count
    strict = config(edits={"remove": count, "replace": count})
    if lacking:
        with pytest.raises(RunError, match="edit '(remove|replace)' can have"):
            planned(clips(events, labels, backgrounds, pieces), strict)


def test_what_is_lacking_is_lacking_under_the_licences_that_are_allowed():
    told: dict[bool, list[str]] = {False: [], True: []}
    for allowed, lines in told.items():
        planned(clips(6, 1, 0), config(edits={"add": 4}, missing="skip", **({"licenses": {"allow": ["cc0-1.0"]}} if allowed else {})), lines)
    assert len(told[True]) == 3 and all("which under licenses.allow holds" in line for line in told[True])
    assert [line.replace(" under licenses.allow", "") for line in told[True]] == told[False]


def test_parts_hold_all_rows_in_order():
    table = clips(60, 6, 12)
    table = table.assign(key=keys(table["clip_id"]), split="train").sort_values("clip_id").reset_index(drop=True)
    rows = plan(table, config(split={"train": 1.0, "val": 0.0, "test": 0.0}), "abcdefgh", [], LABELS)
    found = parts(rows)
    assert [part.number for part, _ in found] == list(range(len(found)))
    assert [i for _, r in found for i in r["pair_id"].to_pylist()] == rows["pair_id"].to_pylist()


def test_out_of_silence_each_clip_and_each_piece_is_made_once_and_nothing_else_changes():
    table = clips(30, 6, 20, pieces=12)
    table.loc[table["role"] == "background", "label"] = ["", "rain"] * 10
    table.loc[table.index[table["role"] == "background"][0], "caption"] = "It rains."
    edits = {"add": 20, "remove": 20}
    before, lacking = planned(table, config(edits=edits)), []
    rows = planned(table, config(edits={**edits, "generate": 80}, missing="skip"), lacking)
    made = rows[rows["edit"] == "generate"]
    assert set(made["kind"]) == {"solo", "piece"} and not made["clip_ids"].map(tuple).duplicated().any()
    assert (made["kind"] == "piece").sum() == 12 and (made["kind"] == "solo").sum() == 30 + 10 + 1
    assert lacking and all("edit 'generate' can have" in line and "clips that a label, a caption or a transcript tells of" in line for line in lacking)
    assert set(before["pair_id"]) == set(rows.loc[rows["edit"] != "generate", "pair_id"])

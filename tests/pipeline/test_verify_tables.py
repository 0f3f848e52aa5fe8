"""What the tables of a finished run promise, each promise broken in turn, is found and named."""

import json
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from recordings import RATE, tone
from tampering import change

from manifests.clip import EXCLUDED
from pipeline.lanes import ROUNDS
from pipeline.verify import verify
from stages.fingerprint import fingerprint
from stages.wordings import wordings


@pytest.fixture
def run(small_run, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(small_run, tmp_path / "run"))


@pytest.fixture
def clips(run) -> pd.DataFrame:
    return pd.read_parquet(run / "clips/clips.parquet")


def rattle(cut: slice = slice(None)) -> str:
    """The fingerprint of a dozen short notes, or of a part of them."""
    notes = np.concatenate([tone(0.1, pitch, 1) for pitch in np.random.default_rng(1).uniform(200, 2500, 12)])
    return fingerprint(notes[None, cut].astype(np.float32), RATE)


def told(run: pathlib.Path, **changes) -> None:
    """Change run.json, by its keys at any depth."""

    def changed(value):
        return {key: changes.get(key, changed(each)) for key, each in value.items()} if isinstance(value, dict) else value

    path = run / "run.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()))))


@pytest.mark.parametrize("cut", [slice(None), slice(RATE // 10, -RATE // 9)])
def test_one_sound_on_both_sides_of_the_split(run, clips, cut):
    one, same_side = clips.index[clips["split"] == "train"][:2]
    other = clips.index[clips["split"] == "test"][0]
    clips.loc[one, "fingerprint"], clips.loc[same_side, "fingerprint"], clips.loc[other, "fingerprint"] = rattle(), rattle(), rattle(cut)
    clips.to_parquet(run / "clips/clips.parquet")
    found = [fault for fault in verify(str(run), 0) if "sound the same" in fault]
    assert len(found) == 1 and "but stand in" in found[0] and "train" in found[0] and "test" in found[0]
    assert clips.loc[one, "uri"] in found[0] and clips.loc[other, "uri"] in found[0]


def test_what_is_of_one_file_is_not_compared(run, clips):
    one, other = clips.index[clips["split"] == "train"][0], clips.index[clips["split"] == "test"][0]
    clips.loc[[one, other], "fingerprint"] = [rattle(), rattle(slice(RATE // 10, None))]
    clips.loc[other, "uri"] = clips.loc[one, "uri"]
    clips.to_parquet(run / "clips/clips.parquet")
    faults = verify(str(run), 0)
    assert any(fault.startswith(f"recording {clips.loc[one, 'uri']}: stands on both sides") for fault in faults)
    assert not any("sound the same" in fault for fault in faults)


@pytest.mark.parametrize(("column", "why"), [("uri", "is of a recording that exclude names"), ("clip_id", "has the samples of one that exclude names"),
                                            ("fingerprint", "sounds like one that exclude names"), ("a part", "sounds like one that exclude names")])
def test_a_clip_that_exclude_names(run, clips, column, why):
    clip = clips.iloc[7]
    clips.loc[7, "fingerprint"] = rattle()
    clips.to_parquet(run / "clips/clips.parquet")
    planted = {"file": "elsewhere.wav", "clip_id": "", "fingerprint": rattle(slice(RATE // 10, None)) if column == "a part" else "", "role": EXCLUDED,
               "status": "rejected", "reason": "exclude names it"}
    if column != "a part":
        planted["file" if column == "uri" else column] = clips.loc[7, column]
    path = run / "quality/clips.parquet"
    rows = pd.read_parquet(path)
    pd.concat([rows, pd.DataFrame([planted])]).to_parquet(path)
    assert f"clip {clip['clip_id']} ({clip['uri']}): {why}" in verify(str(run), 0)
    told(run, clips_of="elsewhere")  # whose exclude it was is for that run to know
    assert not any("exclude" in fault for fault in verify(str(run), 0))


def test_shares_that_are_not_those_of_the_plan(run):
    said = json.loads((run / "run.json").read_text())["counts"]["made_of"]
    path = run / "plan.parquet"
    plan = pd.read_parquet(path)
    plan.assign(noop=True).to_parquet(path)
    found = [fault for fault in verify(str(run), 0) if fault.startswith("run.json: counts.made_of says")]
    line = next(line for line in said if line.startswith("remove, replace: "))
    assert len(found) == 1 and f"says '{line}'" in found[0] and "say 'remove, replace: 100.0% name" in found[0]
    plan.to_parquet(path)
    told(run, made_of=said[:-1])
    assert verify(str(run), 0) == [f"run.json: counts.made_of says 'nothing', plan.parquet and clips/clips.parquet say '{said[-1]}'"]


def test_labels_of_the_users_own_are_needed_to_count_again(run, tmp_path):
    told(run, labels=str(tmp_path / "labels.yaml"), made_of=["whatever"])
    assert verify(str(run), 0) == []  # they are no longer there
    (tmp_path / "labels.yaml").write_text(yaml.safe_dump({"sound 0": {"phrase": "a sound", "synonyms": [f"sound {n}" for n in range(1, 5)]}}))
    assert any("say 'remove, extract, replace of soundscapes: 0% beside" in fault for fault in verify(str(run), 0))


@pytest.mark.parametrize("asked", [0.0, 0.9])
def test_rooms_that_are_not_as_many_as_were_asked_for(run, asked):
    told(run, rooms=asked)
    found = verify(str(run), 0)
    assert len(found) == 1 and found[0].startswith("rooms: ") and found[0].endswith(f"scenes.rooms asks for {asked:.1%}")


@pytest.mark.parametrize("edit", ["add", "extract"])
def test_events_that_are_not_as_many_as_its_params_hold(run, edit):
    def more(files):
        said = json.loads(files["json"])
        return {**files, "json": json.dumps({**said, "n_events": said["n_events"] + 1}).encode()}

    path = run / "quality/pairs.parquet"
    rows = pd.read_parquet(path).set_index("pair_id")
    pair = change(run, more, edit)
    count = rows.loc[pair, "n_events"]
    assert f"pair {pair}: its n_events is '{count + 1}', quality/pairs.parquet says '{count}'" in verify(str(run), 0)
    rows.loc[pair, "n_events"] += 1
    rows.reset_index().to_parquet(path)
    assert verify(str(run), 0) == [f"pair {pair}: its n_events is {count + 1}, its params hold {count}"]


def test_wordings_that_are_not_of_their_split(run):
    path = run / "quality/wordings.parquet"
    rows = pd.read_parquet(path)
    for_test, for_others, shared = wordings("remove_nth", "test")[-1], wordings("remove", "train")[1], wordings("remove", "test")[0]
    planted = [("remove", "train", for_test), ("remove", "val", for_test), ("remove", "test", for_others), ("add", "test", for_test),
               ("remove", "train", shared), ("remove", "test", for_test)]
    pd.concat([rows, pd.DataFrame([(*names, 1) for names in planted], columns=rows.columns)]).to_parquet(path)
    assert verify(str(run), 0) == [
        f"wording '{for_test}': told in train of 'remove', and kept for test", f"wording '{for_test}': told in val of 'remove', and kept for test",
        f"wording '{for_others}': told in test of 'remove', and none of those that test may have",
        f"wording '{for_test}': told in test of 'add', and none of those that test may have"]


def test_a_clip_in_too_many_scenes_of_one_edit(run):
    path = run / "plan.parquet"
    plan = pd.read_parquet(path)
    row = plan[(plan["edit"] == "extract") & (plan["kind"] == "soundscape")].iloc[0]
    clip, counts = row["clip_ids"][1], plan[plan["edit"] == "extract"].drop_duplicates("scene_id")["clip_ids"].explode().value_counts()

    def planted(count: int, **changes) -> list[str]:
        more = pd.DataFrame([{**row, "scene_id": f"{n:016x}", **changes} for n in range(count)])
        pd.concat([plan, more, more.head(1)]).to_parquet(path)  # a scene's second pair of one edit is no second scene
        return [fault for fault in verify(str(run), 0) if "soundscapes of" in fault]

    spare = ROUNDS - max(counts[name] for name in row["clip_ids"])
    assert planted(spare) == [] and planted(ROUNDS + 1, kind="piece") == []
    found = planted(ROUNDS + 1 - counts[clip])
    assert f"clip {clip}: stands in {ROUNDS + 1} soundscapes of 'extract', {ROUNDS} are the most" in found


def test_a_clip_that_one_edit_is_about_too_often(run):
    path = run / "plan.parquet"
    plan = pd.read_parquet(path)
    row = plan[(plan["edit"] == "remove") & (plan["kind"] == "soundscape")].iloc[0]
    clip = row["clip_ids"][row["subject"]]
    there = sum(ids[at] == clip for ids, at, edit, kind in zip(plan["clip_ids"], plan["subject"], plan["edit"], plan["kind"])
                if (edit, kind) == ("remove", "soundscape"))

    def planted(count: int, **changes) -> list[str]:
        pd.concat([plan, pd.DataFrame([{**row, **changes}] * count)]).to_parquet(path)
        return [fault for fault in verify(str(run), 0) if "are about" in fault]

    assert planted(ROUNDS - there) == planted(ROUNDS + 1, kind="piece") == []
    assert planted(ROUNDS + 1 - there) == [f"clip {clip}: is what {ROUNDS + 1} pairs of 'remove' (soundscape) are about, {ROUNDS} are the most"]


def test_a_clip_in_anothers_place_too_often(run):
    path = run / "plan.parquet"
    plan = pd.read_parquet(path)
    row = plan[(plan["edit"] == "replace") & (plan["other"] != "") & ~plan["noop"]].iloc[0]
    there = int(((plan["edit"] == "replace") & (plan["other"] == row["other"]) & (plan["kind"] == row["kind"]) & ~plan["noop"]).sum())

    def planted(count: int, **changes) -> list[str]:
        pd.concat([plan, pd.DataFrame([{**row, **changes}] * count)]).to_parquet(path)
        return [fault for fault in verify(str(run), 0) if "takes a sound's place" in fault]

    assert planted(ROUNDS - there) == planted(ROUNDS + 1, noop=True) == []
    assert planted(ROUNDS + 1 - there) == [f"clip {row['other']}: takes a sound's place in {ROUNDS + 1} pairs of 'replace' (soundscape), {ROUNDS} are the most"]


@pytest.mark.parametrize(("name", "column"), [("quality/clips.parquet", "fingerprint"), ("plan.parquet", "noop"), ("quality/wordings.parquet", "wording")])
def test_a_table_without_a_column_that_is_needed(run, name, column):
    pd.read_parquet(run / name).drop(columns=column).to_parquet(run / name)
    (fault,) = verify(str(run), 0)
    assert fault.startswith("a table or the rooms of the run cannot be read: ") and column in fault

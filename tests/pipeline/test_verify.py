"""Faults planted in a finished run, with all records made to agree with them, are each found and named."""

import hashlib
import json
import pathlib
import shutil
import tarfile

import numpy as np
import pandas as pd
import pytest
import yaml
from recordings import configuration
from tampering import audio, change, shifted, swapped

from manifests.audio import encode_flac, to_int16
from model.training.shards import Shards
from pipeline.verify import SAMPLE_TYPES, verify


@pytest.fixture
def run(small_run, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(small_run, tmp_path / "run"))


def louder(files):
    return {**files, "source.flac": encode_flac(to_int16(audio(files["source.flac"]) / 32768 * 10 ** (1 / 20)), 16_000)}


def one_sample(files):
    target = audio(files["target.flac"])
    target[0, 777] += 2
    return {**files, "target.flac": encode_flac(target, 16_000)}


def cut_short(files):
    return {**files, "target.flac": encode_flac(audio(files["target.flac"])[:, :-5], 16_000)}


def said(**changes):
    def change_json(files):
        return {**files, "json": json.dumps({**json.loads(files["json"]), **changes}).encode()}

    return change_json


def params(**changes):
    def change_params(files):
        told = json.loads(files["json"])
        told["params"] = json.dumps({**json.loads(told["params"]), **changes})
        return {**files, "json": json.dumps(told).encode()}

    return change_params


def louder_event(files):
    told = json.loads(files["json"])
    recipe = json.loads(told["params"])
    recipe["stems"][recipe["edited"][0]]["snr_db"] += 1.0
    told["params"] = json.dumps(recipe)
    return {**files, "json": json.dumps(told).encode()}


def test_a_sound_run_has_no_fault(run):
    assert verify(str(run), 1000) == []


@pytest.mark.parametrize(("how", "told"), [
    (swapped, "source and target are swapped"),
    (shifted, "target is shifted by 1 samples against its params"),
    (louder, r"source is +1.00 dB off the level that its params say"),
    (one_sample, "target differs from its params in 1 samples, from sample 777, by up to"),
    (cut_short, "source is (1, 48000), target (1, 47995)"),
    (lambda files: {**files, "target.flac": b""}, "holds json, source.flac"),
    (lambda files: {**files, "target.flac": b"no flac"}, "cannot be checked"),
    (said(label="another"), "its label is 'another'"),
    (said(duration=3), "other keys or types"),
    (said(noop=None), "other keys or types"),
    (said(edit_spans=[[0.0, 0.5]]), "edit_spans [[0.0, 0.5]] are not where"),
    (said(split="val"), "split"),
    (params(before=[0], after=[0, 1]), "from its params"),
    (said(gain_db=-3.0), "its gain is"),
    (louder_event, "LU over the background, params say"),
])
def test_a_changed_pair_is_named_with_what_is_wrong(run, audioedit_here, how, told):
    pair = change(run, how)
    done = audioedit_here("verify", run, "--pairs", "1000")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert any(line.startswith(f"pair {pair}: ") and told in line for line in done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize("edit", ["add", "extract", "replace"])
def test_every_edit_is_checked(run, edit):
    pair = change(run, swapped, edit)
    assert any(fault.startswith(f"pair {pair}") and "swapped" in fault for fault in verify(str(run), 1000))


def test_rooms_that_are_not_those_that_were_heard(run):
    assert any(stem["room"] is not None for stem in stems_of(run)), "or nothing is shown"
    rooms = np.load(run / "rooms.npy")
    np.save(run / "rooms.npy", rooms[::-1])
    assert any("differs from its params" in fault or "off the level" in fault for fault in verify(str(run), 1000))
    (run / "rooms.npy").unlink()
    assert any("cannot be checked" in fault for fault in verify(str(run), 1000))


def stems_of(run: pathlib.Path) -> list[dict]:
    """Of all train pairs."""
    shards = Shards([str(run)], "train")
    return [stem for number in range(len(shards)) for stem in json.loads(shards.read(number).facts["params"])["stems"]]


def test_bytes_that_were_altered(run):
    shard, clips = next((run / "shards").glob("*.tar")), next((run / "clips").glob("*.tar"))
    for path in (shard, clips):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    faults = verify(str(run), 0)
    assert f"shards/{shard.name}: its bytes were altered after it was committed" in faults
    assert f"clips/{clips.name}: its bytes were altered after it was committed" in faults


def test_a_forged_index(run):
    index = json.loads((run / "shards" / "index.json").read_text())
    shard = run / index[0]["name"]
    shard.write_bytes(shard.read_bytes() + bytes(512))
    index[0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    (run / "shards" / "index.json").write_text(json.dumps(index))
    assert f"{index[0]['name']}: no part committed the bytes that shards/index.json says" in verify(str(run), 0)


def test_files_missing_and_too_many(run):
    shards = sorted((run / "shards").glob("*.tar"))
    shutil.copy(shards[0], run / "shards" / "train-000099.tar")
    shards[1].unlink()
    faults = verify(str(run), 0)
    assert "shards/train-000099.tar: is not in shards/index.json" in faults and f"shards/{shards[1].name}: is missing" in faults
    assert any("kept by quality/pairs.parquet, but in no shard" in fault for fault in faults)


def test_a_missing_row(run):
    path = run / "quality" / "pairs.parquet"
    rows = pd.read_parquet(path)
    gone = rows[rows["kept"]].iloc[3]["pair_id"]
    rows[rows["pair_id"] != gone].to_parquet(path)
    faults = verify(str(run), 0)
    assert f"pair {gone}: has no row in quality/pairs.parquet" in faults


def test_a_row_twice_and_one_without_a_reason(run):
    path = run / "quality" / "pairs.parquet"
    rows = pd.read_parquet(path)
    lost = rows[~rows["kept"]].iloc[0]["pair_id"]
    rows.loc[rows["pair_id"] == lost, "reason"] = None
    pd.concat([rows, rows.iloc[:1]]).to_parquet(path)
    faults = verify(str(run), 0)
    assert f"pair {rows.iloc[0]['pair_id']}: has two rows in quality/pairs.parquet" in faults and f"pair {lost}: rejected without a reason" in faults


def test_a_recording_on_both_sides_of_the_split(run):
    path = run / "clips" / "clips.parquet"
    clips = pd.read_parquet(path)
    clips.loc[1, "uri"] = clips.loc[clips["split"] != clips.loc[1, "split"], "uri"].iloc[0]
    clips.to_parquet(path)
    assert any(fault.startswith(f"recording {clips.loc[1, 'uri']}: stands on both sides of the split") for fault in verify(str(run), 0))


def test_a_clip_of_another_split(run):
    path = run / "clips" / "clips.parquet"
    clips = pd.read_parquet(path)
    background = clips.index[(clips["role"] == "background") & (clips["split"] == "val")][0]
    clips.loc[background, "split"] = "test"
    clips.to_parquet(path)
    assert any(f"its clip {clips.loc[background, 'clip_id']} is of split test, the pair of val" in fault for fault in verify(str(run), 0))


@pytest.fixture(scope="module")
def strict(tmp_path_factory, sounds, audioedit_here, ray_head) -> pathlib.Path:
    """A finished run that stores what it rejected; not to be changed."""
    folder = tmp_path_factory.mktemp("strict")
    rules = [{"score": "local_snr_db", "min": 9.0}, {"score": "snr_db", "max": 15.0}]
    (folder / "strict.yaml").write_text(yaml.safe_dump(configuration(sounds, filters={"rules": rules, "store_rejected": True})))
    done = audioedit_here("build", folder / "strict.yaml", "-o", folder / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def storing(strict, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(strict, tmp_path / "run"))


def test_pairs_that_broke_a_rule_are_stored_beside_those_kept(strict):
    assert verify(str(strict), 1000) == []
    rows = pd.read_parquet(strict / "quality" / "pairs.parquet").set_index("pair_id")
    broke = rows[rows["reason"].isin(["local_snr_db < 9", "snr_db > 15"])]
    assert len(broke) > 10 and (~rows["kept"]).sum() == len(broke) and broke["split"].nunique() == 3
    index, found = json.loads((strict / "shards" / "index.json").read_text()), {}
    rejected = [shard for shard in index if shard["split"] == "rejected"]
    assert [shard["name"] for shard in rejected] == [f"shards/rejected-{n:06d}.tar" for n in range(len(rejected))]
    for shard in rejected:
        with tarfile.open(strict / shard["name"]) as tar:
            found |= {member.name[:-5]: json.loads(tar.extractfile(member).read()) for member in tar if member.name.endswith(".json")}
    assert set(found) == set(broke.index) and sum(shard["pairs"] for shard in rejected) == len(broke)
    assert all(set(said) == set(SAMPLE_TYPES) and said["split"] == broke.loc[pair, "split"] for pair, said in found.items())
    facts = json.loads((strict / "run.json").read_text())["counts"]
    assert facts["kept"] == rows["kept"].sum() and facts["shards"] == len(index) - len(rejected)
    train = Shards([str(strict)], "train")
    assert {train.read(number).key for number in range(len(train))} == set(rows.index[rows["kept"] & (rows["split"] == "train")])


def test_a_changed_pair_is_found_among_the_rejected_too(storing):
    pair = change(storing, swapped, kept=False)
    assert verify(str(storing), 1000) == [f"pair {pair}: source and target are swapped"]


def test_rejected_pairs_that_are_gone(storing):
    index = json.loads((storing / "shards" / "index.json").read_text())
    gone = next(shard for shard in index if shard["split"] == "rejected")
    (storing / gone["name"]).unlink()
    (storing / "shards" / "index.json").write_text(json.dumps([shard for shard in index if shard is not gone]))
    faults = verify(str(storing), 0)
    assert len(faults) == gone["pairs"] and all(fault.endswith("rejected by a rule by quality/pairs.parquet, but in no shard") for fault in faults)


def test_what_is_kept_or_broke_no_rule_is_not_among_the_rejected(storing):
    path = storing / "quality" / "pairs.parquet"
    rows = pd.read_parquet(path)
    one, other = rows.index[~rows["kept"]][:2]
    rows.loc[one, ["kept", "reason"]] = True, None
    rows.loc[other, "reason"] = "it is silent"
    rows.to_parquet(path)
    faults = verify(str(storing), 0)
    name = f"pair {rows.loc[one, 'pair_id']}: is in a shard of split rejected, but belongs in"
    assert f"{name} one of split {rows.loc[one, 'split']}" in faults
    name = f"pair {rows.loc[other, 'pair_id']}: is in a shard of split rejected, but belongs in"
    assert f"{name} none, since it was rejected (it is silent)" in faults


def test_a_run_that_is_not_done(run):
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "state": "running"}))
    assert verify(str(run), 0) == ["run.json: the run is running, not done"]

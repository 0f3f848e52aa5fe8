"""Encode: every sample once, the same bytes whatever dies on the way, and train takes them."""

import dataclasses
import json
import pathlib
import shutil
import tarfile
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from made_run import broken, make_run
from safetensors.torch import load
from tiny_model import sizes

from model.tiny_mllm import TINY


def save(folder: pathlib.Path, **changes) -> pathlib.Path:
    """A MODEL folder without a spectrogram, whose codec and MLLM are used."""
    import torch

    from model.audio_omni import AudioOmni

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AudioOmni(dataclasses.replace(sizes(TINY, mel=False, speech=False, video=False), **changes)).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> pathlib.Path:
    return save(tmp_path_factory.mktemp("model") / "MODEL")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return pathlib.Path(make_run(tmp_path_factory.mktemp("data") / "run", train=16, shard_of=1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model, data, audioedit_here, ray_head) -> pathlib.Path:
    """Encoded on a cluster, by a driver that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "encoded"
    done = audioedit_here("encode", model, "--data", data, "-o", folder, "--ray", ray_head)
    assert done.returncode == 0 and done.stdout.strip() == str(folder), done.stderr
    return folder


def index(folder: pathlib.Path) -> list[dict]:
    return json.loads((folder / "shards/index.json").read_text())


def tars(folder: pathlib.Path) -> dict[str, bytes]:
    return {shard["name"]: (folder / shard["name"]).read_bytes() for shard in index(folder)}


def test_its_shards_are_the_run_s_with_latents_and_states(whole, data):
    assert [(shard["name"], shard["split"], shard["pairs"]) for shard in index(whole)] == [
        (shard["name"], shard["split"], shard["pairs"]) for shard in index(data)]
    for shard in index(data):
        with tarfile.open(data / shard["name"]) as before, tarfile.open(whole / shard["name"]) as after:
            [key] = {member.name.partition(".")[0] for member in before}
            assert after.getnames() == [f"{key}.latents.safetensors", f"{key}.json"]
            facts, raw = (json.loads(tar.extractfile(f"{key}.json").read()) for tar in (after, before))
            tensors = load(after.extractfile(f"{key}.latents.safetensors").read())
        assert facts == raw | {"samples": 16_000}
        assert set(tensors) == {"source", "target", *(f"states.{number}" for number in range(len(raw["instructions"])))}
        assert tensors["source"].shape == tensors["target"].shape == (64, 256)  # 1.024 s in frames of 64 samples
    assert not [path for path in whole.rglob(".*")]


def test_again_there_is_nothing_to_do_and_another_model_or_run_is_refused(tmp_path, whole, data, model, audioedit_here):
    before, nowhere = tars(whole), ("--ray", "127.0.0.1:1")  # Ray would say that nobody answers
    done = audioedit_here("encode", model, "--data", data, "-o", whole, *nowhere)
    assert done.returncode == 0 and "finished already: nothing to do" in done.stdout
    other = save(tmp_path / "OTHER", mllm={"path": TINY, "layer": -1, "hear_source": False})
    another, empty = make_run(tmp_path / "another", train=2), tmp_path / "empty"
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    empty.mkdir()
    for options, told in (
        ((other, "--data", data, "-o", whole), "holds something else than this run encoded with this model"),
        ((model, "--data", another, "-o", whole), "holds something else than this run encoded with this model"),
        ((model, "--data", data, "-o", tmp_path / "full"), "is not empty and holds nothing encoded"),
        ((model, "--data", whole, "-o", tmp_path / "twice"), "is encoded already"),
        ((model, "--data", empty, "-o", tmp_path / "out"), "no finished run is there"),
        ((empty, "--data", data, "-o", tmp_path / "out"), "is not a MODEL folder"),
        ((model, "--data", data, "-o", tmp_path / "out", "--set", "gpus=1"), "gpus needs actors"),
        ((model, "--data", data, "-o", tmp_path / "out", "--set", "cpu=1"), "did you mean 'cpus'?"),
    ):
        refused = audioedit_here("encode", *options, *nowhere)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and told in refused.stderr, refused.stderr
    assert tars(whole) == before and not (tmp_path / "out").exists() and not (tmp_path / "twice").exists()


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_bytes(tmp_path, whole, data, model, start, audioedit_here, ray_head):
    asked = ("encode", model, "--data", data, "-o", tmp_path / "out", "--ray", ray_head)
    driver, deadline = start(*asked), time.monotonic() + 120
    while len(done := list((tmp_path / "out").glob("parts/*.json"))) < 3:
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    assert 3 <= len(done) < len(index(data)) and not (tmp_path / "out/shards").exists()
    unfinished = audioedit_here("train", "configs/train/tiny.yaml", "--data", tmp_path / "out", "-o", tmp_path / "trained")
    assert unfinished.returncode == 2 and "no finished run is there" in unfinished.stderr
    finished = audioedit_here(*asked)
    assert finished.returncode == 0, finished.stderr
    assert index(tmp_path / "out") == index(whole) and tars(tmp_path / "out") == tars(whole)
    assert not [path for path in (tmp_path / "out").rglob(".*")]


def test_what_is_broken_is_counted_and_left_out_as_is_what_was_rejected_and_no_cluster_is_needed(tmp_path, model, audioedit_here):
    run = pathlib.Path(make_run(tmp_path / "run", train=7, shard_of=3))
    shutil.copy(run / "shards/val-000000.tar", run / "shards/rejected-000000.tar")
    (run / "shards/index.json").write_text(json.dumps([*index(run), {**index(run)[-1], "name": "shards/rejected-000000.tar", "split": "rejected"}]))
    broken(run, "train001")
    cut = run / "shards/train-000001.tar"
    cut.write_bytes(cut.read_bytes()[:700])  # nothing of its three samples can be read
    done = audioedit_here("encode", model, "--data", run, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    [told] = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip() and not line.startswith("encode:")]
    assert told.startswith("4 samples could not be read and were left out: ") and "train001" in told and "shards/train-000001.tar" in told
    assert {shard["name"]: shard["pairs"] for shard in index(tmp_path / "out")} == {
        "shards/train-000000.tar": 2, "shards/train-000002.tar": 1, "shards/val-000000.tar": 2}
    assert json.loads((tmp_path / "out/run.json").read_text())["counts"] == {"pairs": 5, "broken": 4}


def test_it_is_trained_on_from_the_command_line(tmp_path, whole, data, model, audioedit_here):
    given = {"steps": 2, "batch": 4, "workers": 0, "every": {"log": 1, "val": 2, "listen": 0, "checkpoint": 2}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(given))
    losses = {}
    for name, source in (("raw", data), ("encoded", whole)):
        done = audioedit_here("train", tmp_path / "tiny.yaml", "--data", source, "--init", model, "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        losses[name] = pd.read_parquet(tmp_path / name / "metrics.parquet").loss.to_numpy()
    assert np.abs(losses["encoded"] / losses["raw"] - 1).max() < 1e-3
    other = save(tmp_path / "OTHER", mllm={"path": TINY, "layer": -1, "hear_source": False})
    refused = audioedit_here("train", tmp_path / "tiny.yaml", "--data", whole, "--init", other, "-o", tmp_path / "other")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "encoded with another mllm" in refused.stderr


def test_a_shard_that_cannot_be_reached_is_no_broken_one(tmp_path, model, audioedit_here, ray_head):
    run = pathlib.Path(make_run(tmp_path / "run", train=2, val=1, shard_of=1))
    away = shutil.move(run / "shards/train-000001.tar", tmp_path / "away.tar")
    asked = ("encode", model, "--data", run, "-o", tmp_path / "out", "--ray", ray_head)
    failed = audioedit_here(*asked)
    assert failed.returncode == 1 and "1 parts failed, the others are done" in failed.stderr and not (tmp_path / "out/shards").exists()
    shutil.move(away, run / "shards/train-000001.tar")
    assert audioedit_here(*asked).returncode == 0
    assert sum(shard["pairs"] for shard in index(tmp_path / "out")) == 3

"""What is computed once is what would be computed at every step."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_run import make_run
from safetensors.torch import load
from tiny_model import sizes

from manifests.errors import Rejected, RequestError
from manifests.storage import Storage
from model.audio_omni import AudioOmni
from model.tiny_mllm import TINY
from model.train import train
from model.training.draw import LATENTS
from model.training.encode import MADE_WITH, Encoder, check, made_with
from model.training.shards import Sample, Shards
from stages.shard import add_member


def encoded(run: str, folder: Path, model: Path) -> str:
    """A run's shards, encoded."""
    encoder, index = Encoder(model), json.loads((Path(run) / "shards/index.json").read_text())
    (folder / "shards").mkdir(parents=True)
    for shard in index:
        shards, buffer = Shards([run], shard["split"], tar=shard["name"]), io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for number in range(len(shards)):
                sample = shards.read(number)
                facts, members = encoder.encode(sample)
                for kind, data in (*members.items(), ("json", json.dumps(facts).encode())):
                    add_member(tar, f"{sample.key}.{kind}", data)
        (folder / shard["name"]).write_bytes(buffer.getvalue())
    (folder / "shards/index.json").write_text(json.dumps(index))
    Storage(str(folder)).write_json(MADE_WITH, made_with(model))
    return str(folder)


@pytest.fixture
def model(tmp_path, config):
    """Of the sizes that `config` trains."""
    AudioOmni(config().model).save(tmp_path / "MODEL")
    return tmp_path / "MODEL"


def losses(folder: Path) -> np.ndarray:
    return pd.read_parquet(folder / "metrics.parquet").loss.to_numpy()


@pytest.mark.parametrize(("seconds", "tolerance"), [(0.7, 1e-3), (1.0, 1e-3), (4.0, 1e-2)])
def test_encoded_and_raw_give_the_same_losses(tmp_path, config, model, seconds, tolerance):
    """Of a sample that is longer than the window, the outer frames of a raw one do not know what lies beyond."""
    run = make_run(tmp_path / "run", seconds=seconds)
    once = encoded(run, tmp_path / "encoded", model)
    train(config(), {run: 1.0}, tmp_path / "raw")
    train(config(), {once: 1.0}, tmp_path / "once")
    assert np.abs(losses(tmp_path / "raw") / losses(tmp_path / "once") - 1).max() < tolerance


def test_a_model_that_hears_the_spectrogram_too(tmp_path, config):
    of = sizes(TINY, speech=False, video=False)
    AudioOmni(of).save(tmp_path / "MODEL")
    run = make_run(tmp_path / "run")
    once = encoded(run, tmp_path / "encoded", tmp_path / "MODEL")
    train(config(model=of, steps=2), {run: 1.0}, tmp_path / "raw")
    train(config(model=of, steps=2), {once: 1.0}, tmp_path / "once")
    assert np.abs(losses(tmp_path / "raw") / losses(tmp_path / "once") - 1).max() < 1e-3


def test_another_model_is_refused(tmp_path, config, model):
    run = encoded(make_run(tmp_path / "run"), tmp_path / "encoded", model)
    other = config().model.__class__.from_json(config().model.to_json().replace('"layer": -2', '"layer": -1'))
    with pytest.raises(RequestError, match="another mllm"):
        check(Storage(run), other, None)
    check(Storage(run), config().model, None)


def test_a_damaged_sample_is_rejected(tmp_path, model):
    with pytest.raises(Rejected, match="key is damaged"):
        Encoder(model).encode(Sample("key", {}, {"source.flac": b"", "target.flac": b""}))


def test_a_sample_damaged_in_its_middle_is_rejected(tmp_path, model):
    sample = Shards([make_run(tmp_path / "run")], "train").read(0)
    flac = sample.members["target.flac"]
    sample.members["target.flac"] = flac[: len(flac) // 2] + bytes(len(flac) - len(flac) // 2)
    with pytest.raises(Rejected, match="train000 is damaged"):
        Encoder(model).encode(sample)


def test_encoded_and_raw_are_not_mixed(tmp_path, config, model):
    run = make_run(tmp_path / "run")
    once = encoded(run, tmp_path / "encoded", model)
    with pytest.raises(RequestError, match="is encoded and others are not"):
        train(config(), {run: 1.0, once: 1.0}, tmp_path / "out")


def test_what_a_model_hears_a_part_of_at_a_time_is_not_encoded_whole(tmp_path, config):
    of = dataclasses.replace(config().model, mllm={"path": TINY, "layer": -2, "hear_source": True})
    AudioOmni(of).save(tmp_path / "HEARS")
    with pytest.raises(Rejected, match="longer than the window"):
        Encoder(tmp_path / "HEARS").encode(Shards([make_run(tmp_path / "run", seconds=2.0)], "train").read(0))


def test_a_codec_that_is_not_sure_gives_its_deviation(tmp_path, config):
    tiny = config().model
    of = dataclasses.replace(
        tiny, codec={"kind": "oobleck", "width": 16, "multiples": [1, 2], "strides": [4, 8], "latent_channels": 8},
        dit=dataclasses.replace(tiny.dit, width=32, latent_channels=8, source_channels=8))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AudioOmni(of)
    model.save(tmp_path / "MODEL")
    run = make_run(tmp_path / "run")
    _, members = Encoder(tmp_path / "MODEL").encode(Shards([run], "train").read(0))
    assert {"source", "target", "target_deviation", "states.0", "states.1"} == set(load(members[LATENTS]))
    once = encoded(run, tmp_path / "encoded", tmp_path / "MODEL")
    train(config(model=None, steps=2), {run: 1.0}, tmp_path / "raw", init=tmp_path / "MODEL")
    train(config(model=None, steps=2), {once: 1.0}, tmp_path / "once", init=tmp_path / "MODEL")
    assert np.abs(losses(tmp_path / "raw") / losses(tmp_path / "once") - 1).max() < 1e-3

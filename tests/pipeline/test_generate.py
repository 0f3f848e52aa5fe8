"""Pairs that begin with silence: built, checked, trained on and judged."""

import dataclasses
import io
import json
import pathlib
import shutil
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from made_run import pair, write_run
from recordings import configuration
from safetensors.torch import load_file
from tiny_model import RATE, build, sizes

from manifests.audio import decode_flac, encode_flac
from manifests.pair import Pair
from model.mllm import Mllm, Prompt
from model.sizes import Sizes
from model.tiny_mllm import TINY
from model.train import train
from model.training.config import TrainConfig
from model.training.draw import Batch, Draws, collate
from model.training.encode import MADE_WITH, Encoder, made_with
from model.training.objective import Objective
from model.training.shards import Sample, Shards
from stages.shard import add_member

PAIRS = {"generate": 40, "remove": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory, sounds, ray_head, audioedit_here) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("generate")
    rows = [{"file_name": str(path), "label": path.parent.name, "caption": "It hums, and ends" if path.stem == "0" else ""} for path in sounds.rglob("*.wav")]
    pd.DataFrame(rows).to_csv(folder / "sounds.csv", index=False)
    sources = [{"kind": "manifest", "path": str(folder / "sounds.csv")}, {"kind": "soundfont", "pieces": 6}, {"kind": "espeak", "utterances": 8}]
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration(sounds, sources=sources, edits=PAIRS)))
    done = audioedit_here("build", str(folder / "config.yaml"), "-o", str(folder / "run"), "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_each_clip_is_made_once_and_all_that_was_asked_for_is_there(run, audioedit_here):
    rows = pd.read_parquet(run / "quality/pairs.parquet")
    made = rows[rows["edit"] == "generate"]
    assert len(made) == PAIRS["generate"] and made["kept"].all() and set(made["domain"]) == {"sound", "music", "speech"}
    assert not made["clip_ids"].map(tuple).duplicated().any() and (made["source_lufs"] == -120).all()
    assert (made["instruction"] == "It hums, and ends.").any() and set(made["tier"]) == {"synthetic", "demo"}
    assert audioedit_here("verify", str(run), "--pairs", "60").returncode == 0


def test_a_source_is_silence_as_long_as_its_target_and_what_is_said_has_its_words(run):
    shards = Shards([str(run)], "train")
    for number in np.flatnonzero(shards.edit == "generate"):
        _, facts, members = shards.read(int(number))
        source, target = (decode_flac(members[f"{side}.flac"]) for side in ("source", "target"))
        assert source.shape == target.shape and not source.any() and target.any() and facts["source_text"] == ""
        assert facts["domain"] != "speech" or f"'{facts['target_text']}'" in facts["instruction"]


def test_asked_for_without_anything_to_tell_of_it_is_one_line(tmp_path, sounds, audioedit_here):
    source = {"kind": "folder", "path": str(sounds)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration(sounds, sources=[source], edits={"generate": 4})))
    done = audioedit_here("build", str(tmp_path / "config.yaml"), "-o", str(tmp_path / "run"))
    assert done.returncode == 2 and "edit 'generate' needs sounds with a label or a caption" in done.stderr and done.stderr.count("\n") == 1


def test_a_model_that_speaks_learns_to_and_is_judged(run, tmp_path, audioedit_here, capfd):
    of = dataclasses.replace(sizes(TINY, mel=False), window=4 * RATE)
    build(tmp_path, of).save(tmp_path / "MODEL")
    changes = {"steps": 3, "batch": 8, "warmup": 1, "workers": 0, "ema": 0.0, "learning_rate": 1e-3, "every": {"log": 1, "val": 3, "listen": 3}}
    tiers = ["real", "synthetic", "demo"]
    config = TrainConfig.model_validate(changes | {"tiers": tiers, "listen_steps": 1, "weights": {"edits": {"remove": 0.5}}})
    train(config.model_copy(update={"steps": 1}), {str(run): 1.0}, tmp_path / "out", init=tmp_path / "MODEL")  # whether a sample spoke by then or not
    last = train(config, {str(run): 1.0}, tmp_path / "out", init=tmp_path / "MODEL")
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path / "MODEL", last))
    said = "samples say more than fits into the model's window of 4.0 s"
    assert said in capfd.readouterr().err
    assert (before["conditioners.speech_prompt.embed.weight"] != after["conditioners.speech_prompt.embed.weight"]).any()
    done = audioedit_here("evaluate", str(last), "--data", str(run), "-o", str(tmp_path / "scores.parquet"), "--steps", "1")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "scores.parquet")
    rows = rows[(rows["edit"] == "generate") & (rows["system"] == "model")]
    assert len(rows) and rows["si_sdr_db"].isna().all()
    short = rows["duration_s"] <= of.latent_frames * of.downsampling / of.sample_rate
    assert rows["lsd_db"].notna().tolist() == short.tolist() and rows["note"][~short].str.contains("makes 4.00 s at once").all()


def out_of_silence(key: str = "s", said: str = "") -> Pair:
    """A pair that makes a tone over noise, as what is said or as a sound; its source is noise, which no training should hear."""
    made = pair(key, "train", 0, RATE, 1.0, 1, 0)
    made.edit, made.params = "generate", {"stems": [{"role": "speech" if said else "event"}]}
    made.domain, made.target_text = "speech" if said else "sound", said
    return made


def drawn(of: Sizes, made: Pair, position: int = 0) -> Batch:
    sample = Sample("s", made.sample(), {f"{side}.flac": encode_flac(getattr(made, side), RATE) for side in ("source", "target")})
    return collate([Draws(None, None, of, TrainConfig(steps=1)).draw(sample, position, [])])


def test_nothing_of_the_source_reaches_what_is_made_of_silence(tmp_path):
    """It is trained as `Editor.generate` asks for it, without a source."""
    of = sizes(TINY)
    objective, mllm, losses = Objective(build(tmp_path, of)), Mllm(TINY, -2), []
    for loud in (0, 1):
        made = out_of_silence()
        made.source = made.source * loud
        batch = drawn(of, made)
        assert batch.tasks == ["sound"] and batch.said == [None] and not batch.hidden.any()
        with torch.no_grad():
            losses.append(float(objective(batch, *mllm.states([Prompt(batch.prompts[0], "sound")]))))
    assert losses[0] == losses[1]


def test_of_a_voice_most_is_hidden_and_the_rest_is_heard(tmp_path):
    of, shares = sizes(TINY), []
    objective, mllm = Objective(build(tmp_path, of)), Mllm(TINY, -2)
    for position in range(20):
        batch = drawn(of, out_of_silence(said="We waited."), position)
        assert batch.prompts == [""] and batch.tasks == ["speech"] and batch.said == ["We waited."] and torch.equal(batch.source, batch.target)
        shares.append(float(batch.hidden.float().mean()))
        [runs] = torch.where(batch.hidden[0].diff())
        assert len(runs) <= 2  # in one stretch
    assert min(shares) >= 0.69 and max(shares) <= 1 and len(set(shares)) > 10
    states, heard = mllm.states([Prompt("", "speech")]), batch._replace(hidden=torch.zeros_like(batch.hidden))
    hidden = batch._replace(hidden=torch.ones_like(batch.hidden))
    with torch.no_grad():
        given = [float(objective(each, *states)) for each in (heard, hidden, hidden._replace(source=torch.zeros_like(batch.source)))]
    assert given[0] != given[1] == given[2]


def test_what_is_said_has_the_same_loss_encoded_and_raw(tmp_path):
    build(tmp_path, sizes(TINY)).save(tmp_path / "MODEL")
    words = ["We waited.", "", "No.", "It rained all day."]
    run = write_run(tmp_path / "run", {"train": [out_of_silence(f"s{n}", said) for n, said in enumerate(words)]}, 4)
    encoder, buffer = Encoder(tmp_path / "MODEL"), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        shards = Shards([run], "train")
        for number in range(len(shards)):
            sample = shards.read(number)
            facts, members = encoder.encode(sample)
            for kind, data in (*members.items(), ("json", json.dumps(facts).encode())):
                add_member(tar, f"{sample.key}.{kind}", data)
    shutil.copytree(run, tmp_path / "encoded")
    (tmp_path / "encoded/shards/train-000000.tar").write_bytes(buffer.getvalue())
    (tmp_path / "encoded" / MADE_WITH).write_text(json.dumps(made_with(tmp_path / "MODEL")))
    config = TrainConfig.model_validate({"steps": 3, "batch": 4, "warmup": 1, "workers": 0, "every": {"log": 1, "val": 0, "listen": 0}})
    for data, folder in ((run, "raw"), (str(tmp_path / "encoded"), "once")):
        train(config, {data: 1.0}, tmp_path / folder, init=tmp_path / "MODEL")
    raw, once = (pd.read_parquet(tmp_path / folder / "metrics.parquet").loss.to_numpy() for folder in ("raw", "once"))
    assert np.abs(raw / once - 1).max() < 1e-3

"""Pairs that begin with silence: built, checked, trained on and judged."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from made_run import pair
from recordings import configuration
from safetensors.torch import load_file
from tiny_model import RATE, build, sizes

from manifests.audio import decode_flac, encode_flac
from model.mllm import Mllm, Prompt
from model.tiny_mllm import TINY
from model.train import train
from model.training.config import TrainConfig
from model.training.draw import Draws, collate
from model.training.objective import Objective
from model.training.shards import Sample, Shards

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


def test_nothing_of_the_source_reaches_what_is_made_of_silence(tmp_path):
    """A pair whose source is no silence gives the same loss: it is trained as `Editor.generate` asks for it, without a source."""
    model, of = build(tmp_path, sizes(TINY)), sizes(TINY)
    objective, mllm, losses = Objective(model), Mllm(TINY, -2), []
    for loud in (0, 1):
        made = pair("s", "train", 0, 16_000, 1.0, 1, 0)
        made.edit, made.params = "generate", {"stems": [{"role": "event"}]}
        made.source = made.source * loud
        sample = Sample("s", made.sample(), {f"{side}.flac": encode_flac(getattr(made, side), 16_000) for side in ("source", "target")})
        batch = collate([Draws(None, None, of, TrainConfig(steps=1)).draw(sample, 0, [])])
        assert batch.tasks == ["sound"]
        with torch.no_grad():
            losses.append(float(objective(batch, *mllm.states([Prompt(batch.prompts[0], "sound")]))))
    assert losses[0] == losses[1]

"""The loop: goes on exactly where it was, changes what it may and nothing else, and learns."""

import dataclasses
import hashlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_run import make_run, pair, write_run
from safetensors.torch import load_file
from tiny_model import build, sizes

from manifests.errors import RequestError, RunError
from model.editor import Editor
from model.mllm import Mllm, Prompt
from model.sizes import OmniPromptSizes
from model.tiny_mllm import TINY
from model.train import train
from model.training import checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    return make_run(tmp_path_factory.mktemp("data") / "run")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same(one: Path, other: Path, tolerance: float = 0.0) -> None:
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) <= tolerance


def test_stopped_and_resumed_gives_the_weights_of_one_that_ran_through(tmp_path, run, config):
    through = train(config(steps=6), {run: 1.0}, tmp_path / "through")
    train(config(steps=4), {run: 1.0}, tmp_path / "stopped")
    resumed = train(config(steps=6), {run: 1.0}, tmp_path / "stopped")
    assert_same(through, resumed)
    rows = [pd.read_parquet(tmp_path / name / "metrics.parquet") for name in ("through", "stopped")]
    assert rows[0].step.tolist() == rows[1].step.tolist() == [1, 2, 3, 4, 5, 6]
    assert rows[0].loss.tolist() == rows[1].loss.tolist()


def test_a_checkpoint_stands_only_after_the_rows_up_to_it(tmp_path, run, config, monkeypatch):
    held = []

    def watched(aside, to):
        path = tmp_path / "out/metrics.parquet"
        held.append((Path(to).name, pd.read_parquet(path).step.max() if path.exists() else 0))
        return replace(aside, to)

    replace = checkpoints.os.replace
    monkeypatch.setattr(checkpoints.os, "replace", watched)
    train(config(steps=4), {run: 1.0}, tmp_path / "out")
    assert [row for row in held if row[0].startswith("step-")] == [("step-00000002", 2), ("step-00000004", 4)]


def test_worker_processes_change_nothing(tmp_path, run, config):
    assert_same(train(config(steps=2), {run: 1.0}, tmp_path / "none"), train(config(steps=2, workers=2), {run: 1.0}, tmp_path / "two"))


def test_turns_add_up_to_the_whole_batch(tmp_path, run, config):
    # Not modulated: behind a modulation that begins at zero the first gradients are so small that Adam makes much of how they were summed.
    given = {"model": sizes(TINY, mel=False, speech=False, video=False)}
    assert_same(train(config(**given), {run: 1.0}, tmp_path / "one"), train(config(**given, accumulate=2), {run: 1.0}, tmp_path / "two"), 1e-5)


def test_recomputed_activations_change_nothing(tmp_path, run, config):
    assert_same(train(config(), {run: 1.0}, tmp_path / "kept"), train(config(checkpoint_activations=True), {run: 1.0}, tmp_path / "again"), 1e-6)


def test_the_last_checkpoint_is_a_model_that_edits_and_few_are_kept(tmp_path, run, config):
    last = train(config(steps=8, keep=2), {run: 1.0}, tmp_path / "out")
    assert [path.name for path in sorted((tmp_path / "out/checkpoints").iterdir())] == ["step-00000006", "step-00000008"]
    made = Editor.from_pretrained(last).edit(np.zeros((1, 8000), np.float32), "Remove it.", rate=16_000)
    assert made.audio.shape == (1, 8000) and np.isfinite(made.audio).all()


def test_frozen_means_frozen(tmp_path, run, config, monkeypatch):
    seen = []

    class Watched(Mllm):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            seen.append(self)

    monkeypatch.setattr("model.train.Mllm", Watched)
    last = train(config(steps=3), {run: 1.0}, tmp_path / "out")
    digests = [hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in mllm.thinker.parameters())).hexdigest() for mllm in (seen[0], Mllm(TINY, -2))]
    assert digests[0] == digests[1]
    assert all(name.startswith(("dit.", "conditioners.")) for name in weights(last))


def test_what_tells_instructions_apart_is_measured_once_and_goes_with_the_model(tmp_path, run, config):
    first = weights(train(config(steps=1), {run: 1.0}, tmp_path / "out"))
    later = weights(train(config(steps=2), {run: 1.0}, tmp_path / "out"))
    measured = [name for name in first if name.endswith(("omni_prompt.center", "omni_prompt.components"))]
    assert len(measured) == 2 and all(first[name].any() and torch.equal(first[name], later[name]) for name in measured)
    editor = Editor.from_pretrained(tmp_path / "out/checkpoints/step-00000002")
    prompts = [f"{edit} the sound of 'tone {n}'." for n, edit in enumerate(("Remove", "Extract", "Add"))]
    pooled = editor.model.conditioners.omni_prompt.pool(*editor.mllm.states([Prompt(text) for text in prompts]))
    assert (pooled[0] - pooled[1]).norm() > 1 < (pooled[1] - pooled[2]).norm()


def test_the_learning_rate_falls_over_the_last_share_of_the_steps(tmp_path, run, config):
    steady = weights(train(config(steps=4, ema=0.0), {run: 1.0}, tmp_path / "steady"))
    cooled = weights(train(config(steps=4, ema=0.0, cooldown=0.5), {run: 1.0}, tmp_path / "cooled"))
    halfway = [weights(tmp_path / name / "checkpoints/step-00000002") for name in ("steady", "cooled")]
    assert all(torch.equal(halfway[0][name], halfway[1][name]) for name in steady)
    moved = [max(float((after[name] - before[name]).abs().max()) for name in after) for after, before in ((steady, halfway[0]), (cooled, halfway[1]))]
    assert moved[1] < moved[0]


def test_what_is_trained_changes_and_its_average_lags(tmp_path, run, config):
    slow, fast = (weights(train(config(ema=ema), {run: 1.0}, tmp_path / f"{ema}")) for ema in (0.9999, 0.0))
    assert any((slow[name] != fast[name]).any() for name in fast)


def test_a_batch_without_a_finite_gradient_is_skipped_and_counted_and_many_end_it(tmp_path, run, config, monkeypatch):
    from model.training.objective import Objective

    steps, plain = [], Objective.forward

    def poisoned(self, *arguments):
        steps.append(len(steps))
        return plain(self, *arguments) * (float("nan") if len(steps) in poison else 1.0)

    monkeypatch.setattr(Objective, "forward", poisoned)
    poison = {2}
    last = train(config(), {run: 1.0}, tmp_path / "one")
    assert all(weight.isfinite().all() for weight in weights(last).values())
    assert pd.read_parquet(tmp_path / "one/metrics.parquet").skipped_steps.tolist() == [0, 1, 0, 0]
    poison, steps[:] = set(range(2, 100)), []
    with pytest.raises(RunError, match="3 steps in a row without a finite gradient"):
        train(config(steps=20, bad_steps=3), {run: 1.0}, tmp_path / "many")


def test_an_interrupt_ends_after_a_checkpoint_and_the_same_call_goes_on(tmp_path, run, config):
    through = train(config(steps=30, every={"log": 1, "val": 0, "listen": 0, "checkpoint": 1000}), {run: 1.0}, tmp_path / "through")
    same = config(steps=30, every={"log": 1, "val": 0, "listen": 0, "checkpoint": 1000})

    def interrupt(values: dict) -> None:
        if values["step"] == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(same, {run: 1.0}, tmp_path / "cut", report=interrupt)
    assert [path.name for path in (tmp_path / "cut/checkpoints").iterdir()] == ["step-00000006"]  # told of 5, it was in the sixth
    assert_same(through, train(same, {run: 1.0}, tmp_path / "cut"))


def test_a_folder_holds_one_training(tmp_path, run, config):
    train(config(steps=2), {run: 1.0}, tmp_path / "out")
    with pytest.raises(RequestError, match="another training: seed, batch differ"):
        train(config(steps=2, seed=1, batch=8), {run: 1.0}, tmp_path / "out")
    with pytest.raises(RequestError, match="select"):
        train(config(steps=2), {run: 1.0}, tmp_path / "out", keys={"train001"})
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="holds no training"):
        train(config(), {run: 1.0}, tmp_path / "full")


def test_two_trainings_in_one_folder_are_one_line_and_a_process_that_is_killed_frees_it(tmp_path, run, config, monkeypatch):
    monkeypatch.setattr("model.training.record.PATIENCE", 0.5)
    hold = "import pathlib, sys, time; from model.training import record\nwith record.held(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(100)"
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "out")], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    try:
        assert other.stdout.readline() == b"\n"
        with pytest.raises(RequestError, match="another process is training there"):
            train(config(steps=1), {run: 1.0}, tmp_path / "out")
    finally:
        other.kill()
        other.wait()
    train(config(steps=1), {run: 1.0}, tmp_path / "out")


def test_half_a_checkpoint_is_none(tmp_path, run, config):
    through = train(config(steps=4), {run: 1.0}, tmp_path / "through")
    train(config(steps=2), {run: 1.0}, tmp_path / "cut")
    shutil.copytree(tmp_path / "cut/checkpoints/step-00000002", tmp_path / "cut/checkpoints/.step-00000003")
    assert_same(through, train(config(steps=4), {run: 1.0}, tmp_path / "cut"))


def test_a_model_with_every_conditioner_goes_on_and_what_rests_stays(tmp_path, run, config):
    first = build(tmp_path, sizes(TINY))
    first.save(tmp_path / "MODEL")
    given = {"init": tmp_path / "MODEL"}
    through = train(config(model=None), {run: 1.0}, tmp_path / "through", **given)
    train(config(model=None, steps=2), {run: 1.0}, tmp_path / "cut", **given)
    assert_same(through, train(config(model=None), {run: 1.0}, tmp_path / "cut", **given))
    before, after = weights(tmp_path / "MODEL"), weights(through)
    rest = "conditioners.speech_prompt."
    assert all((before[name] == after[name]).all() for name in before if name.startswith(rest) and name != rest + "empty")
    assert (before["conditioners.audio_input_prompt.project.weight"] != after["conditioners.audio_input_prompt.project.weight"]).any()


def test_what_cannot_be_trained_from_nothing_is_refused(tmp_path, run, config):
    of = dataclasses.replace(config().model, codec={"kind": "oobleck", "width": 16, "multiples": [1, 2], "strides": [4, 8], "latent_channels": 8})
    for wrong in (of, sizes(TINY)):
        with pytest.raises(RequestError, match="begin with a model"):
            train(config(model=wrong), {run: 1.0}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_training_that_could_not_begin_leaves_the_folder_free(tmp_path, run, config):
    narrow = config().model
    narrow = dataclasses.replace(narrow, conditioners=dataclasses.replace(narrow.conditioners, omni_prompt=OmniPromptSizes(width=48, length=200, pooled=8)))
    with pytest.raises(RequestError, match="64 wide"):
        train(config(model=narrow), {run: 1.0}, tmp_path / "out")
    train(config(steps=1), {run: 1.0}, tmp_path / "out")


def test_pairs_of_tier_demo_are_trained_on_where_they_are_asked_for(tmp_path, config, capfd):
    pairs = [pair(f"p{number}", "train", number, 16_000, 1.0, 1, 0) for number in range(6)]
    for made in pairs[:2]:
        made.tier = "demo"
    mixed, demo = (write_run(tmp_path / name, {"train": held}, 3) for name, held in (("mixed", pairs), ("demo", pairs[:2])))
    train(config(steps=1), {mixed: 1.0}, tmp_path / "some")
    assert "2 of 6 samples are of tier demo, which is not among tiers (real, synthetic)" in capfd.readouterr().err
    with pytest.raises(RequestError, match="no sample is left to train on: 2 of 2 samples are of tier demo"):
        train(config(steps=1), {demo: 1.0}, tmp_path / "none")
    train(config(steps=1, tiers=["demo"]), {demo: 1.0}, tmp_path / "all")


def test_it_begins_with_a_given_model(tmp_path, run, config):
    first = train(config(steps=2), {run: 1.0}, tmp_path / "first")
    second = train(config(steps=2, model=None, learning_rate=1e-12), {run: 1.0}, tmp_path / "second", init=first)
    assert_same(first, second, 1e-6)
    with pytest.raises(RequestError, match="leave one of the two out"):
        train(config(), {run: 1.0}, tmp_path / "third", init=first)
    with pytest.raises(RequestError, match="--init"):
        train(config(model=None), {run: 1.0}, tmp_path / "fourth")


def test_val_losses_and_edited_samples_are_put_down(tmp_path, run, config):
    train(config(steps=2, every={"log": 2, "val": 2, "listen": 2, "checkpoint": 2}, listen_steps=2), {run: 1.0}, tmp_path / "out")
    [row] = pd.read_parquet(tmp_path / "out/metrics.parquet").to_dict("records")
    assert all(row[f"val_loss_{t}"] > 0 for t in (0.1, 0.3, 0.5, 0.7, 0.9)) and np.isfinite(row["gain_over_copying_db"])
    heard = {path.name for path in (tmp_path / "out/samples/step-00000002").iterdir()}
    assert heard == {f"val00{number}.{side}.flac" for number in (0, 1) for side in ("output", "source", "target")}


def test_a_model_that_only_copies_is_told_of(tmp_path, run, config, capfd):
    every = {"log": 2, "val": 0, "listen": 2, "checkpoint": 2}
    train(config(steps=2, learning_rate=1e-9, copying=2, every=every, listen_steps=2), {run: 1.0}, tmp_path / "out")
    assert "no better than copying its input" in capfd.readouterr().err


def test_low_rank_additions_change_attention_alone_and_go_on(tmp_path, run, config):
    first = train(config(steps=2), {run: 1.0}, tmp_path / "first")
    small = {"model": None, "lora": {"rank": 2}, "ema": 0.0}
    through = train(config(steps=4, **small), {run: 1.0}, tmp_path / "through", init=first)
    before, after = weights(first), weights(through)
    assert before.keys() == after.keys()
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed and all("attention" in name for name in changed)
    train(config(steps=2, **small), {run: 1.0}, tmp_path / "cut", init=first)
    assert_same(through, train(config(steps=4, **small), {run: 1.0}, tmp_path / "cut", init=first))
    with pytest.raises(RequestError, match="--init"):
        train(config(lora={"rank": 2}), {run: 1.0}, tmp_path / "none")

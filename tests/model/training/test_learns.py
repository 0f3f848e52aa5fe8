"""A small training teaches: its model edits, and does what the instruction says and not another."""

import dataclasses

import numpy as np
import pytest
from made_run import siblings, write_run
from tiny_model import sizes

from model.editor import Editor
from model.evaluation.distances import si_sdr
from model.sizes import DitSizes, SamplingSizes
from model.tiny_mllm import TINY
from model.train import train
from model.training.config import TrainConfig


@pytest.fixture(scope="module")
def editor(tmp_path_factory) -> Editor:
    folder = tmp_path_factory.mktemp("learns")
    of = dataclasses.replace(
        sizes(TINY, mel=False, speech=False, video=False, pooled=8), sampling=SamplingSizes(steps=2, guidance=1.0, shift=4.5),
        mllm={"path": TINY, "layer": -1, "hear_source": False, "roles": {"edit": "Edit."}},
        dit=DitSizes(width=128, layers=2, heads=4, latent_channels=64, context_width=32, low_level_width=0, source_channels=64, pooled_width=8))
    config = TrainConfig(model=of, steps=160, batch=8, learning_rate=2e-3, warmup=20, cooldown=0.5, time_shift=4.5, ema=0.95, dropout={"instruction": 0.0},
                         workers=0, every={"log": 50, "val": 0, "listen": 0, "checkpoint": 160})
    return Editor.from_pretrained(train(config, {write_run(folder / "run", {"train": siblings()}, 8): 1.0}, folder / "out"), device="cpu")


def gains(editor: Editor, instruction) -> dict[str, float]:
    """By how many dB of SI-SDR an output is nearer to its target than the source is, mean of each edit; `instruction` gives that of a pair."""
    found = {}
    for pair in siblings():
        source, target = (side.astype(np.float32) / 32768 for side in (pair.source, pair.target))
        output = editor.edit(source, instruction(pair), rate=pair.sample_rate).audio
        found.setdefault(pair.edit, []).append(si_sdr(output, target) - si_sdr(source, target))
    return {edit: float(np.mean(values)) for edit, values in found.items()}


def test_eight_pairs_are_learned_by_heart(editor):
    learned = gains(editor, lambda pair: pair.instruction)
    assert learned["remove"] > 6 and learned["extract"] > 6, learned


def test_the_instruction_is_read(editor):
    other = {"low buzz": "high buzz", "high buzz": "low buzz"}
    right, wrong = gains(editor, lambda pair: pair.instruction), gains(editor, lambda pair: pair.instruction.replace(pair.label, other[pair.label]))
    assert all(right[edit] - wrong[edit] > 6 for edit in right), (right, wrong)

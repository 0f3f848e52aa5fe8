"""Whether a trained model learned what it was trained for: pairs that it has not seen, beside copying, the time gate, and itself under wrong instructions.

    audioedit build configs/music.yaml -o runs/music
    audioedit train configs/train/music.yaml --data runs/music -o runs/musician
    python benchmarks/learning.py runs/musician/checkpoints/step-00005600 runs/music               # 60 pairs of each edit, of the test split
    python benchmarks/learning.py runs/musician/checkpoints/step-00005600 runs/music --steps 1     # in one step: the mean of what the target may be

The wrong instruction names another instrument of the same piece; a model that does not read does as well by it. "Improved": share of the pairs on which
the model is nearer to the target than the source is.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from model.editor import Editor
from model.evaluate import evaluate
from model.evaluation.baselines import BASELINES
from model.evaluation.bootstrap import interval
from model.evaluation.generator import editing
from model.evaluation.task import Task
from model.recording import Recording
from model.training.shards import Sample, Shards

EDITS = ("remove", "extract")


def misled(editor: Editor, **settings):
    """The system that edits after the pair's first wording with the name of another sound of its scene."""

    def edited(task: Task) -> Recording:
        recipe = json.loads(task.facts["params"])
        others = [stem["label"] for n, stem in enumerate(recipe["stems"]) if n not in recipe["edited"] and stem["label"]]
        instruction = task.facts["instruction"].replace(f"'{task.facts['label']}'", f"'{others[0]}'")
        return editor.edit(task.source, instruction, rate=task.rate, **settings)

    return edited


def samples(run: str, split: str, most: int) -> Iterator[Sample]:
    """The first pairs of each edit, of those in which something is to be done."""
    shards, seen = Shards([run], split), Counter()
    for number in range(len(shards)):
        edit = str(shards.edit[number])
        if edit in EDITS and seen[edit] < most and not (sample := shards.read(number)).facts["noop"]:
            seen[edit] += 1
            yield sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("run")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pairs", type=int, default=60, help="of each edit")
    parser.add_argument("--steps", type=int, help="of the sampler; as the model has it")
    parser.add_argument("--shift", type=float, help="of its times; as the model has it")
    options = parser.parse_args()
    editor, settings = Editor.from_pretrained(options.model), {"steps": options.steps, "shift": options.shift}
    systems = {"model": editing(editor, **settings), "model, wrong instruction": misled(editor, **settings), **BASELINES}
    facts = {}

    def kept() -> Iterator[Sample]:
        for sample in samples(options.run, options.split, options.pairs):
            facts[sample.facts["id"]] = (sample.facts["edit"], sample.facts["scene_id"])
            yield sample

    rows = pd.DataFrame(evaluate(kept(), systems))
    rows[["edit", "scene"]] = [facts[pair] for pair in rows["pair_id"]]
    print(f"{'edit':8} {'system':26} {'pairs':>5} {'SI-SDR over copying, dB':>26} {'over gate':>9} {'improved':>8} {'LSD, dB':>8}")
    for edit in EDITS:
        of_edit = rows[rows["edit"] == edit].set_index(["system", "pair_id"])
        copied, gated = (of_edit.loc[name, "si_sdr_db"] for name in ("copy", "time_gate"))
        for name in systems:
            mine = of_edit.loc[name]
            gain = (mine["si_sdr_db"] - copied).astype(float)
            low, high = interval(gain.to_numpy(), mine["scene"].to_numpy()) or (np.nan, np.nan)
            print(f"{edit:8} {name:26} {len(mine):5} {gain.mean():+10.1f} [{low:+.1f}, {high:+.1f}] {(mine['si_sdr_db'] - gated).astype(float).mean():+9.1f} "
                  f"{(gain > 0).mean():8.0%} {mine['lsd_db'].astype(float).mean():8.1f}")


if __name__ == "__main__":
    main()

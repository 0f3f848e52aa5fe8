"""How far editors get on a run that understand no instruction: what they gain, no model need learn.

    audioedit build configs/sounds.yaml -o runs/sounds
    audioedit build configs/sounds.yaml -o runs/alone --clips runs/sounds --set 'scenes={events: [1, 0, 0, 0], repeats: 0}'     # without distractors
    python benchmarks/dataset.py runs/sounds runs/alone

SI-SDR over copying the source, and how often an output is nearest to its own target among those of its scene, of pairs of the test split. The time gate is told
where the edited sound is; the loudest patch is not, and takes what stands out most for it; the ideal ratio mask knows the target.
"""

import argparse

import numpy as np
import pandas as pd

from manifests.storage import Storage
from manifests.tables import read_table
from model.evaluate import evaluate
from model.evaluation.baselines import BASELINES, KEPT_ALONE
from model.evaluation.task import Task
from model.recording import Recording
from model.training.shards import Shards

FRAME = 0.05  # s
STANDS_OUT = 3.0  # dB over the median frame
SLICES = {"all": "n_events > 0", "1 event": "n_events == 1", "2 events": "n_events == 2", "3 or more": "n_events > 2",
          "none overlaps": "n_events > 1 and overlap_ratio == 0", "overlapped": "overlap_ratio > 0.1"}


def loudest_patch(task: Task) -> Recording | None:
    """The source muted, or alone, where it stands out around its loudest moment."""
    if task.edit not in ("remove", "extract"):
        return None
    size = round(FRAME * task.rate)
    frames = np.pad(task.source.mean(axis=0), (0, -task.source.shape[1] % size)).reshape(-1, size)
    level = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-12)
    out, peak = level > np.median(level) + STANDS_OUT, int(np.argmax(level))
    out[peak] = True
    first = peak - np.argmin(out[peak::-1]) + 1 if not out[: peak + 1].all() else 0
    end = peak + np.argmin(out[peak:]) if not out[peak:].all() else len(out)
    inside = np.zeros(task.source.shape[1], bool)
    inside[first * size : end * size] = True
    return Recording(task.source * (inside == (task.edit in KEPT_ALONE)), task.rate)


def measured(run: str, most: int) -> pd.DataFrame:
    """A row a pair and editor, with what the run says of the pair."""
    shards = Shards([run], "test")
    numbers = [number for number in range(len(shards)) if shards.edit[number] in ("remove", "extract")]
    systems = {**{name: BASELINES[name] for name in ("copy", "silence", "time_gate")}, "loudest_patch": loudest_patch,
               "ideal_ratio_mask": BASELINES["ideal_ratio_mask"]}
    rows = pd.DataFrame(evaluate(map(shards.read, numbers), systems, limit=most))
    rows = rows.merge(read_table(Storage(run), "quality/pairs.parquet").to_pandas(), on="pair_id").query("not noop")
    copied = rows[rows["system"] == "copy"].set_index("pair_id")["si_sdr_db"]
    return rows.assign(gain=rows["si_sdr_db"].astype(float) - rows["pair_id"].map(copied).astype(float))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--pairs", type=int, default=400, help="at most, of a run")
    options = parser.parse_args()
    for run in options.runs:
        rows = measured(run, options.pairs)
        for edit in ("remove", "extract"):
            of_edit = rows[rows["edit"] == edit]
            systems = [name for name in of_edit["system"].unique() if name != "copy"]
            print(f"\n{run}, {edit}\n{'':15}{'pairs':>6}" + "".join(f"{name:>18}" for name in systems))
            for name, where in SLICES.items():
                held = of_edit.query(where)
                if len(held):
                    gains = held.groupby("system")["gain"].mean()
                    print(f"{name:15}{held['pair_id'].nunique():6}" + "".join(f"{gains[system]:+18.1f}" for system in systems))
            tested = of_edit[of_edit["sibling"].notna()]
            right = tested.assign(sibling=tested["sibling"].astype(bool)).groupby("system")["sibling"].mean()
            print(f"{'own target':15}{tested['pair_id'].nunique():6}" + "".join(f"{right.get(system, np.nan):>18.0%}" for system in systems)
                  + f"   copy {right.get('copy', np.nan):.0%}, chance {tested['sibling_chance'].astype(float).mean():.0%}")


if __name__ == "__main__":
    main()

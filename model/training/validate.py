"""How a training does on what it is not trained on: its loss at set times, and edits to be heard."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader

from manifests.audio import decode_flac
from manifests.errors import Rejected
from model.editor import Editor
from model.evaluate import conform
from model.evaluation.distances import si_sdr
from model.evaluation.generator import editing
from model.evaluation.task import Task
from model.training.draw import SIDES, Draws, collate
from model.training.objective import Objective
from model.training.shards import Shards

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
TELLING = ("remove", "extract", "remove_speaker", "extract_speaker")  # edits with one right answer
SAMPLES = 64  # of val, at most, for the loss


@torch.no_grad()
def losses(objective: Objective, draws: Draws, batch: int, read) -> dict[str, float]:
    """Mean loss on val samples at each time, with all conditions and the same noise whenever it is asked.

    Args:
        draws: of the val split.
        batch: samples at once.
        read: gives the MLLM's states and mask of a batch.
    """
    sums, count = dict.fromkeys(TIMES, 0.0), min(SAMPLES, len(draws.shards))
    device = next(objective.parameters()).device
    places = [list(range(first, min(first + batch, count))) for first in range(0, count, batch)]
    for held in DataLoader(draws, batch_sampler=places, collate_fn=collate):
        held = held.to(device)
        all_conditions = torch.zeros_like(held.without_source)
        states = read(held)
        for t in TIMES:
            at = held._replace(t=torch.full_like(held.t, t), without_source=all_conditions, without_instruction=all_conditions)
            sums[t] += float(objective(at, *states).sum())
    return {f"val_loss_{t}": total / count for t, total in sums.items()} | {"val_loss": sum(sums.values()) / count / len(TIMES)}


class Heard(NamedTuple):
    """An edited sample: audio (channels, samples) each, and by how many dB of SI-SDR the output beats the source, None where that says nothing."""

    key: str
    rate: int
    source: np.ndarray
    output: np.ndarray
    target: np.ndarray
    gain: float | None


def listen(editor: Editor, shards: Shards, count: int, steps: int | None, folder: Path) -> Iterator[Heard]:
    """Edit some val samples, those first whose edit has one right answer, and write source, output and target of each as FLAC.

    Of samples that were encoded there is nothing to hear.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in np.argsort(~np.isin(shards.edit, TELLING), kind="stable")[:count].tolist():
        sample = shards.read(number)
        if not {f"{side}.flac" for side in SIDES} <= sample.members.keys():
            return
        source, target = (decode_flac(sample.members[f"{side}.flac"]) for side in SIDES)
        rate = sample.facts["sample_rate"]
        task = Task(source, target, rate, sample.facts)
        try:
            output, _ = conform(editing(editor, steps, seed=number)(task), task)
        except Rejected:  # longer than can be made of silence
            continue
        for name, audio in (("source", source), ("output", output), ("target", target)):
            soundfile.write(folder / f"{sample.key}.{name}.flac", audio.T.clip(-1, 1), rate)
        tells = sample.facts["edit"] in TELLING and target.any() and (target != source).any()
        yield Heard(sample.key, rate, source, output, target, si_sdr(output, target) - si_sdr(source, target) if tells else None)

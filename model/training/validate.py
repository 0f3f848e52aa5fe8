"""How a training does on what it is not trained on: its loss at set times, and edits to be heard."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader

from model.editor import Editor
from model.evaluation.distances import si_sdr
from model.training.draw import Draws, collate
from model.training.objective import Objective

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


def listen(editor: Editor, draws: Draws, count: int, steps: int, folder: Path) -> Iterator[Heard]:
    """Edit the first val samples, and write source, output and target of each as FLAC."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(min(count, len(draws.shards))):
        held = draws[place]
        if held.source is None:
            return  # encoded: there is nothing to hear
        source, target = held.source[0].numpy(), held.target[0].numpy()
        output = editor.edit(source, held.prompts[0], rate=editor.rate, steps=steps, seed=place).audio
        for name, audio in (("source", source), ("output", output), ("target", target)):
            soundfile.write(folder / f"{held.keys[0]}.{name}.flac", audio.T.clip(-1, 1), editor.rate)
        gain = si_sdr(output, target) - si_sdr(source, target) if held.edits[0] in TELLING else None
        yield Heard(held.keys[0], editor.rate, source, output, target, gain)

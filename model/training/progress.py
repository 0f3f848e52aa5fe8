"""What is told of a training: a bar, TensorBoard, and metrics.parquet with a row each time something was measured."""

import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from model.sizes import Sizes
from model.training.config import TrainConfig
from model.training.parallel import Group

METRICS, BOARD = "metrics.parquet", "tensorboard"


class Progress:
    """Of the first of a group; the others hold none.

    Args:
        folder: of the training.
        step: after which it goes on; rows of later ones, which are made again, are forgotten.
        steps: in all.
    """

    def __init__(self, folder: Path, step: int, steps: int):
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / METRICS
        self._rows = []
        if self._path.exists():
            rows = pd.read_parquet(self._path)
            self._rows = rows[rows.step <= step].to_dict("records")
        self._board = SummaryWriter(str(folder / BOARD), purge_step=step + 1)
        self._bar = tqdm(total=steps, initial=step, unit=" step", desc="train", smoothing=0.05)

    def tell(self, step: int, values: dict[str, Any]) -> None:
        """Put down what was measured after a step; what is not a number stands in the table alone."""
        self._rows.append({"step": step, "time": time.time(), **values})
        for name, value in values.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                self._board.add_scalar(name, value, step)

    def show(self, step: int, **values: str) -> None:
        """On the bar."""
        self._bar.set_postfix(values, refresh=False)
        self._bar.update(step - self._bar.n)

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._bar.write(line, file=self._bar.fp)

    def hear(self, step: int, name: str, audio, rate: int) -> None:
        """Audio (channels, samples), in TensorBoard, which plays one channel."""
        self._board.add_audio(name, audio[0].clip(-1, 1), step, sample_rate=rate)

    def save(self) -> None:
        """Write the table, whole."""
        aside = self._path.with_name(f".{METRICS}")
        pd.DataFrame(self._rows).to_parquet(aside, index=False)
        aside.replace(self._path)
        self._board.flush()

    def close(self) -> None:
        self._bar.close()  # first: what is told of a fault stands below it
        if self._rows:
            self.save()
        self._board.close()


class Tally:
    """What was measured since it was last told of."""

    def __init__(self, damaged: list[str]):
        self.lines = list(damaged)  # yet to be said
        self._broken, self._losses, self._norms, self._waited, self._began = 0, [], [], 0.0, time.perf_counter()

    def step(self, loss: float, norm: float, waited: float) -> None:
        self._losses.append(loss)
        self._norms.append(norm)
        self._waited += waited

    def broken(self, lines: list[str]) -> None:
        self._broken += len(lines)
        self.lines += [f"a broken sample, for which the next one stands: {line}" for line in lines]

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is done meanwhile does not count as time of steps."""
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began

    def since(self, group: Group, config: TrainConfig, sizes: Sizes) -> dict[str, float]:
        """Of the steps since the last call, over all of the group."""
        seconds, steps = time.perf_counter() - self._began, len(self._losses)
        finite = [(loss, norm) for loss, norm in zip(self._losses, self._norms) if np.isfinite(norm)]
        waited, broken = group.sums([self._waited / group.count, self._broken])
        values = {
            "loss": float(np.mean([loss for loss, _ in finite])) if finite else float("nan"),
            "gradient_norm": float(np.mean([norm for _, norm in finite])) if finite else float("nan"),
            "skipped_steps": float(steps - len(finite)), "broken_samples": broken,
            "steps_per_second": steps / seconds, "data_wait": waited / seconds,
            "audio_per_second": steps * config.batch * sizes.latent_frames * sizes.downsampling / sizes.sample_rate / seconds,
        }
        self._losses, self._norms, self._waited, self._broken, self._began = [], [], 0.0, 0, time.perf_counter()
        return values

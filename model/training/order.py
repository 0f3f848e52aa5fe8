"""Which sample stands at each position of a training, and who of a group takes which positions. Functions of the seed alone."""

from collections.abc import Iterator

import numpy as np

from manifests.chance import generator
from manifests.errors import RequestError


class Order:
    """The sample at each position of an endless sequence of epochs, each of as many draws as there are samples with any weight.

    An epoch draws a sample as often as its share of the weights asks for, the next smaller or next larger whole number of times (systematic resampling), in an
    order of its own; under equal weights each once.

    Args:
        weights: (samples,), 0 for those that are never drawn.
        seed: of the order.

    Raises:
        RequestError: no sample has any weight.
    """

    def __init__(self, weights: np.ndarray, seed: int):
        self._samples = np.flatnonzero(weights > 0)
        if not len(self._samples):
            raise RequestError("the weights leave no sample to train on")
        self._ends, self._seed, self._epoch, self._drawn = np.cumsum(weights[self._samples].astype(np.float64)), seed, -1, self._samples

    @property
    def epoch(self) -> int:
        """Draws in one."""
        return len(self._samples)

    def __call__(self, position: int) -> int:
        epoch, place = divmod(position, self.epoch)
        if epoch != self._epoch:
            chance = generator("epoch", self._seed, epoch)
            points = (np.arange(self.epoch) + chance.random()) / self.epoch * self._ends[-1]
            self._drawn = chance.permutation(self._samples[np.searchsorted(self._ends, points, side="right").clip(max=self.epoch - 1)])
            self._epoch = epoch
        return int(self._drawn[place])


class Positions:
    """Batches of positions for one of a group, from a step on: each step's are dealt out in turn, so that they are the same however large the group is.

    Args:
        step: steps done before.
        steps: in all.
        batch: positions of a step.
        turns: batches of a rank in a step.
        rank, ranks: of the group.
    """

    def __init__(self, step: int, steps: int, batch: int, turns: int, rank: int, ranks: int):
        self.step, self.steps, self.batch, self.turns, self.rank, self.ranks = step, steps, batch, turns, rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        size = self.batch // self.ranks // self.turns
        for step in range(self.step, self.steps):
            first = step * self.batch + self.rank * size * self.turns
            for turn in range(self.turns):
                yield list(range(first + turn * size, first + (turn + 1) * size))

    def __len__(self) -> int:
        return (self.steps - self.step) * self.turns

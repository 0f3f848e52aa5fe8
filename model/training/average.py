"""The exponential moving average of the weights, which is what a training gives."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Average:
    """Of some weights, each step's with a share of 1 − decay; in the first steps with a larger one, 9 / (10 + step), so that chance is soon forgotten.

    Args:
        weights: by name; they are followed where they are.
        decay: what a step leaves of the average.
    """

    def __init__(self, weights: dict[str, nn.Parameter], decay: float):
        self._weights, self._decay = weights, decay
        self.held: dict[str, Tensor] = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After a step, counted from 1."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, weight in self._weights.items():
            self.held[name].lerp_(weight.detach(), share)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The weights are the average meanwhile."""
        kept = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._put(self.held)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])

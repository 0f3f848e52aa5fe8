"""The rectified flow (Liu et al. 2023): the way between data and noise, guidance, and how it is walked back.

x_t = (1 − t) · data + t · noise, so that the velocity noise − data is the same all along the way.
"""

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from manifests.errors import RequestError
from model.conditioners import Conditioning
from model.dit import DiT, Prepared

Velocity = Callable[[Tensor, Tensor], Tensor]  # of x (batch, channels, frames) and t (batch,): like x
SAMPLERS = ("euler", "heun")


def times(steps: int, shift: float = 1.0) -> list[float]:
    """From 1 down to 0 in `steps` steps, s·t / (1 + (s − 1)·t) of even ones (Esser et al. 2024): above 1, a shift spends more of them near the noise."""
    if steps < 1:
        raise RequestError(f"{steps} steps: at least 1 is wanted")
    if not shift > 0:
        raise RequestError(f"a time shift of {shift}: more than 0 is wanted")
    return shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).tolist()


def shifted(t, shift: float):
    """Times nearer to the noise by a shift above 1; a number, or a tensor of them."""
    return shift * t / (1 + (shift - 1) * t)


def sample(
    velocity: Velocity,
    noise: Tensor,
    steps: int,
    sampler: str = "euler",
    shift: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Data at the end of the way that begins at `noise` (batch, channels, frames).

    Args:
        velocity: of x and t.
        steps: evaluations of it with "euler", which is the published sampler; with "heun" twice as many less one, and an error that falls with their square.
        shift: of the times.
        progress: called with steps done, steps in all.

    Raises:
        RequestError: steps below 1, or another sampler.
    """
    if sampler not in SAMPLERS:
        raise RequestError(f"there is no sampler {sampler}; there are {', '.join(SAMPLERS)}")
    path, x = times(steps, shift), noise
    for step, (now, after) in enumerate(zip(path, path[1:]), 1):
        slope = velocity(x, x.new_full((len(x),), now))
        if sampler == "heun" and after > 0:
            ahead = velocity(x + (after - now) * slope, x.new_full((len(x),), after))
            slope = (slope + ahead) / 2
        x = x + (after - now) * slope
        if progress is not None:
            progress(step, steps)
    return x


def guided(
    dit: DiT, conditioning: Conditioning, scale: float, *, cached: bool = True, together: bool = True, silent: Conditioning | None = None,
    source_scale: float = 1.0,
) -> Velocity:
    """Velocity under classifier-free guidance (Ho and Salimans 2022): unconditional + scale · (conditional − unconditional).

    Unconditional is a context of zeros; low-level tokens and source stay. At a scale of 1 only the conditional is computed.

    Args:
        cached: what depends on neither x nor t is computed once, here, and not at every step.
        together: all of a step goes through the DiT in one batch, not one after the other.
        silent: the conditions without the source. With it and a `source_scale` other than 1 the source has a scale of its own (Brooks et al. 2023):
            neither + source_scale · (source − neither) + scale · (both − source). The model must have been trained without its source now and then.
    """
    both = conditioning.trimmed()
    parts = [(scale, both), (source_scale - scale, _uninstructed(both))]
    if silent is not None:
        parts.append((1 - source_scale, _uninstructed(silent.trimmed())))
    weights, given = zip(*(part for part in parts if part[0]))
    count = len(given) if together else 1
    if together:
        given = [_side_by_side(given)]
    prepared = [_prepare(dit, part) for part in given] if cached else None

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        known = prepared or [_prepare(dit, part) for part in given]
        told = [each for part in known for each in dit(torch.cat([x] * count), torch.cat([t] * count), prepared=part).chunk(count)]
        # The last is what is gone on from, so that nothing but what differs is made larger.
        return told[-1] + sum(weight * (each - told[-1]) for weight, each in zip(weights[:-1], told))

    return velocity


def _uninstructed(conditioning: Conditioning) -> Conditioning:
    return conditioning.without_instruction(torch.ones(len(conditioning.context), dtype=torch.bool, device=conditioning.context.device))


def _prepare(dit: DiT, conditioning: Conditioning) -> Prepared:
    return dit.prepare(conditioning.context, conditioning.context_mask, conditioning.low_level, conditioning.source, conditioning.pooled)


def _side_by_side(parts: list[Conditioning]) -> Conditioning:
    """One batch of all."""
    columns = (tuple(getattr(part, entry.name) for part in parts) for entry in fields(Conditioning))
    return Conditioning(*(None if column[0] is None else torch.cat(column) for column in columns))

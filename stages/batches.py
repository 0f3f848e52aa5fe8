"""Batches: how stages hand items to an engine, and what happens where it runs out of memory."""

import contextlib
from collections.abc import Callable
from typing import Any

from manifests.errors import Rejected, RunError

Watch = Callable[[int], contextlib.AbstractContextManager]  # what stands around the work on so many items


def in_batches(engine: Any, items: list, work: Callable[[list], list], watch: Watch = contextlib.nullcontext) -> list:
    """What an engine makes of items, in their order, given as many at once as it takes (its `batch`; 1 if it has none).

    A batch for which memory runs out, on the device or beside it, is halved, and so are all after it; an item for which it
    runs out alone is `Rejected`.

    Args:
        work: calls the engine with some of the items; gives an answer each.
        watch: what stands around a call with so many items.

    Raises:
        RunError: the engine gives more or fewer answers than it was given items.
    """
    answers, size = [], max(1, getattr(engine, "batch", 1))
    while len(answers) < len(items):
        some = items[len(answers) : len(answers) + size]
        try:
            with watch(len(some)):
                found = work(some)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if len(some) == 1:
                answers.append(Rejected("out of memory: the engine cannot hold it even alone"))
            size = max(1, len(some) // 2)
            continue
        if len(found) != len(some):
            raise RunError(f"{type(engine).__name__} gave {len(found)} answers to {len(some)} items")
        answers += found
    return answers


def _out_of_memory(error: BaseException) -> bool:
    """torch.OutOfMemoryError and CTranslate2's error are both RuntimeErrors that say so."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()

"""Alone: where a part's process died, each of its items is tried by itself; what crashes, and what never ends, is found and told apart."""

import faulthandler
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TextIO

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, WorkerCrashedError

from manifests.part import Part

TRIES_ALONE = 2  # an item is to blame if its process dies each time
OUTSIDE = (OutOfMemoryError, NodeDiedError, ObjectLostError)  # deaths that are seldom an item's fault
DIED = (WorkerCrashedError, ActorDiedError, ActorUnavailableError, *OUTSIDE)


class Alone:
    """A part's items, each run by itself, all but the commit, to tell those that take their process down."""

    def __init__(self, part: Part, item_id: Callable[[Any], str], start: Callable[[Part, str], ray.ObjectRef], witness: ray.actor.ActorHandle, pool: bool):
        """`start` submits a part of one item by that item's name; with a pool, one item at a time."""
        self.part, self._item_id, self._start, self._witness, self._pool = part, item_id, start, witness, pool
        self._left, self.running, self._deaths = list(reversed(part.items)), {}, Counter()

    def begin(self) -> list[ray.ObjectRef]:
        """Start as many items as can die without one another."""
        started = []
        while self._left and not (self.running and self._pool):  # an actor takes all that waits for it along
            item = self._left.pop()
            alone = Part(self.part.kind, self.part.number, [item], self.part.split)
            started.append(self._start(alone, self._item_id(item)))
            self.running[started[-1]] = item
        return started

    def after(self, done: ray.ObjectRef) -> list[ray.ObjectRef]:
        """Judge an item whose run is over. Returns what was started instead."""
        item = self.running.pop(done)
        name = self._item_id(item)
        try:
            ray.get(done)
        except DIED as death:
            self._deaths[name] += 1
            if reason := ray.get(self._witness.why.remote(name)):
                self.part.skip[name] = reason
            elif self._deaths[name] < TRIES_ALONE:
                self._left.append(item)
            else:
                memory = " (out of memory)" if isinstance(death, OutOfMemoryError) else ""
                self.part.skip[name] = f"its process died each time that it was worked on alone{memory}"
        except RayError:
            pass  # an exception, not a death: it will be told when the part is run
        return self.begin()


_witness: "tuple[ray.actor.ActorHandle, str] | None" = None  # in a worker that tries an item alone: whom to tell, and the item's name


@ray.remote(num_cpus=0)
class Witness:
    """Outlives the processes that try items alone, and so can tell an item that was given up from one that crashed."""

    def __init__(self):
        self._limits: dict[str, tuple[float, str]] = {}

    def begins(self, item: str, seconds: float, reason: str) -> None:
        self._limits[item] = (time.monotonic() + seconds, reason)

    def ends(self, item: str) -> None:
        self._limits.pop(item, None)

    def why(self, item: str) -> str | None:
        """The reason that stands for the item's time limit, where that has passed."""
        ends, reason = self._limits.pop(item, (float("inf"), ""))
        return reason if time.monotonic() >= ends else None


def watched_by(witness: "tuple[ray.actor.ActorHandle, str] | None") -> None:
    """Say whom this process has to tell of the item that it tries alone; None where it works on whole parts."""
    global _witness
    _witness = witness


@contextmanager
def give_up_after(seconds: float, reason: str) -> Iterator[None]:
    """End this process if what stands under `with` takes longer, even where native code never lets Python run again.

    Args:
        seconds: wall-clock time.
        reason: of the item that is worked on, for its row.
    """
    if _witness is not None:
        witness, item = _witness
        ray.get(witness.begins.remote(item, seconds, reason))
    faulthandler.dump_traceback_later(seconds, exit=True, file=_nowhere())
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if _witness is not None:
            witness.ends.remote(item)


def watch_of(engine: Any, stage: str, limit: float) -> Callable[[int], AbstractContextManager]:
    """What stands around an engine's work on so many items: each may take `limit` s, or as long as the engine says that it may (`longest`)."""
    limit = max(limit, getattr(engine, "longest", 0.0))
    return lambda count: give_up_after(limit * count, f"{stage} took more than {limit * count:g} s: given up")


@functools.cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w")

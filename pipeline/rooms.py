"""A run's rooms: made once, before pairs are, and kept with it, so that all its nodes and its verification hear the same."""

import functools
import io

import numpy as np

from manifests.storage import Storage
from stages.scenes import rooms

NAME = "rooms.npy"


def make_rooms(run: Storage, seed: int, rate: int) -> None:
    """Write impulse responses at `rate` Hz, float32 (rooms, samples), unless the run has them."""
    if not run.exists(NAME):
        data = io.BytesIO()
        np.save(data, rooms.responses(seed, rate))
        run.write(NAME, data.getvalue())


@functools.lru_cache(maxsize=2)
def read_rooms(root: str, seed: int, rate: int) -> list[np.ndarray]:
    """Impulse responses of the run at `root`, of that seed and at that rate (Hz), each as long as it sounds.

    Raises:
        OSError: it has none.
    """
    return [np.trim_zeros(response, "b") for response in np.load(io.BytesIO(Storage(root).read(NAME)), allow_pickle=False)]

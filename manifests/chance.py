"""All chance in the project: keyed hashes and generators. No other source of randomness exists.

Whatever is drawn depends on names (a seed, a scene, a clip) and never on an order or a count, so a
source more changes only the draws that it wins.
"""

from hashlib import blake2b

import numpy as np


def key(*names: object) -> int:
    """A 64-bit key of the names.

    >>> key(7, "scene") == key(7, "scene"), key(7, "scene") == key(8, "scene")
    (True, False)
    """
    text = "\x1f".join(map(str, names)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def generator(*names: object) -> np.random.Generator:
    """A counter-based generator (Philox, Salmon et al. 2011) keyed by the names."""
    text = "\x1f".join(map(str, names)).encode()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(blake2b(text, digest_size=16).digest(), "big")))


def mix(*keys: "int | np.ndarray") -> np.ndarray:
    """Hash keys together, element by element: the finalizer of SplitMix64 (Steele et al. 2014), chained.

    Args:
        keys: integers below 2**64 or uint64 arrays that broadcast.

    Returns:
        uint64 array of the broadcast shape.
    """
    state = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        for part in keys:
            z = np.asarray(part, dtype=np.uint64) + state
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = (z ^ (z >> np.uint64(31))) + np.uint64(0x9E3779B97F4A7C15)
    return np.atleast_1d(state)


def uniform(*keys: "int | np.ndarray") -> np.ndarray:
    """`mix` as float64 in the open interval (0, 1)."""
    return ((mix(*keys) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


class Ring:
    """Consistent hashing (Karger et al. 1997): picks items by key, each as often as its weight.

    An item more, or less, changes only the picks that it wins, or loses.

    Args:
        groups: (items,) group of each item, small integers; a pick is made within one group.
        keys: (items,) uint64, one a item.
        weights: (items,) relative; an item gets round(16 x weight) places on the ring, at least one.
    """

    def __init__(self, groups: np.ndarray, keys: np.ndarray, weights: np.ndarray | None = None):
        places = np.full(len(keys), 16) if weights is None else np.maximum(1, np.rint(16 * weights)).astype(int)
        item = np.repeat(np.arange(len(keys)), places)
        nth = np.arange(len(item)) - np.repeat(np.cumsum(places) - places, places)
        point = self._place(np.asarray(groups)[item], mix(0x52, np.asarray(keys, np.uint64)[item], nth))
        order = np.argsort(point, kind="stable")
        self._points, self._items = point[order], item[order]

    @staticmethod
    def _place(groups: np.ndarray, points: np.ndarray) -> np.ndarray:
        return (np.asarray(groups, np.uint64) << np.uint64(40)) | (points >> np.uint64(24))

    def pick(self, groups: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """The item of each group that each key falls to; every group named must have an item."""
        groups = np.asarray(groups, np.uint64)
        at = np.searchsorted(self._points, self._place(groups, mix(0x53, keys)))
        past = at == len(self._points)
        at[past] = 0
        past |= (self._points[at] >> np.uint64(40)) != groups
        at[past] = np.searchsorted(self._points, groups[past] << np.uint64(40))
        return self._items[at]

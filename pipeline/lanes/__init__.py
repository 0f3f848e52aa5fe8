"""Lanes: scenes in an order that hardly changes when a clip is added, and the sounds of each that edits are about.

A scene is made for one clip, its anchor, in one round; a round goes through all clips in an order drawn by keyed hashes.
All edits of a lane read their pairs off the same scenes in the same order, so they are siblings, and an edit more
changes nothing for the others. Within a round no clip is edited twice by one edit. Each kind of scene has its maker.
"""

from dataclasses import dataclass

import numpy as np

from manifests.labels import Labels

EDITED = 2  # sounds of a scene that one edit is about, one pair each
TRIES = 8  # draws until a clip's label differs from all others of its scene
ROUNDS = 50  # a clip is edited at most so often by one edit, and stands in at most so many soundscapes of a lane, and in another's place in so many pairs


@dataclass
class Lane:
    """Scenes in order, and the pairs that each edit may read off them, in order."""

    scenes: np.ndarray  # (scenes,) uint64 keys
    clips: np.ndarray  # (scenes, most clips) rows of the clips table, -1: none
    scene: np.ndarray  # (pairs,) which scene
    subject: np.ndarray  # (pairs,) what the edit is about: a column of `clips`; of an utterance, the round


def clashing(names: list[str], labels: Labels) -> np.ndarray:
    """Pairs of labels by their places in `names`, first · 2³² + second, of which a sentence that names one could mean the other."""
    place = {name: n for n, name in enumerate(names) if name}
    found = [(n, place[other]) for name, n in place.items() for other in labels.family(name) if other in place]
    return np.unique([a * 2**32 + b for pair in found for a, b in (pair, pair[::-1])]).astype(np.int64)


def clash(one: np.ndarray, other: np.ndarray, clashes: np.ndarray) -> np.ndarray:
    """Whether labels that broadcast, by their codes, are among `clashing`; a code below 0 is no label's."""
    pairs = np.asarray(one * np.int64(2**32) + other)
    if not len(clashes):
        return np.zeros(pairs.shape, bool)
    return clashes[np.minimum(np.searchsorted(clashes, pairs), len(clashes) - 1)] == pairs

"""Lanes: scenes in an order that hardly changes when a clip is added, and the sounds of each that edits are about.

A scene is made for one clip, its anchor, in one round; a round goes through all clips in an order drawn by keyed hashes.
All edits of a lane read their pairs off the same scenes in the same order, so they are siblings, and an edit more
changes nothing for the others. Within a round no clip is edited twice by one edit. Each kind of scene has its maker.
"""

from dataclasses import dataclass

import numpy as np

EDITED = 2  # sounds of a scene that one edit is about, one pair each
TRIES = 8  # draws until a clip's label differs from all others of its scene
ROUNDS = 50  # a clip is edited at most so often by one edit


@dataclass
class Lane:
    """Scenes in order, and the pairs that each edit may read off them, in order."""

    scenes: np.ndarray  # (scenes,) uint64 keys
    clips: np.ndarray  # (scenes, most clips) rows of the clips table, -1: none
    scene: np.ndarray  # (pairs,) which scene
    subject: np.ndarray  # (pairs,) what the edit is about: a column of `clips`; of an utterance, the round

"""Lanes of clips alone."""

import numpy as np
import pandas as pd

from manifests.chance import key, mix
from pipeline.lanes import Lane


class Solos:
    """Scenes of one clip each, of one split's clips: those that a label, a caption or a transcript tells of. None is made twice, for it would be the same."""

    def __init__(self, rows: pd.DataFrame, seed: int):
        self.seed = seed
        told = (rows["label"] != "") | (rows["caption"] != "")
        self.clips = rows[(rows["role"].isin(("event", "background")) & told) | (rows["role"] == "utterance")]

    def holds(self) -> str:
        return f"{len(self.clips)} clips that a label, a caption or a transcript tells of"

    def most(self, edit: str) -> int:
        return len(self.clips)

    def lane(self, lane: int, count: int) -> Lane:
        """Every clip once, in an order drawn by keyed hashes."""
        keys = self.clips["key"].to_numpy(np.uint64)
        scenes = mix(self.seed, key("solo"), keys)
        order = np.argsort(scenes)
        return Lane(scenes[order], self.clips.index.to_numpy()[order][:, None], np.arange(len(order)), np.zeros(len(order), int))

    def pairs(self, lane: Lane, edit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scene, its only clip and no other (-1) of each pair."""
        return lane.scene, lane.subject, np.full(len(lane.scene), -1)

"""Lanes of clips alone."""

import numpy as np
import pandas as pd

from manifests.chance import key, mix
from pipeline.lanes import ROUNDS, Lane
from pipeline.lanes.soundscapes import Soundscapes


class Solos:
    """Scenes of one clip each, of one split's clips: those that a label, a caption or a transcript tells of.

    None is generated twice, for it would be the same; to be made into another sound it comes in rounds.

    Args:
        sounds: of the same clips; finds what an event is made into.
    """

    def __init__(self, rows: pd.DataFrame, seed: int, sounds: Soundscapes):
        self.seed, self.sounds = seed, sounds
        told = (rows["label"] != "") | (rows["caption"] != "")
        self.clips = rows[(rows["role"].isin(("event", "background")) & told) | (rows["role"] == "utterance")]

    def holds(self) -> str:
        return f"{len(self.clips)} clips that a label, a caption or a transcript tells of"

    def most(self, edit: str) -> int:
        if edit == "generate":
            return len(self.clips)
        return ROUNDS * int((~self.sounds.said).sum()) if len(self.sounds.labels) > 1 else 0

    def lane(self, lane: int, count: int) -> Lane:
        """Rounds over all clips, each in an order drawn by keyed hashes."""
        keys = self.clips["key"].to_numpy(np.uint64)
        scenes, orders = [], []
        for n in range(min(ROUNDS, -(-count // len(keys)))):
            drawn = mix(self.seed, key("solo", lane), n, keys)
            orders.append(np.argsort(drawn))
            scenes.append(drawn[orders[-1]])
        rows = self.clips.index.to_numpy()[np.concatenate(orders)]
        return Lane(np.concatenate(scenes), rows[:, None], np.arange(len(rows)), np.zeros(len(rows), int))

    def pairs(self, lane: Lane, edit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scene, its only clip, and what that is made into (-1: nothing, of what is generated) of each pair."""
        if edit == "generate":
            once = slice(len(self.clips))
            return lane.scene[once], lane.subject[once], np.full(len(lane.scene[once]), -1)
        event = lane.clips[:, 0]
        none = np.full(len(event), -1)
        other = self.sounds.instead(mix(lane.scenes, key(edit)), self.sounds.codes[event][:, None], none, self.sounds.lasting(event))
        return lane.scene[other >= 0], lane.subject[other >= 0], other[other >= 0]

"""Lanes of speech: a recording, and for each edit other words of it, or another speaker, in each round."""

import numpy as np
import pandas as pd

from manifests.chance import Ring, key, mix
from pipeline.lanes import ROUNDS, Lane
from stages.scenes.conversation import ORDINALS


class Utterances:
    """Scenes of one recording, of one split's clips; words to put in come from the speaker's other recordings."""

    def __init__(self, rows: pd.DataFrame, seed: int):
        self.seed = seed
        self.clips = rows[(rows["role"] == "utterance") & (rows["editable"] > 0)]
        self.editable = dict(zip(self.clips.index, self.clips["editable"]))
        speaker = self.clips["speaker"].where(self.clips["speaker"] != "", self.clips["uri"])  # one recording is taken to have one speaker
        self.voice = dict(zip(self.clips.index, pd.factorize(speaker)[0]))
        several = speaker.groupby(speaker).transform("size") > 1
        self.with_donor = several.astype(bool)

    def holds(self) -> str:
        return f"{len(self.clips)} utterances that can be cut between words, {self.with_donor.sum()} with another by their speaker"

    def most(self, edit: str) -> int:
        able = self.clips[self.with_donor] if edit == "speech_substitute" else self.clips
        return int(np.minimum(able["editable"], ROUNDS).sum())

    def lane(self, lane: int, count: int) -> Lane:
        """Rounds over all recordings, each as often as there are other words in it to edit."""
        keys = self.clips["key"].to_numpy(np.uint64)
        scenes, rows, rounds = [], [], []
        for n in range(ROUNDS):
            order = np.argsort(mix(self.seed, key("utterances"), n, keys))
            order = order[self.clips["editable"].to_numpy()[order] > n]
            scenes.append(mix(self.seed, key("utterance"), n, keys[order]))
            rows.append(self.clips.index.to_numpy()[order])
            rounds.append(np.full(len(order), n))
            if sum(map(len, rows)) >= count:
                break
        rows = np.concatenate(rows)
        return Lane(np.concatenate(scenes), rows[:, None], np.arange(len(rows)), np.concatenate(rounds))

    def pairs(self, lane: Lane, edit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scene, the round, and the recording that words are taken from (-1: none) of each pair of an edit."""
        if edit != "speech_substitute":
            return lane.scene, lane.subject, np.full(len(lane.scene), -1)
        rows = lane.clips[lane.scene, 0]
        good = self.with_donor.reindex(rows).to_numpy(bool)
        scene, subject, rows = lane.scene[good], lane.subject[good], rows[good]
        ring = Ring(np.array(list(self.voice.values())), self.clips["key"].to_numpy(np.uint64))
        voices, other = np.array([self.voice[row] for row in rows]), np.full(len(rows), -1)
        index = self.clips.index.to_numpy()
        for attempt in range(32):
            open_ = np.flatnonzero(other < 0)
            if not len(open_):
                break
            found = index[ring.pick(voices[open_], mix(self.seed, key("donor"), lane.scenes[scene[open_]], attempt))]
            other[open_] = np.where(found != rows[open_], found, -1)
        return scene[other >= 0], subject[other >= 0], other[other >= 0]


class Conversations:
    """Scenes of one conversation, of one split's clips, each about one of its speakers."""

    def __init__(self, rows: pd.DataFrame, seed: int):
        self.seed = seed
        self.clips = rows[rows["role"] == "conversation"]
        self.speakers = np.minimum(self.clips["editable"].to_numpy(int), len(ORDINALS))

    def holds(self) -> str:
        return f"{len(self.clips)} conversations with {self.speakers.sum()} speakers"

    def most(self, edit: str) -> int:
        return int(self.speakers.sum())

    def lane(self, lane: int, count: int) -> Lane:
        """First a speaker of each conversation, then another of each, and so on, in an order drawn by keyed hashes."""
        keys = self.clips["key"].to_numpy(np.uint64)
        draw = mix(self.seed, key("speaker"), keys)
        scenes = mix(self.seed, key("conversation"), keys)
        scene, subject = [], []
        for n in range(int(self.speakers.max())):
            order = np.argsort(mix(self.seed, key("conversations"), n, keys))
            order = order[self.speakers[order] > n]
            scene.append(order)
            subject.append((draw[order] % self.speakers[order].astype(np.uint64)).astype(int) + n)
        scene = np.concatenate(scene)
        return Lane(scenes, self.clips.index.to_numpy()[:, None], scene, np.concatenate(subject) % self.speakers[scene])

    def pairs(self, lane: Lane, edit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scene, the speaker, from 0, and no other clip (-1) of each pair."""
        return lane.scene, lane.subject, np.full(len(lane.scene), -1)

"""Lanes of separated recordings: one recording's stems, or a stem of one over another that is left as it is."""

import numpy as np
import pandas as pd

from manifests.chance import Ring, key, mix
from pipeline.lanes import EDITED, ROUNDS, Lane
from pipeline.lanes.soundscapes import TRIES

SPARE = 0.25  # s that a stretch is longer than a scene for each scene more that is cut out of it
LEAK_DB = -20.0  # of a stem that stands alone as a target, at most


class Recordings:
    """Scenes of all the stems of one recording, of one split's clips; `add` and `extract` are siblings.

    Args:
        seconds: of a scene; a stretch that is hardly longer gives one scene only, since it could only give it again.
        clap_label: similarity with its label that a stem has at least which an edit is about, where it was scored.
    """

    def __init__(self, rows: pd.DataFrame, seed: int, seconds: float, clap_label: float | None):
        self.seed = seed
        stems = rows[rows["role"] == "stem"]
        named = _named(stems, clap_label)
        self.named = dict(zip(stems.index, named))
        self.clean = dict(zip(stems.index, named & (stems["leak_db"] <= LEAK_DB)))
        self.windows = {name: list(zip(found.index, found["key"])) for name, found in stems.groupby("piece") if len(found) > 1}
        spare = stems.groupby("piece")["duration"].min() - seconds
        self.rounds = {name: min(ROUNDS, 1 + int(spare[name] / SPARE)) for name in self.windows}

    def holds(self) -> str:
        return f"{len(self.windows)} stretches of separated recordings with {sum(self.clean.values())} stems clean enough to extract"

    def most(self, edit: str) -> int:
        able = self._stems(edit)
        return sum(self.rounds[name] * sum(able[row] for row, _ in stems) for name, stems in self.windows.items())

    def _stems(self, edit: str) -> dict[int, bool]:
        return self.clean if edit == "extract" else self.named

    def lane(self, lane: int, count: int) -> Lane:
        """Rounds over all recordings; the same for every lane, so that all edits are siblings."""
        keys = {name: np.uint64(key(name)) for name in self.windows}
        width = max(map(len, self.windows.values()))
        scenes, rows, scene, subject = [], [], [], []
        for n in range(min(ROUNDS, -(-count // max(1, len(self.windows))))):
            going = [name for name in self.windows if n < self.rounds[name]]
            for step in range(0, width, EDITED):
                for name in sorted(going, key=lambda name: int(mix(self.seed, key("recordings"), n, keys[name])[0])):
                    stems = self.windows[name]
                    order = np.argsort(mix(self.seed, key("stem"), n, np.array([k for _, k in stems], np.uint64)))
                    chosen = [at for at in order if self.named[stems[at][0]]][step : step + EDITED]
                    if chosen:
                        scene += [len(scenes)] * len(chosen)
                        subject += chosen
                        scenes.append(int(mix(self.seed, key("recording"), n, step, keys[name])[0]))
                        rows.append([row for row, _ in stems] + [-1] * (width - len(stems)))
        return Lane(np.array(scenes, np.uint64), np.array(rows), np.array(scene, int), np.array(subject, int))

    def pairs(self, lane: Lane, edit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scene, the subject and no other clip (-1) of each pair of an edit."""
        able = self._stems(edit)
        good = np.array([able[row] for row in lane.clips[lane.scene, lane.subject]], bool)
        return lane.scene[good], lane.subject[good], np.full(int(good.sum()), -1)


def _named(stems: pd.DataFrame, clap_label: float | None) -> pd.Series:
    """Whether each stem has a label, and sounds like it as far as that was scored."""
    sure = stems["clap_label"].isna() | (stems["clap_label"] >= clap_label) if clap_label is not None else True
    return (stems["label"] != "") & sure


class Remixes:
    """Scenes of a stem over a background of another recording, of one split's clips; `remove` gives the latter back."""

    def __init__(self, rows: pd.DataFrame, seed: int, clap_label: float | None):
        self.seed = seed
        stems = rows[rows["role"] == "stem"]
        self.stems = stems[_named(stems, clap_label)]
        self.backgrounds = rows[rows["role"] == "background"]

    def holds(self) -> str:
        return f"{len(self.stems)} stems of recordings and {len(self.backgrounds)} backgrounds to set them over"

    def most(self, edit: str) -> int:
        return ROUNDS * len(self.stems) if len(self.backgrounds) else 0

    def lane(self, lane: int, count: int) -> Lane:
        """Rounds over all stems, each over a background of another recording and another label."""
        keys = self.stems["key"].to_numpy(np.uint64)
        scenes, rows = [], []
        for n in range(min(ROUNDS, -(-count // len(keys)))):
            order = np.argsort(mix(self.seed, key("remixes"), n, keys))
            scenes.append(mix(self.seed, key("remix"), n, keys[order]))
            rows.append(self._over(scenes[-1], order))
        scenes, rows = np.concatenate(scenes), np.concatenate(rows)
        found = rows[:, 0] >= 0
        return Lane(scenes, rows, np.flatnonzero(found), np.ones(int(found.sum()), int))

    def _over(self, scenes: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Rows of background (-1 where none fits) and stem."""
        stems, grounds = self.stems.iloc[order], self.backgrounds
        ring = Ring(np.zeros(len(grounds), int), grounds["key"].to_numpy(np.uint64))
        rows = np.stack([np.full(len(order), -1), stems.index.to_numpy()], axis=1)
        for attempt in range(TRIES):
            open_ = np.flatnonzero(rows[:, 0] < 0)
            at = ring.pick(np.zeros(len(open_), int), mix(self.seed, key("under"), scenes[open_], attempt))
            apart = [(grounds[name].to_numpy()[at] != stems[name].to_numpy()[open_]) for name in ("file", "code")]
            good = apart[0] & apart[1]
            rows[open_[good], 0] = grounds.index.to_numpy()[at[good]]
        return rows

    def pairs(self, lane: Lane, edit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scene, the subject and no other clip (-1) of each pair."""
        return lane.scene, lane.subject, np.full(len(lane.scene), -1)

"""Lanes of soundscapes."""

import numpy as np
import pandas as pd

from manifests.chance import Ring, key, mix, uniform
from pipeline.config import Config
from pipeline.lanes import EDITED, ROUNDS, TRIES, Lane, clash
from stages.scenes.soundscape import PAUSE

INSTEAD = ("replace", "transfer")  # edits that put another sound in the place of one


class Soundscapes:
    """Scenes of a background and events, of one split's clips.

    Args:
        rows: the split's.
        clips: all of the run's, by their rows.
        clashes: see `clashing`.
    """

    def __init__(self, rows: pd.DataFrame, clips: pd.DataFrame, clashes: np.ndarray, config: Config):
        self.seed, self.scenes, self.seconds = config.seed, config.scenes, config.audio.seconds
        self.codes, self.files = np.append(clips["code"], -2), np.append(clips["file"], -2)  # row -1, none, has -2
        self.hz = np.append(clips["bandwidth_hz"].astype(float).fillna(0), 0)
        self.least_hz = config.clips.bandwidth * self.hz  # that an event over it reaches
        self.clashes = clashes
        self.backgrounds = rows[rows["role"] == "background"]
        self.events = rows[rows["event"] & (rows["code"] >= 0)]
        self.grounds = Ring(np.zeros(len(self.backgrounds), int), self.backgrounds["key"].to_numpy(np.uint64)) if len(self.backgrounds) else None
        self.said = (self.events["role"] == "utterance").to_numpy()
        counts = self.events["code"].value_counts()
        self.labels = np.sort(counts.index.to_numpy())
        if len(self.labels):
            first = self.events.drop_duplicates("code").set_index("code")["name"]
            by_name = np.array([key("label", first[code]) for code in self.labels], np.uint64)
            self.by_label = Ring(np.zeros(len(self.labels), int), by_name, np.sqrt(counts.reindex(self.labels).to_numpy(float)))
            self.by_clip = Ring(np.searchsorted(self.labels, self.events["code"]), self.events["key"].to_numpy(np.uint64))

    def holds(self) -> str:
        return f"{len(self.backgrounds)} backgrounds and {len(self.events)} events of {len(self.labels)} labels"

    def most(self, edit: str) -> int:
        """Pairs of an edit that can be made, at most."""
        enough = len(self.backgrounds) and len(np.union1d(self.labels, self.backgrounds["code"])) > (2 if edit in INSTEAD else 1)
        return min(ROUNDS * len(self.events), EDITED * ROUNDS * len(self.backgrounds)) if enough and len(self.labels) > (edit in INSTEAD) else 0

    def lane(self, lane: int, count: int) -> Lane:
        """Scenes that give at least `count` pairs of an edit, if there are as many."""
        keys, rows_of = self.events["key"].to_numpy(np.uint64), self.events.index.to_numpy()
        weight = 1 / np.sqrt(self.events.groupby("code")["code"].transform("size").to_numpy(float))
        used, edited = np.zeros(len(self.codes), int), {}
        scenes, rows, scene, subject, made = [], [], [], [], 0
        for n in range(ROUNDS):  # a round may give few: not every event finds a background
            if len(scene) >= count:
                break
            order = np.argsort(-np.log(uniform(self.seed, key("round", lane), n, keys)) / weight, kind="stable")
            order = order[used[rows_of[order]] < ROUNDS]
            drawn = mix(self.seed, key("soundscape", lane), n, keys[order])
            filled = self._fill(drawn, order, used)
            for at, column in _emit(filled, self._twice(filled), n, edited, count - len(scene)):
                scene.append(made + at)
                subject.append(column)
            scenes.append(drawn)
            rows.append(filled)
            made += len(drawn)
        return Lane(np.concatenate(scenes), np.concatenate(rows), np.array(scene, int), np.array(subject, int))

    def _fill(self, scenes: np.ndarray, anchors: np.ndarray, used: np.ndarray) -> np.ndarray:
        """The clips of each scene: background, anchor, up to three more events, all of different labels; last, in some, another of the anchor's label.

        Args:
            used: of each clip, in how many scenes it stands; counted on here. None comes to stand in more than ROUNDS.
        """
        rows = np.full((len(scenes), 6), -1)
        rows[:, 1] = self.events.index.to_numpy()[anchors]
        codes = np.full((len(scenes), 5), -2)
        codes[:, 1] = self.events["code"].to_numpy()[anchors]
        events = np.searchsorted(np.cumsum(self.scenes.events)[:-1], uniform(self.seed, key("events"), scenes), side="right") + 1
        for attempt in range(TRIES):
            open_ = np.flatnonzero(rows[:, 0] < 0)
            at = self.grounds.pick(np.zeros(len(open_), int), mix(self.seed, key("background"), scenes[open_], attempt))
            code = self.backgrounds["code"].to_numpy()[at]
            found = self.backgrounds.index.to_numpy()[at]
            good = self._clear(code, codes[open_, 1:2]) & self._fits(rows[open_, 1], found)
            good[good] = _within(found[good], used)
            rows[open_[good], 0], codes[open_[good], 0] = found[good], code[good]
        used[rows[rows[:, 0] >= 0, 1]] += 1
        for column in (2, 3, 4):
            wanting = np.flatnonzero((events >= column) & (rows[:, column - 1] >= 0))
            rows[wanting, column] = self._other(scenes[wanting], codes[wanting], rows[wanting, 0], column, used)
            codes[wanting, column] = self.codes[rows[wanting, column]]
        wanting = np.flatnonzero((uniform(self.seed, key("repeats"), scenes) < self.scenes.repeats) & (rows[:, 0] >= 0))
        rows[wanting, (rows[wanting] >= 0).sum(axis=1)] = self._again(scenes[wanting], anchors[wanting], rows[wanting, 0], used)
        return rows

    def _fits(self, events: np.ndarray, grounds: np.ndarray) -> np.ndarray:
        """Which events can lie over backgrounds, by rows: not over their own recording, which may hold them, nor duller than it by more than the gate."""
        return (self.files[events] != self.files[grounds]) & (self.hz[events] >= self.least_hz[grounds])

    def _clear(self, codes: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """Whether no label of taken (scenes, labels) could be meant by that of codes (scenes,), or the other way round."""
        return ~clash(codes[:, None], taken, self.clashes).any(axis=1)

    def _twice(self, rows: np.ndarray) -> np.ndarray:
        """Whether the label of a scene's anchor is that of its last clip too."""
        return (self.codes[rows] == self.codes[rows[:, 1], None]).sum(axis=1) > 1

    def _again(self, scenes: np.ndarray, anchors: np.ndarray, grounds: np.ndarray, used: np.ndarray) -> np.ndarray:
        """Another clip of each anchor's label, that finds room before or after it; -1 where none was found."""
        label, rows = np.searchsorted(self.labels, self.events["code"].to_numpy()[anchors]), np.full(len(scenes), -1)
        lengths = self.events["duration"].to_numpy()
        for attempt in range(TRIES):
            open_ = np.flatnonzero(rows < 0)
            clip = self.by_clip.pick(label[open_], mix(self.seed, key("again"), scenes[open_], attempt))
            found = self.events.index.to_numpy()[clip]
            good = (clip != anchors[open_]) & self._fits(found, grounds[open_]) & (lengths[clip] + lengths[anchors[open_]] + PAUSE <= self.seconds)
            good[good] = _within(found[good], used)
            rows[open_[good]] = found[good]
        return rows

    def _draw(self, scenes: np.ndarray, taken: np.ndarray, grounds: np.ndarray, slot: int, attempt: int | np.ndarray) -> np.ndarray:
        """A clip of `events` for each scene, by its place there; -1 where it does not suit.

        Args:
            taken: (scenes, labels) codes that its label differs from.
            grounds: its background, which the event fits; -1: it has none.
        """
        label = self.by_label.pick(np.zeros(len(scenes), int), mix(self.seed, key("label"), scenes, slot, attempt))
        clip = self.by_clip.pick(label, mix(self.seed, key("clip"), scenes, slot, attempt))
        good = self._clear(self.labels[label], taken) & self._fits(self.events.index.to_numpy()[clip], grounds)
        return np.where(good, clip, -1)

    def _other(self, scenes: np.ndarray, taken: np.ndarray, grounds: np.ndarray, slot: int, used: np.ndarray | None = None) -> np.ndarray:
        """Rows of an event of a label that is not taken, for each scene (see `_draw`); -1 where none was found.

        Args:
            used: as of `_fill`; None: it is not heard.
        """
        rows = np.full(len(scenes), -1)
        for attempt in range(TRIES):
            open_ = np.flatnonzero(rows < 0)
            clip = self._draw(scenes[open_], taken[open_], grounds[open_], slot, attempt)
            open_, found = open_[clip >= 0], self.events.index.to_numpy()[clip[clip >= 0]]
            if used is not None:
                free = _within(found, used)
                open_, found = open_[free], found[free]
            rows[open_] = found
        return rows

    def instead(self, scenes: np.ndarray, taken: np.ndarray, grounds: np.ndarray, least: np.ndarray | None = None) -> np.ndarray:
        """Rows of what takes a sound's place, for each scene (see `_draw`), none oftener than ROUNDS; -1 where none was found.

        Who comes first chooses first: what comes after, of which another edit may want more, changes nothing.

        Args:
            least: s that it is long, at least, and nothing that is said; None: of any length.
        """
        clips, tried = np.full(len(scenes), -1), np.zeros(len(scenes), int)
        lengths = self.events["duration"].to_numpy()
        while len(open_ := np.flatnonzero((clips < 0) & (tried < TRIES))):
            clip = self._draw(scenes[open_], taken[open_], grounds[open_], 9, tried[open_])
            tried[open_] += 1
            clips[open_] = clip if least is None else np.where((lengths[clip] >= least[open_]) & ~self.said[clip], clip, -1)
            clips[_rank(clips) >= ROUNDS] = -1
        return np.where(clips >= 0, self.events.index.to_numpy()[clips], -1)

    def lasting(self, rows: np.ndarray) -> np.ndarray:
        """How long events are, s; what is said lasts for ever, so that nothing takes on its loudness."""
        return self.events["duration"].mask(self.said).reindex(rows).fillna(np.inf).to_numpy()

    def absent(self, lane: Lane, scene: np.ndarray, subject: np.ndarray) -> np.ndarray:
        """For each pair a clip of a label that its scene has not; -1 where none was found, and where nobody knows what the background holds."""
        drawn = mix(lane.scenes[scene], key("absent"), subject)
        found = self._other(drawn, self.codes[lane.clips[scene]], lane.clips[scene, 0], 9)
        return np.where(self.codes[lane.clips[scene, 0]] < 0, -1, found)

    def pairs(self, lane: Lane, edit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scene, the subject and the clip that takes its place (-1: none) of each pair of an edit.

        The first of two of one label stands for both; nothing takes the place of both, and "the second" is added to nothing. What takes on a sound's loudness
        over time is at least as long.
        """
        scene, subject, other = lane.scene, lane.subject, np.full(len(lane.scene), -1)
        if edit in ("add", *INSTEAD):
            last, first = subject == (lane.clips[scene] >= 0).sum(axis=1) - 1, subject == 1
            kept = ~(self._twice(lane.clips[scene]) & {"add": last, "replace": first, "transfer": last | first}[edit])
            scene, subject, other = scene[kept], subject[kept], other[kept]
        if edit in INSTEAD:
            drawn, clips = mix(lane.scenes[scene], key(edit), subject), lane.clips[scene]
            least = self.lasting(clips[np.arange(len(clips)), subject]) if edit == "transfer" else None
            other = self.instead(drawn, self.codes[clips], clips[:, 0], least)
            scene, subject, other = scene[other >= 0], subject[other >= 0], other[other >= 0]
        return scene, subject, other


def _within(rows: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Which of some picks of clips, in order, are still within what a clip may be used; `used` is counted on."""
    good = used[rows] + _rank(rows) < ROUNDS
    np.add.at(used, rows[good], 1)
    return good


def _rank(picks: np.ndarray) -> np.ndarray:
    """How many of the same stand before each; -1 is none, and has 0."""
    order = np.argsort(picks, kind="stable")
    rank = np.empty(len(picks), int)
    rank[order] = np.arange(len(picks)) - np.searchsorted(picks[order], picks[order])
    return np.where(picks < 0, 0, rank)


def _emit(rows: np.ndarray, twice: np.ndarray, n: int, edited: dict[int, int], count: int) -> list[tuple[int, int]]:
    """Read subjects off a round's soundscapes, whose first clip is the background: the anchor, and one other event; in a round no clip is one twice.

    Where the anchor's label is heard twice, the other is its second clip.

    Args:
        n: of the round.
        edited: of each clip, how often it is one; counted on here.
        count: at least so many, if there are.
    """
    pairs: list[tuple[int, int]] = []
    for i, (clips, held, again) in enumerate(zip(rows.tolist(), (rows >= 0).sum(axis=1).tolist(), twice.tolist())):
        if len(pairs) >= count:
            break
        if clips[0] < 0:
            continue
        found = 0
        for column in (1, *range(held - 1, 1, -1)) if again else range(1, held):
            clip = clips[column]
            if found < EDITED and edited.get(clip, 0) <= n:
                edited[clip] = edited.get(clip, 0) + 1
                pairs.append((i, column))
                found += 1
    return pairs

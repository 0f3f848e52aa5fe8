"""Lanes of pieces: tracks of one piece of music, or the stems of one recording."""

import numpy as np
import pandas as pd

from manifests.chance import Ring, key, mix
from pipeline.lanes import EDITED, ROUNDS, TRIES, Lane, clash


class Pieces:
    """Scenes of one piece's tracks, of one split's clips."""

    def __init__(self, rows: pd.DataFrame, clashes: np.ndarray, seed: int):
        self.seed, self.clashes = seed, clashes
        tracks = rows[rows["role"] == "track"]
        self.second = {(r.piece, r.part): r.Index for r in tracks[tracks["variant"] == 1].itertuples()}
        self.tracks = tracks[tracks["variant"] == 0]
        self.ring = Ring(np.zeros(len(self.tracks), int), self.tracks["key"].to_numpy(np.uint64)) if len(self.tracks) else None
        self.parts = dict(zip(self.tracks.index, zip(self.tracks["piece"], self.tracks["part"])))
        self.pieces = {name: list(zip(rows.index, rows["key"])) for name, rows in self.tracks.groupby("piece") if len(rows) > 1}

    def holds(self) -> str:
        return f"{len(self.pieces)} pieces of music with {len(self.second)} second timbres"

    def most(self, edit: str) -> int:
        if edit == "generate":  # another stretch of a piece would be nearly the same
            return len(self.pieces)
        able = sum(len(tracks) for tracks in self.pieces.values())
        return ROUNDS * (len(self.second) if edit == "transfer" else able)

    def lane(self, lane: int, count: int) -> Lane:
        """Scenes in passes: each pass takes two more tracks of every piece, until all were taken once; then anew."""
        keys = {name: np.uint64(key(name)) for name in self.pieces}
        width = max(map(len, self.pieces.values()))
        per_round = min(sum(map(len, self.pieces.values())), max(1, len(self.second)) if lane else 10**9)
        scenes, rows, scene, subject = [], [], [], []
        for n in range(min(ROUNDS, -(-count // per_round))):
            names = sorted(self.pieces, key=lambda name: int(mix(self.seed, key("pieces", lane), n, keys[name])[0]))
            for step in range(0, width, EDITED):
                for name in names:
                    tracks = self.pieces[name]
                    odd = bool(lane and step and step + EDITED + 1 == len(tracks))  # a last track that would have no sibling joins
                    chosen = self._order(lane, n, tracks)[step : step + EDITED + odd]
                    if not len(chosen) or (lane and step > EDITED and step + 1 == len(tracks)):
                        continue
                    scene += [len(scenes)] * len(chosen)
                    subject += chosen.tolist()
                    scenes.append(int(mix(self.seed, key("piece", lane), n, step, keys[name])[0]))
                    rows.append([index for index, _ in tracks] + [-1] * (width - len(tracks)))
        return Lane(np.array(scenes, np.uint64), np.array(rows), np.array(scene), np.array(subject))

    def _order(self, lane: int, n: int, tracks: list[tuple[int, int]]) -> np.ndarray:
        """A piece's tracks in a round's order; in all lanes but the first, those with a second timbre first, so that transfers are siblings."""
        drawn = mix(self.seed, key("track", lane, n), np.array([k for _, k in tracks], np.uint64))
        only_one = np.array([self.parts[row] not in self.second for row, _ in tracks]) if lane else np.zeros(len(tracks), bool)
        return np.lexsort((drawn, only_one))

    def absent(self, lane: Lane, scene: np.ndarray, subject: np.ndarray) -> np.ndarray:
        """For each pair a track of an instrument that its piece has not; -1 where none was found."""
        code, found = self.tracks["code"], np.full(len(scene), -1)
        for attempt in range(TRIES):
            open_ = np.flatnonzero(found < 0)
            at = self.ring.pick(np.zeros(len(open_), int), mix(lane.scenes[scene[open_]], key("absent"), subject[open_], attempt))
            for place, row in zip(open_, self.tracks.index[at]):
                there = code[[clip for clip in lane.clips[scene[place]] if clip >= 0]].to_numpy()
                if not clash(code[row], there, self.clashes).any():
                    found[place] = row
        return found

    def pairs(self, lane: Lane, edit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scene, the subject and the clip that takes its place (-1: none) of each pair of an edit."""
        scene, subject, other = lane.scene, lane.subject, np.full(len(lane.scene), -1)
        if edit == "generate":
            first = np.sort(np.unique(lane.clips[scene, 0], return_index=True)[1])
            return scene[first], subject[first], other[first]
        if edit == "transfer":
            other = np.array([self.second.get(self.parts[row], -1) for row in lane.clips[scene, subject]])
            scene, subject, other = scene[other >= 0], subject[other >= 0], other[other >= 0]
        return scene, subject, other

"""A Scene: stems that sum to a mixture. Every edit is read off a scene."""

from dataclasses import dataclass, field

import numpy as np

MIXED = ("background", "event", "track", "rest", "speech", "voice")  # what a mixture is made of; "rest" is what a separation leaves over, or nobody says


@dataclass
class Stem:
    """One clip, placed. Counts are samples at the scene's rate; `clip`[offset : offset + length - tail] sounds at `onset`."""

    clip_id: str
    role: str  # one of MIXED, or: other (may come in for an event or a track), kept (of speech, when words are gone), words (put in)
    label: str
    onset: int
    offset: int
    length: int
    fade_in: int
    fade_out: int
    gain_db: float = 0.0  # on the clip's own level; the scene's gain comes on top
    snr_db: float | None = None  # events: asked loudness over the background, LU
    place_of: int | None = None  # role other: the stem that it may take the place of
    follows: bool = False  # role other: as loud over time as what it takes the place of
    nth: int = 0  # of the scene's sounds of one label, which in time, from 1; 0: the only one
    room: int | None = None  # which of the run's rooms it sounds in
    tail: int = 0  # how much of `length` the room rings on after the clip has ended
    text: str = ""  # of an event: what is said in it
    pan: float = 0.0  # of two channels, from -1 (left) to 1, at constant power


@dataclass
class Scene:
    """The recipe of a mixture: with its clips at hand, it gives the same samples again."""

    scene_id: str
    kind: str  # soundscape | piece | separated | remix | utterance | conversation | solo
    split: str
    sample_rate: int
    channels: int
    samples: int
    stems: list[Stem] = field(default_factory=list)
    gain_db: float = 0.0  # one gain for all stems

    @property
    def mixture(self) -> list[int]:
        """The stems that sound together; others may come in for one of them."""
        return [i for i, stem in enumerate(self.stems) if stem.role in MIXED]

    def length(self, stems: list[int]) -> int:
        """Samples of a side: the scene's, but an utterance ends where its words do."""
        return max(self.stems[i].onset + self.stems[i].length for i in stems) if self.kind == "utterance" else self.samples


@dataclass
class Rendered:
    """A scene with its stems as audio."""

    scene: Scene
    audio: list[np.ndarray]  # a stem each, float32 (channels, length), faded, at the clip's own level
    products: np.ndarray  # float64 (hops, stems, stems), see loudness.hop_products
    seconds: float  # that rendering took

    def gains(self, stems: list[int]) -> np.ndarray:
        """Linear gains (stems,) that let the named stems sound and no other."""
        gains = np.zeros(len(self.scene.stems))
        for i in stems:
            gains[i] = 10 ** ((self.scene.stems[i].gain_db + self.scene.gain_db) / 20)
        return gains

    def sum(self, stems: list[int]) -> np.ndarray:
        """The named stems at their gains, added in order: float32 (channels, samples of this side)."""
        total = np.zeros((self.scene.channels, self.scene.length(stems)), np.float32)
        gains = self.gains(stems).astype(np.float32)
        for i in sorted(stems):
            stem = self.scene.stems[i]
            total[:, stem.onset : stem.onset + stem.length] += gains[i] * self.audio[i]
        return total

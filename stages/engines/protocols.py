"""What an engine must do, whoever made it.

Every method takes a list of items, so that a model may work on them as one batch, and gives a list of as many answers in their
order; the answer to one item does not depend on the others. `Rejected` in the place of an answer says why that item has none.
Audio is float32 (channels, samples) at the given rate (Hz), of any length from one sample on. An engine is given at most as many
items at once as its attribute `batch` says (without one: 1), and half of them again where it runs out of memory. In a build it may
take `clips.time_limit` for each, or `longest` (s) where it has such an attribute and that is more; then its process is ended.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from manifests.errors import Rejected
from manifests.speech import Word


@dataclass(frozen=True)
class Speech:
    """An utterance, and what is known of it."""

    audio: np.ndarray  # float32 (channels, samples)
    texts: tuple[str, ...] = ()  # what is said (one text), or may have been said (several)
    language: str = ""  # ISO 639-1; "": not known


@dataclass(frozen=True)
class Transcript:
    """The words of an utterance."""

    words: list[Word]  # in order, in the form of `words_of`
    confidence: float | None = None  # that they are said where it says, 0 to 1; None: it cannot say
    language: str = ""  # ISO 639-1, where the engine tells it


@dataclass(frozen=True)
class Turn:
    """A stretch of a recording in which one speaker speaks, in seconds of its audio."""

    speaker: str  # a name for one voice within this recording
    start: float
    end: float


@dataclass(frozen=True)
class Described:
    """What a recording is a recording of."""

    label: str
    caption: str = ""
    details: dict | None = None  # kept in the clip's metadata; can be written as JSON


class Separator(Protocol):
    """Takes recordings apart."""

    tier: str  # of what it gives: "real" (a trained model) or "demo"

    def separate(self, recordings: list[np.ndarray], rate: int) -> list[dict[str, np.ndarray] | Rejected]:
        """Stems by label, each of its recording's shape; their sum is the recording, or leaves a rest. "rest" labels what has no name."""


class Transcriber(Protocol):
    """Finds the words of speech and when they are said."""

    def transcribe(self, speech: list[Speech], rate: int) -> list[Transcript | Rejected]:
        """The words that are heard; where a text is given it is aligned, and all its words come back."""


class Recognizer(Protocol):
    """Hears what is said."""

    def hear(self, speech: list[Speech], rate: int) -> list[str | Rejected]:
        """What is said, in words of the form of `words_of`.

        The texts are what may have been said. An engine may choose among them, but must then also be able to choose none.
        """


class Diarizer(Protocol):
    """Tells who speaks when."""

    def diarize(self, recordings: list[np.ndarray], rate: int) -> list[list[Turn] | Rejected]:
        """Turns in order of their start; those of two speakers may overlap. An empty list: nobody speaks."""


class TextAudioScorer(Protocol):
    """Tells how well a text describes a sound."""

    def score(self, recordings: list[np.ndarray], rate: int, texts: list[list[str]]) -> list[np.ndarray | Rejected]:
        """Similarity, -1 to 1, of each recording with each of its own texts: float32 (texts,)."""


class Labeler(Protocol):
    """Says what is heard in recordings that nobody labelled."""

    def label(self, recordings: list[np.ndarray], rate: int, labels: list[str]) -> list[Described | Rejected]:
        """One label each, and a caption where the engine writes one.

        Args:
            labels: those of the run, to choose among or to follow in style; may be empty.
        """


class Synthesizer(Protocol):
    """Speaks."""

    voices: tuple[str, ...]  # names; each is one speaker

    def speak(self, text: str, voice: str, rate: int) -> tuple[np.ndarray, list[Word]]:
        """Audio of one channel, float32 (1, samples) at `rate` Hz, and its words in the form of `words_of`."""

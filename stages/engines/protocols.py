"""What an engine must do, whoever made it. Audio is float32 (channels, samples) at the given rate (Hz)."""

from typing import Protocol

import numpy as np

from manifests.speech import Word


class Separator(Protocol):
    """Takes a recording apart."""

    tier: str  # of what it gives: "real" (a trained model) or "demo"

    def separate(self, audio: np.ndarray, rate: int) -> dict[str, np.ndarray]:
        """Stems by label, each of the recording's shape; their sum is the recording, or leaves a rest."""


class Transcriber(Protocol):
    """Finds the words of speech and when they are said."""

    def transcribe(self, audio: np.ndarray, rate: int, text: str | None = None) -> tuple[list[Word], float | None]:
        """Words in order, in the form of `words_of`, and how sure of them it is (0 to 1; None: it cannot say).

        Args:
            text: what is said, where that is known: then it is aligned, and all its words come back.

        Raises:
            Rejected: nothing is heard, or the text does not fit.
        """


class Recognizer(Protocol):
    """Hears what is said."""

    def hear(self, audio: np.ndarray, rate: int, texts: list[str]) -> str:
        """What is said, in words of the form of `words_of`.

        Args:
            texts: what may have been said. An engine may choose among them, but must then also be able to choose none.
        """


class Synthesizer(Protocol):
    """Speaks."""

    voices: tuple[str, ...]  # names; each is one speaker

    def speak(self, text: str, voice: str, rate: int) -> tuple[np.ndarray, list[Word]]:
        """Audio of one channel, float32 (1, samples) at `rate` Hz, and its words in the form of `words_of`."""

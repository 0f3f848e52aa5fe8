"""Speech: words and when they are said, and the one way in which texts are compared."""

import json
import unicodedata
from dataclasses import dataclass

APOSTROPHES = str.maketrans("’‘ʼ`", "''''")


@dataclass(frozen=True)
class Word:
    """A word of an utterance and where it sounds, in seconds of its audio."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Cut:
    """A place between words where an utterance may be cut: seconds, and the level there in dB under the speech."""

    at: float
    level_db: float


def words_of(text: str) -> list[str]:
    """A text's words as they are compared and aligned: lower case, without punctuation, hyphens parting words.

    Apostrophes inside a word stay; digits, and letters of any script with their marks, are letters.

    >>> words_of("“Don't!” — he said, ill-disposed…")
    ["don't", 'he', 'said', 'ill', 'disposed']
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).translate(APOSTROPHES).casefold())
    parted = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in plain)
    return [word for part in parted.replace("''", " ").split() if (word := part.strip("'"))]


def to_json(words: list[Word], cuts: list[Cut]) -> str:
    """Words, and the cuts before each and after the last, as `Clip.words` holds them."""
    return json.dumps({"words": [[w.text, round(w.start, 4), round(w.end, 4)] for w in words], "cuts": [[round(c.at, 4), round(c.level_db, 2)] for c in cuts]})


def from_json(text: str) -> tuple[list[Word], list[Cut]]:
    """What `to_json` was given."""
    said = json.loads(text)
    return [Word(*word) for word in said["words"]], [Cut(*cut) for cut in said["cuts"]]

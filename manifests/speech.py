"""Speech: words and when they are said, and the one way in which texts are compared."""

import json
import unicodedata
from dataclasses import dataclass

MOST = 4  # words that are taken out together
SHORTEST = 0.06  # s that they take, so that cross-fades have room
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


def stretches(words: list[Word], cuts: list[Cut], join_db: float) -> list[tuple[int, int]]:
    """Stretches of words [first, last) that can be taken out: one to four, not all, between cuts of at most `join_db` (dB under the speech).

    >>> words = [Word(text, n, n + 0.9) for n, text in enumerate("well he said no".split())]
    >>> stretches(words, [Cut(n, level) for n, level in enumerate((-40, -30, -9, -40, -40))], -25)
    [(0, 1), (0, 3), (1, 3), (1, 4), (3, 4)]
    """
    good = [n for n, cut in enumerate(cuts) if cut.level_db <= join_db]
    return [(a, b) for a in good for b in good if a < b <= a + MOST and b - a < len(words) and cuts[b].at - cuts[a].at >= SHORTEST]

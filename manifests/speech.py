"""Speech: words and when they are said, and the one way in which texts are compared."""

import json
import re
import unicodedata
from dataclasses import dataclass

MOST = 4  # words that are taken out together
SHORTEST = 0.06  # s that they take, so that cross-fades have room
PAUSE = 0.06  # s of quiet that make a pause
APOSTROPHES = str.maketrans("’‘ʼ`", "''''")
UNSPACED = ("CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "THAI ", "LAO ", "KHMER ", "MYANMAR ")  # how Unicode's names of their letters begin
LEADING, TRAILING = "เแโใไເແໂໃໄ", "ะาๅະາ"  # vowels that Unicode counts as letters; they sound with the consonant beside them
PARTS = re.compile("(?:l?[ut]|l)[mt]*|[sm]+")  # of a word's characters by their `_kind`


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

    Apostrophes inside a word stay; digits, and letters of any script with their marks, are letters. In scripts that are written
    without spaces (`UNSPACED`) each character is a word, so that a word error rate is their character error rate.

    >>> words_of("“Don't!” — he said, ill-disposed…"), words_of("我爱Python。")
    (["don't", 'he', 'said', 'ill', 'disposed'], ['我', '爱', 'python'])
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).translate(APOSTROPHES).casefold())
    letters = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in plain)
    return [word for part in parted(letters.replace("''", " ")) if (word := part.strip("'"))]


def text_of(words: list[str]) -> str:
    """Words as they are written: with a space between two that would else be read as one. `words_of` gives them back.

    >>> text_of(["he", "said"]), text_of(["我", "爱", "python"])
    ('he said', '我爱python')
    """
    text = "".join(words[:1])
    for before, word in zip(words, words[1:]):
        text += word if parted(before + word) == parted(before) + parted(word) else f" {word}"
    return text


def parted(text: str) -> list[str]:
    """A text as it is, parted at its spaces and where `words_of` parts characters of scripts without.

    >>> parted("I said 我爱 Python!")
    ['I', 'said', '我', '爱', 'Python!']
    """
    return [token[part.start() : part.end()] for token in text.split() for part in PARTS.finditer("".join(map(_kind, token)))]


def _kind(character: str) -> str:
    """m: a mark; of a script without spaces l: a leading vowel, t: a trailing one, u: any other character; s: all else."""
    if unicodedata.category(character)[0] == "M":
        return "m"
    if unicodedata.name(character, "").startswith(UNSPACED):
        return "l" if character in LEADING else "t" if character in TRAILING else "u"
    return "s"


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


def in_pauses(words: list[Word], first: int, last: int) -> bool:
    """Whether a stretch of words [first, last) begins and ends in pauses, or where the utterance does.

    >>> words = [Word("well", 0.1, 0.3), Word("he", 0.4, 0.5), Word("said", 0.51, 0.8)]
    >>> in_pauses(words, 0, 1), in_pauses(words, 1, 3), in_pauses(words, 0, 2)
    (True, True, False)
    """
    return all(at in (0, len(words)) or round(words[at].start - words[at - 1].end, 4) >= PAUSE for at in (first, last))  # to_json's digits

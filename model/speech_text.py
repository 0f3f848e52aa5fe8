"""What is to be said as a list of ids: characters, and Chinese as pinyin syllables with tone numbers, as F5-TTS (Chen et al. 2024) writes it."""

import functools
import logging
from pathlib import Path

import torch
from torch import Tensor

from manifests.errors import RequestError

PLAIN = str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"})
UNKNOWN = 0


def symbols(text: str) -> list[str]:
    """Characters and syllables of a text, those that the vocabulary numbers.

    A space goes before every syllable, and before an ASCII word of two letters or more unless a space, colon or quote precedes.

    >>> symbols("Hi; there")
    ['H', 'i', ',', ' ', 't', 'h', 'e', 'r', 'e']
    >>> symbols("你好 OK")
    [' ', 'ni2', ' ', 'hao3', ' ', 'O', 'K']
    """
    found: list[str] = []
    for word in _splitter().cut(text.translate(PLAIN)):
        size = len(word.encode())
        if size == len(word):
            if found and size > 1 and found[-1] not in " :'\"":
                found.append(" ")
            found.extend(word)
        elif size == 3 * len(word):  # all of it in the range where Chinese lies
            for character, syllable in zip(word, _pinyin(word)):
                found.extend([" ", syllable] if _chinese(character) else [syllable])
        else:
            for character in word:
                found.extend([" ", *_pinyin(character)] if _chinese(character) else [character])
    return found


class Vocabulary:
    """The numbers of symbols: each one's line in a vocab.txt, counted from 0."""

    def __init__(self, path: str | Path):
        """Raises RequestError where there is no such file, or it is empty, not UTF-8 or names a symbol twice."""
        try:
            with open(path, encoding="utf-8") as file:
                self.lines = [line.removesuffix("\n") for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"cannot read the speech vocabulary {path}: {error}") from None
        self.numbers = {symbol: number for number, symbol in enumerate(self.lines)}
        if not self.lines or len(self.numbers) != len(self.lines):
            raise RequestError(f"the speech vocabulary {path} " + ("names a symbol twice" if self.lines else "is empty"))

    def __len__(self) -> int:
        return len(self.lines)

    def ids(self, text: str) -> Tensor:
        """Int64 (symbols,) of a text; what the vocabulary does not have is number 0."""
        return torch.tensor([self.numbers.get(symbol, UNKNOWN) for symbol in symbols(text)], dtype=torch.long)

    def save(self, path: str | Path) -> None:
        Path(path).write_text("".join(f"{line}\n" for line in self.lines), encoding="utf-8", newline="\n")


def _chinese(character: str) -> bool:
    return "\u3100" <= character <= "\u9fff"


def _pinyin(text: str) -> list[str]:
    from pypinyin import Style, lazy_pinyin

    return lazy_pinyin(text, style=Style.TONE3, tone_sandhi=True)


@functools.cache
def _splitter():
    """Jieba with its own dictionary, loaded without a word."""
    import jieba

    level = jieba.default_logger.level
    jieba.default_logger.setLevel(logging.CRITICAL)
    try:
        splitter = jieba.Tokenizer()
        splitter.initialize()
    finally:
        jieba.default_logger.setLevel(level)
    return splitter

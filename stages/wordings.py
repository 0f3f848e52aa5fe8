"""The wordings of wordings.yaml, and which of them a split may have."""

from functools import cache
from pathlib import Path

import yaml

FILE = Path(__file__).with_suffix(".yaml")
FOR_TEST = 0.2  # share of the wordings in each language, the last ones, that only the test split has


def wordings(name: str, split: str) -> list[str]:
    """Wordings of an edit, or of one in a manner, for a split: those of the others, or the first, which is Audio-Omni's, and those that the others lack.

    >>> train, test = wordings("add", "train"), wordings("add", "test")
    >>> train[0] == test[0], len(set(train) & set(test)), len(train), len(test)
    (True, 1, 18, 6)
    """
    by_language = every()[name].values()
    kept = [len(texts) - round(FOR_TEST * len(texts)) for texts in by_language]
    if split == "test":
        first = next(iter(by_language))[0]
        return [first, *(text for texts, count in zip(by_language, kept) for text in texts[count:])]
    return [text for texts, count in zip(by_language, kept) for text in texts[:count]]


@cache
def every() -> dict[str, dict[str, list[str]]]:
    """All of them, by edit and manner, then by language."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))

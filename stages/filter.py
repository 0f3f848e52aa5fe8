"""Filter: a pair that breaks a rule is left out, with the rule as the reason."""

from collections.abc import Iterable
from dataclasses import dataclass

from manifests.pair import SCORES, Pair, QualityRow

CHOICE, CHOICES = "asr_choice", ("source", "target", "neither")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One score's bounds. A score that was not computed breaks no rule."""

    score: str
    min: float | None = None
    max: float | None = None
    equals: str | None = None  # of asr_choice: source | target | neither
    domain: str | None = None  # sound | music | speech; None: all

    def __post_init__(self):
        if self.score not in (*SCORES, CHOICE):
            raise ValueError(f"unknown score '{self.score}'; one of {', '.join((*SCORES, CHOICE))}")
        if (self.score == CHOICE) != (self.equals is not None) or (self.score == CHOICE and (self.min, self.max) != (None, None)):
            raise ValueError(f"the rule on '{self.score}' is wrong: {CHOICE} takes 'equals', which no other score does, and no bounds")
        if self.equals not in (None, *CHOICES):
            raise ValueError(f"{CHOICE} is never '{self.equals}'; one of {', '.join(CHOICES)}")
        if self.domain not in (None, "sound", "music", "speech"):
            raise ValueError(f"the rule on '{self.score}' has domain '{self.domain}'; one of sound, music, speech")
        if self.min is None and self.max is None and self.equals is None:
            raise ValueError(f"the rule on '{self.score}' has neither min, max nor equals")

    def broken_by(self, pair: QualityRow) -> str | None:
        """The reason for a pair's row, or None."""
        value = getattr(pair, self.score)
        if value is None or self.domain not in (None, pair.domain):
            return None
        if self.equals is not None:
            return None if value == self.equals else f"{self.score} is {value}, not {self.equals}"
        if self.min is not None and value < self.min:
            return f"{self.score} < {self.min:g}"
        if self.max is not None and value > self.max:
            return f"{self.score} > {self.max:g}"
        return None


def first_broken(pair: QualityRow, rules: Iterable[Rule]) -> str | None:
    """The first rule that a pair breaks, or None."""
    return next(filter(None, (rule.broken_by(pair) for rule in rules)), None)


def judge(pair: Pair, rules: Iterable[Rule]) -> None:
    """Keep a pair, or set the first rule that it breaks as its reason."""
    pair.reason = pair.reason or first_broken(pair, rules)
    pair.kept = pair.reason is None

"""A Part: the unit of work, of commit and of retry."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Part:
    """Some items that are worked on together.

    `kind` "clips": items are windows of files; "pairs": items are whole scenes of one split.
    """

    kind: str
    number: int
    items: list[Any]
    split: str = ""
    last: bool = False  # it is not tried again
    skip: dict[str, str] = field(default_factory=dict)  # items found to kill their process, with the reason for their rows

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:05d}"

    @property
    def record(self) -> str:
        """Where its record lies in a run; a part with a record is done."""
        return f"parts/{self.name}.json"

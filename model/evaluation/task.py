"""One pair as it is judged: both sides, what is known of it, and where its edit is."""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from manifests.pair import speaks
from model.evaluation.distances import Spectra


@dataclass(frozen=True)
class Task:
    """Sides are float32 (channels, samples) at `rate` Hz; of speech edits they differ in length. `facts` is the pair's KEY.json."""

    source: np.ndarray
    target: np.ndarray
    rate: int
    facts: dict

    @property
    def edit(self) -> str:
        return self.facts["edit"]

    @property
    def speaks(self) -> bool:
        """Whether it is about what is said."""
        return speaks(self.facts)

    @cached_property
    def wanted(self) -> Spectra:
        """Of the target."""
        return Spectra(self.target)

    def edited(self, side: str = "target") -> np.ndarray:
        """Where the edit is on a side: bool (samples,)."""
        spans = self.facts["edit_spans"]
        if side == "source" and (span := json.loads(self.facts["params"]).get("source_span")):  # speech is not at the same place on both
            spans = [span]
        found = np.zeros(getattr(self, side).shape[1], bool)
        for start, end in spans:
            found[round(start * self.rate) : round(end * self.rate)] = True
        return found

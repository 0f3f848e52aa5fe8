"""The sibling test: of one scene there are several edits, and an output is to be the one that was asked for."""

from collections.abc import Sequence

import numpy as np

from model.evaluation.distances import Spectra, log_spectral_distance
from model.evaluation.task import Task


def sibling_test(output: Spectra, task: Task, others: Sequence[Task]) -> tuple[bool, float] | None:
    """Whether an output is nearer to its task's target than to any other of the scene, by log-spectral distance, and the chance that it is so.

    Targets that are the same audio (of two edits that add to one mixture) count once. None: there is no other.

    Args:
        others: the scene's other pairs.
    """
    distinct: list[Task] = []
    for other in others:
        if not any(np.array_equal(other.target, known.target) for known in [task, *distinct]):
            distinct.append(other)
    if not distinct:
        return None
    own, *rest = (log_spectral_distance(output, known.wanted) for known in [task, *distinct])
    return own < min(rest), 1 / (1 + len(distinct))

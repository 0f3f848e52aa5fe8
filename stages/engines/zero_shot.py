"""Labels for recordings that nobody labelled: of a list, the one whose sentence a scorer finds most similar to the sound.

Zero-shot classification as Wu et al. have it (2023, "Large-scale contrastive language-audio pretraining with feature fusion and
keyword-to-caption augmentation"), with their sentence around each label.
"""

import pathlib
from itertools import islice
from typing import Any

import numpy as np

from manifests.errors import Rejected, RequestError
from stages.batches import in_batches
from stages.engines import registry
from stages.engines.laion_clap import pieces
from stages.engines.protocols import Described

TEMPLATE = "This is a sound of {label}."
SILENT = 1e-4  # RMS, -80 dBFS: what is under it is silent
BESIDE = 1e-2  # of the loudest window's RMS, -40 dB: what is under it is silent beside that


class ZeroShot:
    """Labeler by a scorer of sounds against texts; see `protocols.Labeler`.

    A recording is scored in windows, the last of which ends where it ends; a shorter one whole. A label's similarity is its mean over
    the windows in which there is something to hear: those not under -80 dBFS nor 40 dB under the loudest one.

    Args:
        labels: path of a text file in UTF-8 with a label a line; blank lines, and lines that begin with #, say nothing. None: the run's own.
        scorer: an engine of kind "scorer" with its options, as in a configuration; None: LAION's CLAP.
        window: s.
        margin: by how much similarity the best label must lead the second, 0 to 2.
        floor: similarity that the best label must have at least, -1 to 1.
        top: how many labels, the best ones, are told with their similarity.
        batch: how many recordings at once.

    Raises:
        ValueError: an option is out of its range.
        RequestError: the file cannot be read or holds no label, or the scorer cannot be loaded.
    """

    def __init__(self, *, labels: str | None = None, scorer: dict[str, Any] | None = None, window: float = 2.0, margin: float = 0.0,
                 floor: float = 0.0, top: int = 5, batch: int = 8):
        scorer = {"engine": "laion_clap"} if scorer is None else scorer
        if "engine" not in scorer:
            raise ValueError("scorer names no engine")
        if not 0 < window < np.inf:
            raise ValueError(f"window is {window} s; more than 0")
        if not 0 <= margin <= 2:
            raise ValueError(f"margin is {margin}; 0 to 2")
        if not -1 <= floor <= 1:
            raise ValueError(f"floor is {floor}; -1 to 1")
        if top < 1:
            raise ValueError(f"top is {top}; at least 1")
        if batch < 1:
            raise ValueError(f"batch is {batch}; at least 1")
        self._labels = None if labels is None else _read(labels)
        self._scorer = registry.load("scorer", scorer)
        self._window, self._margin, self._floor, self._top = window, margin, floor, top
        self.batch = batch

    def label(self, recordings: list[np.ndarray], rate: int, labels: list[str]) -> list[Described | Rejected]:
        """The most similar label of each recording.

        In the details are the best labels with their similarities and the lead of the first over the second ("margin"; None where
        there is only one label). Of labels as similar as each other, the one that stands first in the list is taken.

        Returns:
            `Rejected` for a recording that is silent, or whose best label is under the floor or the margin, or that the scorer rejects.
        """
        labels = self._labels or _distinct(labels)
        if not labels:
            return [Rejected("there is no label to choose: neither the engine's option labels nor the run names one")] * len(recordings)
        texts = [TEMPLATE.format(label=label) for label in labels]
        heard = [_heard(audio, max(1, round(self._window * rate))) for audio in recordings]
        windows = [window for some in heard for window in some]
        scores = iter(in_batches(self._scorer, windows, lambda some: self._scorer.score(some, rate, [texts] * len(some))))
        return [self._choose(labels, [*islice(scores, len(some))]) for some in heard]

    def _choose(self, labels: list[str], scores: list[np.ndarray | Rejected]) -> Described | Rejected:
        """A label by its similarities, (labels,) for each window that can be heard."""
        if not scores:
            return Rejected(f"it is silent: nowhere louder than {20 * np.log10(SILENT):.0f} dBFS")
        for score in scores:
            if isinstance(score, Rejected):
                return score
        mean = np.mean(scores, axis=0, dtype=np.float64)
        order = np.argsort(-mean, kind="stable")
        best, lead = order[0], float(mean[order[0]] - mean[order[1]]) if len(labels) > 1 else None
        if mean[best] < self._floor:
            return Rejected(f"no label fits: the best, '{labels[best]}', has a similarity of {mean[best]:.3f}, under the floor of {self._floor:g}")
        if lead is not None and lead < self._margin:
            return Rejected(f"no label stands out: '{labels[best]}' leads '{labels[order[1]]}' by {lead:.3f}, under the margin of {self._margin:g}")
        return Described(labels[best], details={"labels": [[labels[n], float(mean[n])] for n in order[: self._top]], "margin": lead})


def _heard(audio: np.ndarray, length: int) -> list[np.ndarray]:
    """Windows of `length` samples in which there is something to hear."""
    windows = pieces(audio, length)
    levels = [np.sqrt(np.mean(np.square(window, dtype=np.float64))) for window in windows]
    return [window for window, level in zip(windows, levels) if level >= max(SILENT, BESIDE * max(levels))]


def _read(path: str) -> list[str]:
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise RequestError(f"labels: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RequestError(f"labels: {path} is not UTF-8: byte {error.start} cannot be read") from None
    labels = _distinct([line for line in lines if not line.strip().startswith("#")])
    if not labels:
        raise RequestError(f"labels: {path} holds no label; write one a line")
    return labels


def _distinct(labels: list[str]) -> list[str]:
    """Labels as they are first written, without those that differ in case or spaces alone."""
    found: dict[str, str] = {}
    for label in filter(None, (" ".join(label.split()) for label in labels)):
        found.setdefault(label.casefold(), label)
    return [*found.values()]

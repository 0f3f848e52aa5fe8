"""Label: let an engine say what is heard in recordings that nobody labelled."""

import contextlib
import json
from dataclasses import replace

import numpy as np

from manifests.clip import Clip
from manifests.errors import Rejected, RunError
from stages.batches import Watch, in_batches
from stages.engines.protocols import Labeler

LABEL, CAPTION = 60, 500  # characters, at most
ROLES = ("event",)  # of clips that are given a label; a background, which holds more than one sound, is left to be cleared by a scorer


def label(clips: list[tuple[Clip, np.ndarray]], rate: int, labeler: Labeler, engine: str, labels: list[str],
          watch: Watch = contextlib.nullcontext) -> list[tuple[Clip, np.ndarray]]:
    """Give labels, and captions where there are none, to clips.

    What the engine answered stands in the clips' metadata under "labeler", with its name; a clip that it gives no label stays
    without one, and the reason stands there instead.

    Args:
        clips: without a label, and their audio, float32 (channels, samples).
        engine: the labeler's name.
        labels: those of the run.
        watch: what stands around a call of the labeler.
    """
    found = in_batches(labeler, clips, lambda some: labeler.label([audio for _, audio in some], rate, labels), watch)
    named = []
    for (clip, audio), answer in zip(clips, found):
        if not isinstance(answer, Rejected) and not _usable(answer.label, LABEL):
            answer = Rejected(f"its label is no phrase of 1 to {LABEL} printable characters")
        told = {**({"rejected": str(answer)} if isinstance(answer, Rejected) else answer.details or {}), "engine": engine}
        try:
            clip = replace(clip, metadata=json.dumps({**json.loads(clip.metadata or "{}"), "labeler": told}, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise RunError(f"labeler: {engine} gives details that cannot be written as JSON: {error}") from None
        if not isinstance(answer, Rejected):
            caption = answer.caption if _usable(answer.caption, CAPTION) else ""
            clip = replace(clip, label=" ".join(answer.label.split()), caption=clip.caption or caption)
        named.append((clip, audio))
    return named


def _usable(text: str, longest: int) -> bool:
    plain = " ".join(text.split())
    return 0 < len(plain) <= longest and plain.isprintable()

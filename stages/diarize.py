"""Diarize: find out who speaks when in windows of conversations."""

import contextlib
import json
from dataclasses import replace

import numpy as np

from manifests.clip import Clip
from manifests.errors import Rejected
from stages.batches import Watch, in_batches
from stages.engines.protocols import Diarizer, Turn
from stages.ingest import Gates

PLACES = 4  # decimals of seconds that turns are kept to


def diarize(windows: list[tuple[Clip, np.ndarray]], rate: int, diarizer: Diarizer, gates: Gates,
            watch: Watch = contextlib.nullcontext) -> list[tuple[Clip, np.ndarray]]:
    """Tell the speakers of conversations apart.

    A conversation is kept if it has at least two speakers, each speaks for `gates.speaker_seconds`, and no two at once for more than
    `gates.speaker_overlap` of the time in which anybody speaks: what is said at once cannot be given to one of them.

    Args:
        windows: measured clips of role conversation, and their audio, float32 (channels, samples).
        watch: what stands around a call of the diarizer.

    Returns:
        The clips with their turns, `speaker_overlap` and the number of speakers in `editable`, or with a reason; and their audio.
    """
    found = in_batches(diarizer, windows, lambda some: diarizer.diarize([audio for _, audio in some], rate), watch)
    return [(_told(clip, turns, audio.shape[1] / rate, gates), audio) for (clip, audio), turns in zip(windows, found)]


def _told(clip: Clip, found: list[Turn] | Rejected, seconds: float, gates: Gates) -> Clip:
    if isinstance(found, Rejected):
        return replace(clip, reason=str(found))
    rounded = [Turn(str(one.speaker), round(max(0.0, float(one.start)), PLACES), round(min(seconds, float(one.end)), PLACES)) for one in found
               if one.start < one.end]  # NaN is not
    turns = [turn for turn in rounded if turn.start < turn.end]
    overlap = overlap_of(turns)
    clip = replace(clip, turns=to_json(turns), speaker_overlap=overlap)
    spoken = {speaker: _length(merged) for speaker, merged in by_speaker(turns).items()}
    if len(spoken) < 2:
        return replace(clip, reason=f"no conversation: {['nobody speaks', 'one speaker'][len(spoken)]}")
    if (least := min(spoken.values())) < gates.speaker_seconds:
        return replace(clip, reason=f"one of its {len(spoken)} speakers speaks for {least:.2f} s (at least {gates.speaker_seconds:g} s)")
    if overlap > gates.speaker_overlap:
        return replace(clip, reason=f"two speak at once in {overlap:.0%} of what is said (at most {gates.speaker_overlap:.0%})")
    return replace(clip, editable=len(spoken))


def by_speaker(turns: list[Turn]) -> dict[str, list[tuple[float, float]]]:
    """The stretches (s, s) in which each speaks, those that touch made one; speakers in order of appearance.

    >>> by_speaker([Turn("b", 0.0, 1.0), Turn("a", 1.5, 2.0), Turn("b", 0.9, 1.2)])
    {'b': [(0.0, 1.2)], 'a': [(1.5, 2.0)]}
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for turn in sorted(turns, key=lambda turn: (turn.start, turn.end)):
        stretches = found.setdefault(turn.speaker, [])
        if stretches and turn.start <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], turn.end))
        else:
            stretches.append((turn.start, turn.end))
    return found


def overlap_of(turns: list[Turn]) -> float:
    """Share of the time in which anybody speaks in which at least two do, 0 to 1.

    >>> overlap_of([Turn("a", 0.0, 2.0), Turn("b", 1.0, 4.0)])
    0.25
    """
    stretches = [stretch for of_one in by_speaker(turns).values() for stretch in of_one]
    anybody = _length(by_speaker([Turn("", *stretch) for stretch in stretches]).get("", []))
    edges = sorted([(start, 1) for start, _ in stretches] + [(end, -1) for _, end in stretches])
    shared, speaking, since = 0.0, 0, 0.0
    for at, step in edges:
        shared += (at - since) * (speaking > 1)
        speaking, since = speaking + step, at
    return shared / anybody if anybody else 0.0


def _length(stretches: list[tuple[float, float]]) -> float:
    return sum(end - start for start, end in stretches)


def to_json(turns: list[Turn]) -> str:
    """Turns as `Clip.turns` holds them, in order of their start."""
    return json.dumps([[turn.speaker, round(turn.start, PLACES), round(turn.end, PLACES)] for turn in sorted(turns, key=lambda turn: (turn.start, turn.end))])


def from_json(text: str) -> list[Turn]:
    """What `to_json` was given."""
    return [Turn(*turn) for turn in json.loads(text)]

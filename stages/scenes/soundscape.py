"""A soundscape: a background with one to four events placed on it."""

import numpy as np

from manifests.clip import Clip
from manifests.scene import Scene, Stem

SNR_DB = (10.0, 5.0, -5.0, 25.0)  # mean, deviation, least, most; LU over the background (MMEdit's recipe)
FADE = (0.010, 0.100)  # s (Scaper, MMEdit)
PAUSE = 1.5  # s, at least, between two sounds of one label: longer than what lies between the strokes of one


def place(scene: Scene, background: Clip, events: list[Clip], others: dict[int, Clip], chance: np.random.Generator, *,
          followers: dict[int, Clip] | None = None, overlap: float = 0.5, twice: bool = False) -> Scene:
    """Place clips in an empty scene.

    Args:
        scene: without stems; gives length and rate.
        background: at least as long as the scene.
        events: each shorter than the scene; the first is the one that the scene was made for.
        others: by index of `events`, what may come in an event's place, at the same loudness.
        followers: the same, at the same times and as loud at each of them; at least as long, which is cut.
        chance: the scene's generator. What is drawn for an event does not depend on `others` or `followers`, nor on later events but where `twice`.
        overlap: share of the events that are made to overlap the first in time.
        twice: the last event is another of the first's label; one of them is heard after the other.

    Returns:
        The scene with its stems: background, events, others, followers.
    """
    last = round(background.duration * scene.sample_rate) - scene.samples
    scene.stems = [Stem(background.clip_id, "background", background.label, 0, int(chance.integers(0, last + 1)), scene.samples, 0, 0)]
    onsets = dict(zip((0, len(events) - 1), _apart(scene, events[0], events[-1], chance))) if twice else {}
    for index, clip in enumerate(events):
        stem = _event(scene, clip, int(chance.integers(0, 2**62)))
        snr = draw_snr(chance)
        near, where = chance.random(2)
        if index in onsets:
            stem.onset = onsets[index]
            stem.nth = 1 + (stem.onset > min(onsets.values()))
        elif near < overlap and len(scene.stems) > 1:
            first = scene.stems[1]
            low = max(0, first.onset - stem.length + stem.length // 4)
            high = min(scene.samples - stem.length, first.onset + first.length - first.length // 4)
            if low <= high:
                stem.onset = low + int(where * (high - low))
        stem.snr_db = round(snr, 3)
        scene.stems.append(stem)
    for index, clip in sorted(others.items()):
        taken = scene.stems[1 + index]
        stem = _event(scene, clip, taken.onset)
        stem.role, stem.place_of, stem.snr_db = "other", 1 + index, taken.snr_db
        stem.onset = min(taken.onset, scene.samples - stem.length)
        scene.stems.append(stem)
    for index, clip in sorted((followers or {}).items()):
        taken = scene.stems[1 + index]
        length = min(round(clip.duration * scene.sample_rate), taken.length)
        scene.stems.append(Stem(clip.clip_id, "other", clip.label, taken.onset, 0, length, taken.fade_in, taken.fade_out, snr_db=taken.snr_db,
                                place_of=1 + index, follows=True))
    return scene


def _event(scene: Scene, clip: Clip, draw: int) -> Stem:
    """An event at an onset, and with fades, that one draw decides."""
    length = min(round(clip.duration * scene.sample_rate), scene.samples)
    fades = [min(round((FADE[0] + (FADE[1] - FADE[0]) * ((draw >> bits) % 1024) / 1023) * scene.sample_rate), length // 4) for bits in (0, 10)]
    return Stem(clip.clip_id, "event", clip.label, (draw >> 20) % (scene.samples - length + 1), 0, length, *fades,
                text=" ".join(clip.transcript.split()) if length == round(clip.duration * scene.sample_rate) else "")  # of what is cut, nobody knows it


def _apart(scene: Scene, one: Clip, other: Clip, chance: np.random.Generator) -> tuple[int, int]:
    """Onsets of two clips, either of them first, with a pause between them."""
    lengths = [round(clip.duration * scene.sample_rate) for clip in (one, other)]
    early, late, swapped = chance.random(3)
    pause, order = round(PAUSE * scene.sample_rate), (1, 0) if swapped < 0.5 else (0, 1)
    room = max(0, scene.samples - sum(lengths) - pause)
    first = int(early * room)
    second = min(first + lengths[order[0]] + pause + int(late * (room - first)), scene.samples - lengths[order[1]])
    return (second, first) if swapped < 0.5 else (first, second)


def draw_snr(chance: np.random.Generator) -> float:
    """LU over the background: normal, truncated, as `SNR_DB` has it."""
    mean, deviation, low, high = SNR_DB
    draws = chance.normal(mean, deviation, 64)
    inside = draws[(draws >= low) & (draws <= high)]
    return float(inside[0]) if len(inside) else mean

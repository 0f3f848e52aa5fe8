"""A conversation: one recording, cut where its speakers take turns into stems that sum to it."""

from manifests.clip import Clip
from manifests.scene import Scene, Stem
from stages.diarize import by_speaker, from_json

FADE = 0.010  # s of cross-fade where two pieces meet
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def place(scene: Scene, clip: Clip) -> Scene:
    """Place the pieces of a conversation: each stretch in which one speaks, and each in which nobody does.

    Where two pieces meet they cross-fade by shares that add up to one, so that all pieces together are the recording. A pause of
    less than two cross-fades belongs to the turn after it. Where turns overlap, the later one begins when the earlier one ends.

    Args:
        scene: without stems; gives the rate. Its length is set to the recording's.
        clip: with its turns.
    """
    rate, fade = scene.sample_rate, round(FADE * scene.sample_rate)
    scene.samples = round(clip.duration * rate)
    pieces = _pieces(clip, scene.samples, rate, 2 * fade)
    scene.stems = []
    for n, (label, start, end) in enumerate(pieces):
        first, last = n == 0, n == len(pieces) - 1
        onset, stop = start - (0 if first else fade // 2), end + (0 if last else fade - fade // 2)
        scene.stems.append(Stem(clip.clip_id, "voice" if label else "rest", label, onset, onset, stop - onset, 0 if first else fade, 0 if last else fade))
    return scene


def speakers(clip: Clip) -> list[str]:
    """What the speakers of a conversation are called, in order of appearance.

    >>> speakers(Clip("talk.wav", 0, 9, 0, "speech", "real", turns='[["b", 0.5, 2.0], ["a", 2.5, 4.0], ["b", 4.0, 5.0]]'))
    ['first speaker', 'second speaker']
    """
    return [f"{ordinal} speaker" for ordinal, _ in zip(ORDINALS, by_speaker(from_json(clip.turns)))]


def _pieces(clip: Clip, samples: int, rate: int, shortest: int) -> list[tuple[str, int, int]]:
    """Label ("": nobody), first and last sample of stretches that follow one another, each at least `shortest` samples."""
    names = dict(zip(by_speaker(from_json(clip.turns)), speakers(clip)))
    turns = sorted((round(start * rate), round(end * rate), names.get(speaker, ""))
                   for speaker, stretches in by_speaker(from_json(clip.turns)).items() for start, end in stretches)
    found: list[tuple[str, int, int]] = []
    at = 0
    for start, end, label in turns:
        start, end = max(at, start), min(samples, end)
        if end - start < shortest:
            continue
        if start - at >= shortest:
            found.append(("", at, start))
        else:
            start = at  # too short to be a piece of its own
        found.append((label, start, end))
        at = end
    if samples - at >= shortest:
        return [*found, ("", at, samples)]
    return [*found[:-1], (found[-1][0], found[-1][1], samples)]


def sides(scene: Scene, edit: str, subject: int) -> tuple[list[int], list[int], list[int]]:
    """Stems before, stems after, and the stems that the edit is about: what the speaker says who appears as number `subject`, from 0."""
    theirs = [n for n, stem in enumerate(scene.stems) if stem.label == f"{ORDINALS[subject]} speaker"]
    others = [n for n in scene.mixture if n not in theirs]
    return scene.mixture, theirs if edit == "extract_speaker" else others, theirs

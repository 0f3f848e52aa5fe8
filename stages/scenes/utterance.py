"""An utterance: a recording of one speaker, and beside it the same with words taken out, or with others in their place."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manifests.clip import Clip
from manifests.scene import Scene, Stem
from manifests.speech import Cut, Word, from_json, in_pauses, stretches

FADE = 0.010  # s of cross-fade at a join, half on each side of the cut


@dataclass
class Change:
    """One edit of an utterance: its stems and its words. `words[first:last]` of the recording are what it is about."""

    edit: str
    before: list[int]
    after: list[int]
    words: list[str]  # of the recording, which for insert and substitute is the target
    first: int
    last: int
    instead: list[str]  # words that stand there on the spliced side; none but for substitute
    put_in: list[int]  # their stem

    @property
    def spliced(self) -> list[str]:
        """The words of the spliced side."""
        return [*self.words[: self.first], *self.instead, *self.words[self.last :]]


def place(scene: Scene, clip: Clip, asked: list[tuple[str, int, Clip | None]], join_db: float,
          chance: Callable[..., np.random.Generator]) -> list[Change | str]:
    """Place a recording in an empty scene, and for each edit asked for the pieces of its spliced side.

    The spliced side is the target of `speech_delete` and the source of the others, so that theirs is the recording.

    Args:
        scene: without stems; gives the rate. Its length is set here, to that of its longest side.
        clip: an utterance.
        asked: for each pair its edit, which one it is of this edit and recording (each is about other words, while
            there are others, see `drawn`), and where words are put in, the recording of the same speaker that they are taken from.
        join_db: no cut is louder than this under the speech.
        chance: gives the generator of some names.

    Returns:
        For each pair what changes, or the reason why it cannot be made.
    """
    words, cuts = from_json(clip.words)
    possible = stretches(words, cuts, join_db)
    fade = round(FADE * scene.sample_rate)
    whole = Stem(clip.clip_id, "speech", "", 0, 0, round(clip.duration * scene.sample_rate), 0, 0)
    scene.stems, changes = [whole], []
    for edit, number, donor in asked:
        if not possible:
            changes.append(f"there is no place to cut that is {-join_db:g} dB under the speech")
            continue
        first, last = drawn(edit, number, words, possible, chance("stretches", clip.clip_id, edit))
        pieces = [(clip, 0, _sample(cuts[first], scene) + fade // 2, 0.0)]
        instead: list[str] = []
        if donor is not None:
            instead, start, end = _donated(donor, words[first:last], join_db, chance("donor", clip.clip_id, number), scene)
            if not instead:
                changes.append("the speaker's other recording has no words that could be put in")
                continue
            pieces.append((donor, start - fade // 2, end + fade - fade // 2, round(clip.lufs - donor.lufs, 3)))
        pieces.append((clip, _sample(cuts[last], scene) - (fade - fade // 2), whole.length, 0.0))
        spliced = list(range(len(scene.stems), len(scene.stems) + len(pieces)))
        scene.stems += _joined(pieces, fade)
        sides = ([0], spliced) if edit == "speech_delete" else (spliced, [0])
        changes.append(Change(edit, *sides, [word.text for word in words], first, last, instead, spliced[1:-1]))
    scene.samples = max(stem.onset + stem.length for stem in scene.stems)
    return changes


def drawn(edit: str, number: int, words: list[Word], possible: list[tuple[int, int]], chance: np.random.Generator) -> tuple[int, int]:
    """The stretch of words [first, last) that one pair of an edit is about: a permutation's, which begins anew after the last.

    Those that begin and end in pauses come first in `speech_delete`, whose target is the spliced side: it is what a model learns to make.
    """
    order = chance.permutation(len(possible))
    if edit == "speech_delete":
        order = sorted(order, key=lambda n: not in_pauses(words, *possible[n]))
    return possible[order[number % len(order)]]


def _joined(pieces: list[tuple[Clip, int, int, float]], fade: int) -> list[Stem]:
    """Stems of clips' stretches [start, end), one after the other, each overlapping the last by a cross-fade."""
    stems, at = [], 0
    for n, (clip, start, end, gain_db) in enumerate(pieces):
        edges = (fade if n else 0, fade if n < len(pieces) - 1 else 0)
        stems.append(Stem(clip.clip_id, "kept" if n in (0, len(pieces) - 1) else "words", "", at, start, end - start, *edges, gain_db))
        at += end - start - fade
    return stems


def _donated(donor: Clip, taken: list[Word], join_db: float, chance: np.random.Generator, scene: Scene) -> tuple[list[str], int, int]:
    """Other words to put in, as many as were taken if there are: their text ([]: there are none), and first and last sample."""
    words, cuts = from_json(donor.words)
    gone = [word.text for word in taken]
    possible = [(a, b) for a, b in stretches(words, cuts, join_db) if [w.text for w in words[a:b]] != gone]
    if not possible:
        return [], 0, 0
    order = chance.permutation(len(possible))
    first, last = min((possible[n] for n in order), key=lambda stretch: abs(stretch[1] - stretch[0] - len(taken)))
    return [word.text for word in words[first:last]], _sample(cuts[first], scene), _sample(cuts[last], scene)


def _sample(cut: Cut, scene: Scene) -> int:
    return round(cut.at * scene.sample_rate)


def spans(scene: Scene, before: list[int], after: list[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where source and target differ, cross-fades included, as samples [start, end) of each; outside they are the same, shifted."""
    spliced = before if len(before) > 1 else after
    head, tail = scene.stems[spliced[0]], scene.stems[spliced[-1]]
    start = head.length - head.fade_out
    there, here = (start, tail.offset + tail.fade_in), (start, tail.onset + tail.fade_in)
    return (here, there) if spliced is before else (there, here)


def joins(scene: Scene, spliced: list[int]) -> list[int]:
    """Samples of the spliced side where its pieces meet: the middles of the cross-fades."""
    return [scene.stems[n].onset + scene.stems[n].fade_in // 2 for n in spliced[1:]]

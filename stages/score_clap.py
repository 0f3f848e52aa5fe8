"""Score by text and audio: does a clip sound like its label, a side of a pair like what is on it, and did the edit do what it says?

| edit | source holds | target holds | gain, on the edited span |
|---|---|---|---|
| add | all labels but the event's | all labels | closer to the event |
| remove | all labels | all labels but the event's | further from the event |
| extract | all labels | the event's label | closer to the event |
| replace, transfer | all labels | all, the new sound's in the old one's place | mean of closer to the new and further from the old |
| generate | nothing | its caption, or its labels | none |

What a side holds are the labels of its stems in one phrase, whatever is said in them; a side without a label has no score.
Edits of speech are about words or voices, which such a model does not know: they have none of these scores.
"""

import contextlib
from dataclasses import replace

import numpy as np

from manifests.clip import Clip
from manifests.errors import Rejected, RunError
from manifests.pair import Pair
from manifests.scene import Rendered
from stages.batches import Watch, in_batches
from stages.engines.protocols import TextAudioScorer
from stages.ingest import Gates
from stages.instruct import labelled

PROMPT = "This is a sound of {}."  # as in the model's own zero-shot classification (Wu et al. 2023, LAION-CLAP)
LABELLED = ("event", "background", "stem")  # roles of clips whose label is held against their sound
HEARD_AS = ("add", "remove", "extract", "replace", "transfer", "generate")  # edits of what has a label; of those that speak, none is listened to
WINDOW = 2.0  # s of a background that are listened to at once
CLEAR = 0.25  # similarity: a background in which no label of its scene is likelier than this is free of them


def score_clips(clips: list[tuple[Clip, np.ndarray]], rate: int, scorer: TextAudioScorer, gates: Gates,
                watch: Watch = contextlib.nullcontext) -> list[tuple[Clip, np.ndarray]]:
    """Hold clips against their labels: `clap_label`; an event under `gates.clap_label` gets a reason.

    Args:
        clips: of one of the roles LABELLED, with a label, and their audio, float32 (channels, samples).
        watch: what stands around a call of the scorer.
    """
    found = _ask(scorer, [(audio, [clip.label]) for clip, audio in clips], rate, watch)
    return [(_judged(clip, likeness, gates.clap_label), audio) for (clip, audio), likeness in zip(clips, found)]


def _judged(clip: Clip, likeness: np.ndarray | None, least: float | None) -> Clip:
    if likeness is None:
        return clip
    clip = replace(clip, clap_label=float(likeness[0]))
    if clip.role == "event" and least is not None and clip.clap_label < least:
        return replace(clip, reason=f"it does not sound like '{clip.label}': CLAP similarity {clip.clap_label:.2f} (at least {least:g})")
    return clip


def score_clap(scenes: list[tuple[Rendered, list[Pair]]], rate: int, scorer: TextAudioScorer, watch: Watch = contextlib.nullcontext) -> None:
    """Fill in `clap_source`, `clap_target`, `clap_gain` and `clap_background` of pairs that were made.

    Sides that siblings share are listened to once.

    Args:
        scenes: rendered, with their pairs; of a soundscape on a background without a label, that stem's audio is still at hand.
        rate: Hz.
    """
    asked: dict[tuple, tuple[np.ndarray, list[str]]] = {}  # what is listened to: the audio, and the texts that it is held against

    def ask(name: tuple, audio: np.ndarray, *texts: str) -> None:
        _, known = asked.setdefault(name, (audio, []))
        known += [text for text in dict.fromkeys(texts) if text and text not in known]

    made = [(rendered, pair) for rendered, pairs in scenes for pair in pairs
            if pair.source is not None and pair.edit in HEARD_AS and rendered.scene.stems[0].role != "speech"]
    for rendered, pair in made:
        x, y = _words(rendered, pair)
        for side, text in zip((pair.source, pair.target), _texts(rendered, pair)):
            ask(_whole(side), side, text)
            ask(_span(side, pair), _cut(side, pair), x, y)
        if rendered.audio:
            for n, window in enumerate(_windows(rendered.audio[0], rate)):
                ask((id(rendered), n), window, *(stem.label for stem in rendered.scene.stems))
    asked = {name: (audio, texts) for name, (audio, texts) in asked.items() if texts}
    found = _ask(scorer, list(asked.values()), rate, watch)
    unheard = {name[0] for name, values in zip(asked, found) if values is None}
    like = {(*name, text): float(value) for (name, (_, texts)), values in zip(asked.items(), found) if values is not None for text, value in zip(texts, values)}
    for rendered, pair in made:
        pair.clap_source, pair.clap_target = (like.get((*_whole(side), text)) for side, text in zip((pair.source, pair.target), _texts(rendered, pair)))
        pair.clap_gain = _gain(pair, *_words(rendered, pair), like)
        if rendered.audio:
            heard = [value for (first, *_), value in like.items() if first == id(rendered)]
            pair.clap_background = max(heard, default=None)
            pair.params["background_checked"] = bool(heard) and max(heard) <= CLEAR and id(rendered) not in unheard


def _gain(pair: Pair, x: str, y: str, like: dict[tuple, float]) -> float | None:
    """How far the edited span moved toward what the instruction asks for; None where that is nothing, or it could not be listened to."""
    if not x:
        return None
    steps = {}
    for text in (x, y):
        before, after = (like.get((*_span(side, pair), text)) for side in (pair.source, pair.target))
        if before is None or after is None:
            return None
        steps[text] = after - before
    if pair.edit in ("replace", "transfer"):
        return (steps[y] - steps[x]) / 2
    return -steps[x] if pair.edit == "remove" else steps[x]


def _texts(rendered: Rendered, pair: Pair) -> tuple[str, str]:
    """What each side is held against."""
    if pair.edit == "generate":
        return "", pair.target_text
    return labelled(rendered.scene, pair.before), labelled(rendered.scene, pair.after)


def _words(rendered: Rendered, pair: Pair) -> tuple[str, str]:
    """Labels of the sound that the edit is about and of what takes its place (if nothing does, the same); "" where nothing is edited, or nothing was there."""
    if not pair.edited or pair.edit == "generate":
        return "", ""
    stems = rendered.scene.stems
    return stems[pair.edited[0]].label, stems[pair.edited[-1]].label


def _whole(side: np.ndarray) -> tuple:
    return id(side), 0, side.shape[1]


def _span(side: np.ndarray, pair: Pair) -> tuple:
    """A side's stretch from the first edited sample to the last."""
    rate = pair.sample_rate
    return id(side), round(pair.edit_spans[0][0] * rate), round(pair.edit_spans[-1][1] * rate)


def _cut(side: np.ndarray, pair: Pair) -> np.ndarray:
    _, start, end = _span(side, pair)
    return side[:, start:end]


def _windows(audio: np.ndarray, rate: int) -> list[np.ndarray]:
    """Stretches of 2 s, the last one up to the end."""
    size = min(audio.shape[1], round(WINDOW * rate))
    starts = [*range(0, audio.shape[1] - size, size), audio.shape[1] - size]
    return [audio[:, start : start + size] for start in starts]


def _ask(scorer: TextAudioScorer, asked: list[tuple[np.ndarray, list[str]]], rate: int, watch: Watch) -> list[np.ndarray | None]:
    """Similarities of recordings, int16 or float32 (channels, samples), with texts each; None where the scorer gives none."""

    def score(some: list[tuple[np.ndarray, list[str]]]) -> list[np.ndarray | Rejected]:
        audio = [a.astype(np.float32) / 32768 if a.dtype == np.int16 else a for a, _ in some]
        return scorer.score(audio, rate, [[PROMPT.format(text) for text in texts] for _, texts in some])

    return [_checked(scorer, values, len(texts)) for values, (_, texts) in zip(in_batches(scorer, asked, score, watch), asked)]


def _checked(scorer: TextAudioScorer, values: np.ndarray | Rejected, count: int) -> np.ndarray | None:
    if isinstance(values, Rejected):
        return None
    if np.shape(values) != (count,):
        raise RunError(f"scorer: {type(scorer).__name__} gave similarities of the shape {np.shape(values)} for {count} texts")
    return np.asarray(values, np.float32) if np.isfinite(values).all() else None

"""Instruct: put an edit into words. Audio-Omni's own wording comes first, then others that say the same."""

from manifests.pair import Pair
from manifests.scene import Scene
from stages.scenes.conversation import ORDINALS
from stages.scenes.utterance import Change

WORDINGS = {
    "add": [
        "Add the sound of '{x}' to the input audio.",
        "Add {x} to this recording.",
        "Mix the sound of {x} into the audio.",
        "I would like to hear {x} in this as well.",
        "Put the sound of {x} on top of what is there.",
        "Insert {x} and leave everything else as it is.",
    ],
    "remove": [
        "Remove the sound of '{x}' from the input audio.",
        "Take {x} out of this recording.",
        "Get rid of the sound of {x}.",
        "Delete {x} and keep everything else.",
        "I do not want to hear {x} here.",
        "Clean this up: no more {x}.",
    ],
    "extract": [
        "Extract the sound of '{x}' from the input audio.",
        "Isolate {x}.",
        "Keep only the sound of {x}.",
        "Give me {x} alone, without the rest.",
        "Let me hear nothing but {x}.",
        "Separate {x} from everything else.",
    ],
    "replace": [
        "Replace the sound of '{x}' with '{y}'.",
        "Swap {x} for {y}.",
        "Put {y} in the place of {x}.",
        "Instead of {x}, let there be {y}.",
        "Take out {x} and put in {y}.",
        "Where there is {x}, I want to hear {y}.",
    ],
    "transfer": [
        "Change the sound of '{x}' to '{y}'.",
        "Play the part of {x} on {y} instead.",
        "Turn {x} into {y}, note for note.",
        "Let {y} play what {x} plays.",
        "Keep the notes of {x}, but with the sound of {y}.",
        "Make {x} sound like {y}.",
    ],
}
SPEECH_WORDINGS = {
    "speech_delete": [
        "Delete {x} from the speech.",
        "Take out {x}.",
        "Cut {x} from what is said.",
        "Remove the words {x} and close the gap.",
        "Edit the recording so that {x} is not said.",
        "Leave {x} out.",
    ],
    "speech_insert": [
        "Insert {x} {place} in the speech.",
        "Add {x} {place}.",
        "Let the speaker say {x} {place}.",
        "Put the words {x} {place}.",
        "Say {x} {place}, in the same voice.",
        "The words {x} are missing {place}: put them in.",
    ],
    "speech_substitute": [
        "Substitute {x} with {y} in the speech.",
        "Replace the words {x} with {y}.",
        "Change what is said from {x} to {y}.",
        "Say {y} instead of {x}.",
        "Where the speaker says {x}, let it be {y}.",
        "Swap the spoken {x} for {y}.",
    ],
}
SPEAKER_WORDINGS = {
    "extract_speaker": [
        "Extract the {x} from the conversation.",
        "Keep only what the {x} says.",
        "Isolate the {x}.",
        "Let me hear nobody but the {x}.",
        "Separate the {x} from everyone else.",
        "Give me the {x} alone.",
    ],
    "remove_speaker": [
        "Remove the {x} from the conversation.",
        "Take the {x} out of this recording.",
        "Mute the {x} and keep everyone else.",
        "I do not want to hear the {x}.",
        "Delete all that the {x} says.",
        "Silence the {x}.",
    ],
}

def instruct(pair: Pair, scene: Scene) -> None:
    """Fill in a pair's label, instruction, all its wordings, and what is heard on each side.

    The label is the edited sound's, as the source named it; a label means that sound wherever it is heard, and no
    two stems of a scene share one.
    """
    x = scene.stems[pair.edited[0]].label
    y = scene.stems[pair.edited[-1]].label
    pair.label = x
    pair.instructions = [wording.format(x=x, y=y) for wording in WORDINGS[pair.edit]]
    pair.instruction = pair.instructions[0]
    pair.source_text, pair.target_text = heard(scene, pair.before), heard(scene, pair.after)


def heard(scene: Scene, stems: list[int]) -> str:
    """The labels of some stems in words; "" if none has one.

    >>> from manifests.scene import Stem
    >>> stems = [Stem("", "event", label, 0, 0, 1, 0, 0) for label in ("rain", "", "dog", "bell")]
    >>> heard(Scene("", "soundscape", "", 8000, 1, 1, stems), [0, 1, 2, 3])
    'rain, dog and bell'
    """
    labels = [scene.stems[i].label for i in stems if scene.stems[i].label]
    return " and ".join(filter(None, [", ".join(labels[:-1]), *labels[-1:]]))


def instruct_speech(pair: Pair, change: Change) -> None:
    """Fill in a pair's label, instruction, all its wordings, and what is said on each side.

    The label is the words that the edit is about, as they stand in the source (of `speech_insert`: in the target).
    """
    first, last, insert = change.first, change.last, pair.edit == "speech_insert"
    words, spliced = change.words, change.spliced
    source, target = (words, spliced) if pair.edit == "speech_delete" else (spliced, words)
    gone = words[first:last] if pair.edit == "speech_delete" else change.instead
    come = words[first:last]
    x = f"'{' '.join(come)}'" if insert else named(source, first, len(gone))
    y = f"'{' '.join(come)}'"
    pair.label = " ".join(come if insert else gone)
    pair.instructions = [wording.format(x=x, y=y, place=beside(source, first)) for wording in SPEECH_WORDINGS[pair.edit]]
    pair.instruction = pair.instructions[0]
    pair.source_text, pair.target_text = " ".join(source), " ".join(target)


def instruct_speaker(pair: Pair, scene: Scene) -> None:
    """Fill in a pair's label, the speaker by order of appearance, instruction and all its wordings."""
    pair.label = scene.stems[pair.edited[0]].label
    pair.instructions = [wording.format(x=pair.label) for wording in SPEAKER_WORDINGS[pair.edit]]
    pair.instruction = pair.instructions[0]


def named(words: list[str], first: int, count: int) -> str:
    """Words of a sentence in quotes, told by their order where they are said more than once.

    >>> named("five or five".split(), 2, 1)
    "the second 'five'"
    >>> named("he said no".split(), 1, 2)
    "'said no'"
    """
    phrase = words[first : first + count]
    places = [n for n in range(len(words) - count + 1) if words[n : n + count] == phrase]
    quoted = f"'{' '.join(phrase)}'"
    if len(places) == 1:
        return quoted
    nth = places.index(first) + 1
    if nth <= len(ORDINALS):
        return f"the {ORDINALS[nth - 1]} {quoted}"
    return f"the {nth}{'th' if nth % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(nth % 10, 'th')} {quoted}"


def beside(words: list[str], at: int) -> str:
    """Where in a sentence something comes in, by its neighbour.

    >>> beside("he said no".split(), 1), beside("he said no".split(), 0)
    ("after 'he'", "before 'he'")
    """
    return f"after {named(words, at - 1, 1)}" if at else f"before {named(words, 0, 1)}"

"""Instruct: put an edit into words. Audio-Omni's own wording comes first, then others that say the same."""

from manifests.pair import Pair
from manifests.scene import Scene

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

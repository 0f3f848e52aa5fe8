"""Solo: one clip alone, which a pair makes out of silence, or into another sound."""

import numpy as np

from manifests.clip import Clip
from manifests.scene import Scene, Stem

FADE = 0.010  # s, at both ends; what is said has none: it begins and ends with its words


def place(scene: Scene, clip: Clip, follower: Clip | None, chance: np.random.Generator) -> Scene:
    """Place a clip in an empty scene.

    An event is heard whole, wherever it falls; of a background, a stretch as long as the scene; of an utterance all, and the scene is as long as that.

    Args:
        scene: without stems; gives length and rate, and takes an utterance's length.
        clip: an event, a background or an utterance.
        follower: what an event is made into, as loud at each time; at least as long, which is cut.
        chance: the scene's generator.
    """
    whole, spoken = round(clip.duration * scene.sample_rate), clip.role == "utterance"
    if spoken:
        scene.samples = whole
    length = min(whole, scene.samples)
    onset, offset = (int(chance.integers(0, spare + 1)) for spare in (scene.samples - length, whole - length))
    fade = 0 if spoken else min(round(FADE * scene.sample_rate), length // 4)
    scene.stems = [Stem(clip.clip_id, "speech" if spoken else clip.role, clip.label, onset, offset, length, fade, fade)]
    if follower is not None:
        long = min(round(follower.duration * scene.sample_rate), length)
        scene.stems.append(Stem(follower.clip_id, "other", follower.label, onset, 0, long, fade, fade, place_of=0, follows=True))
    return scene

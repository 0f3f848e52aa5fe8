"""A piece: tracks of one piece of music, cut at the same place."""

import numpy as np

from manifests.clip import Clip
from manifests.scene import Scene, Stem

FADE = 0.020  # s, at both ends of the cut


def place(scene: Scene, tracks: list[Clip], others: dict[int, Clip], chance: np.random.Generator) -> Scene:
    """Place the tracks of a piece in an empty scene.

    Args:
        scene: without stems; gives length and rate.
        tracks: of one piece, all of one length, at least the scene's.
        others: by index of `tracks`, the same notes by another program.
        chance: the scene's generator.

    Returns:
        The scene with its stems: tracks, then others.
    """
    shortest = min(round(clip.duration * scene.sample_rate) for clip in [*tracks, *others.values()])
    offset = int(chance.integers(0, shortest - scene.samples + 1))
    fade = round(FADE * scene.sample_rate)
    scene.stems = [Stem(clip.clip_id, "track", clip.label, 0, offset, scene.samples, fade, fade) for clip in tracks]
    for index, clip in sorted(others.items()):
        scene.stems.append(Stem(clip.clip_id, "other", clip.label, 0, offset, scene.samples, fade, fade, place_of=index))
    return scene

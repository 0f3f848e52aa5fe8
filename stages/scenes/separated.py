"""A separated recording: its stems, which sum to it; or a stem of one recording over another that is left as it is."""

import numpy as np

from manifests.clip import Clip
from manifests.scene import Scene, Stem
from stages.scenes.soundscape import draw_snr


def place(scene: Scene, stems: list[Clip], chance: np.random.Generator) -> Scene:
    """Place the stems of one recording, without fades, so that they sum to the recording as it was.

    Args:
        scene: without stems; gives length and rate.
        stems: of one stretch of a recording, all of one length, at least the scene's.
        chance: the scene's generator.
    """
    offset = _offset(scene, stems, chance)
    scene.stems = [Stem(clip.clip_id, "track" if clip.label else "rest", clip.label, 0, offset, scene.samples, 0, 0) for clip in stems]
    return scene


def remix(scene: Scene, background: Clip, stem: Clip, chance: np.random.Generator) -> Scene:
    """Place a stem over another recording, all through the scene, so that taking it out leaves that recording untouched."""
    ground = Stem(background.clip_id, "background", background.label, 0, _offset(scene, [background], chance), scene.samples, 0, 0)
    over = Stem(stem.clip_id, "track", stem.label, 0, _offset(scene, [stem], chance), scene.samples, 0, 0, snr_db=round(draw_snr(chance), 3))
    scene.stems = [ground, over]
    return scene


def _offset(scene: Scene, clips: list[Clip], chance: np.random.Generator) -> int:
    shortest = min(round(clip.duration * scene.sample_rate) for clip in clips)
    return int(chance.integers(0, shortest - scene.samples + 1))

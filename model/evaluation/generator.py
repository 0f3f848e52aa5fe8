"""The model, and its codec alone, as systems that are judged."""

import numpy as np
import torch

from manifests.errors import Rejected
from model import windows
from model.editor import Editor
from model.evaluation.task import Task
from model.recording import Recording, fitted, groups, resampled


def editing(editor: Editor, steps: int | None = None, guidance: float | None = None, seed: int = 0, shift: float | None = None):
    """The system that edits the source after the pair's first wording, or makes the target of silence; settings are those of `Editor.edit`.

    It has no output of the length of a target that is longer than what is made at once (Rejected).
    """
    settings = {"steps": steps, "guidance": guidance, "seed": seed, "shift": shift}
    most = editor.model.sizes.latent_frames * editor.model.sizes.downsampling / editor.rate

    def edited(task: Task) -> Recording:
        if task.edit != "generate":
            return editor.edit(task.source, task.facts["instruction"], rate=task.rate, **settings)
        if (seconds := task.target.shape[1] / task.rate) > most:
            raise Rejected(f"its target is {seconds:.2f} s long, and the model makes {most:.2f} s at once")
        if task.speaks and editor.model.sizes.conditioners.speech_prompt is not None:
            return editor.speak(task.facts["target_text"], seconds=seconds, **settings)
        return editor.generate(task.facts["instruction"], seconds, "music" if task.facts["domain"] == "music" else "sound", **settings)

    return edited


def codec_of(editor: Editor):
    """The system that takes the target through the model's codec and back: no edit of this model can be better."""
    model, device = editor.model, editor.mllm.device
    window = model.sizes.latent_frames * model.sizes.downsampling

    @torch.inference_mode()
    def round_trip(task: Task) -> Recording:
        turns = groups(len(task.target), editor.channels)
        audio = resampled(task.target, task.rate, editor.rate)[turns.ravel()]
        begins = windows.starts(audio.shape[1], window, model.sizes.downsampling)
        pieces = (torch.from_numpy(windows.cut(audio, begin, window)).to(device).unflatten(0, turns.shape) for begin in begins)
        made = windows.join((model.decode(model.encode(piece)).flatten(0, 1).cpu().numpy() for piece in pieces), begins, audio.shape[1])
        made = np.stack([made[turns.ravel() == channel].mean(axis=0) for channel in range(len(task.target))])
        return Recording(fitted(resampled(made, editor.rate, task.rate), task.target.shape[1]), task.rate)

    return round_trip

"""The model, and its codec alone, as systems that are judged."""

import numpy as np
import torch

from model import windows
from model.editor import Editor
from model.evaluation.task import Task
from model.recording import Recording, fitted, groups, resampled


def editing(editor: Editor, steps: int | None = None, guidance: float | None = None, seed: int = 0, shift: float = 1.0):
    """The system that edits the source after the pair's first wording; settings are those of `Editor.edit`."""

    def edited(task: Task) -> Recording:
        return editor.edit(task.source, task.facts["instruction"], rate=task.rate, steps=steps, guidance=guidance, seed=seed, shift=shift)

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

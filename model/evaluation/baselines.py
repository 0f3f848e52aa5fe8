"""What stands beside every model: systems that understand nothing, or that are told the answer."""

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from model.evaluation.task import Task
from model.recording import Recording

TAKEN_OUT, KEPT_ALONE = ("remove", "remove_speaker"), ("extract", "extract_speaker")  # edits after which a part of the source is left
WINDOW = 2048  # samples


def copy(task: Task) -> Recording:
    """The source as it is."""
    return Recording(task.source, task.rate)


def silence(task: Task) -> Recording:
    return Recording(np.zeros_like(task.target), task.rate)


def time_gate(task: Task) -> Recording | None:
    """The source muted where the edit is, or everywhere else: what one gets who knows when, and not what. Of edits that only take away."""
    if task.edit not in (*TAKEN_OUT, *KEPT_ALONE):
        return None
    return Recording(task.source * (task.edited("source") == (task.edit in KEPT_ALONE)), task.rate)


def ideal_ratio_mask(task: Task) -> Recording | None:
    """The source through the mask |T| / (|T| + |S - T|) of its short-time spectrum: what a mask can give at best. Of edits that only take away."""
    if task.edit not in (*TAKEN_OUT, *KEPT_ALONE):
        return None
    stft = ShortTimeFFT(hann(WINDOW, sym=False), WINDOW // 4, task.rate)
    samples = task.source.shape[1]
    source, target = (stft.stft(np.pad(side, ((0, 0), (0, max(0, WINDOW - samples))))) for side in (task.source, task.target))
    kept, lost = np.abs(target), np.abs(source - target)
    masked = source * np.divide(kept, kept + lost, out=np.zeros_like(kept), where=kept + lost > 0)
    return Recording(stft.istft(masked, k1=max(samples, WINDOW))[:, :samples].astype(np.float32), task.rate)


BASELINES = {"copy": copy, "silence": silence, "time_gate": time_gate, "ideal_ratio_mask": ideal_ratio_mask}

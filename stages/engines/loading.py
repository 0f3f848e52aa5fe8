"""What engines that load a checkpoint share: where it lies, which device it runs on, what audio it is given."""

import os

import numpy as np
import soxr

from manifests.errors import RequestError


def checkpoint(option: str, name: str) -> str:
    """The name of a checkpoint, once it is sure that a local one is there.

    Args:
        option: of the engine, for the message.
        name: a path, told by what it begins with (/, ./, ../), or a name on a model hub.

    Raises:
        RequestError: it is a path at which nothing lies.
    """
    if name.startswith(("/", "./", "../")) and not os.path.exists(name):
        raise RequestError(f"{option}: there is no checkpoint at {name}; put it there, or give the name that it has on its hub")
    return name


def device(wanted: str) -> str:
    """The torch device to use: of "auto", the GPU that this process may see, else the CPU.

    Raises:
        RequestError: a GPU is asked for by name and none is there.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise RequestError("device: cuda is asked for and this process sees no GPU; give the stage one in resources, or set device: auto")
    return wanted


def mono(audio: np.ndarray, rate: int, to: int) -> np.ndarray:
    """The mean of all channels at another rate: float32 (samples,)."""
    mixed = audio.mean(axis=0, dtype=np.float32)
    return mixed if rate == to else soxr.resample(mixed, rate, to)

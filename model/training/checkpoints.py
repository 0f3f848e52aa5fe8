"""A training's checkpoints: MODEL folders with the trainer's state beside the weights. There whole or not at all, and only the last few."""

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch.distributed.checkpoint as dcp
from torch import Tensor, nn, optim
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from model import folder
from model.audio_omni import AudioOmni
from model.training.average import Average
from model.training.config import Lora
from model.training.lora import merged
from model.training.parallel import Group, whole

OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)
CHECKPOINTS = "checkpoints"
STATE = "state"  # torch's distributed checkpoint, so that another number of processes can go on from it


def last(folder: str | Path) -> Path | None:
    """The last checkpoint of a training's folder."""
    return max((Path(folder) / CHECKPOINTS).glob("step-*"), default=None)


class Checkpoints:
    """Of a training's folder, which all of the group see.

    Args:
        folder: of the training.
        group: who writes together.
        keep: how many stay.
    """

    def __init__(self, folder: Path, group: Group, keep: int):
        self.path, self.group, self.keep = folder / CHECKPOINTS, group, keep
        if group.first:
            self.path.mkdir(parents=True, exist_ok=True)
            for left in self.path.glob(".*"):  # by a process that was killed
                shutil.rmtree(left)
        group.wait()

    def steps(self) -> list[int]:
        """Those that there are, in order."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.path.glob("step-*"))

    def of(self, step: int) -> Path:
        return self.path / f"step-{step:08d}"

    def save(self, step: int, model: AudioOmni, weights: dict[str, Tensor], trained: nn.Module, optimizer: optim.Optimizer, average: Average) -> Path:
        """Write one, and remove those that are too many.

        Args:
            step: after which.
            model: whose sizes, codec and vocabulary go with the weights.
            weights: as the MODEL folder is to have them; those of the first of the group count.
            trained, optimizer, average: the state.
        """
        aside = self.path / f".step-{step:08d}"
        if self.group.first:
            folder.write(aside, model.sizes, weights, model.codec, model.vocabulary)
        self.group.wait()
        with _quiet():
            dcp.save(_state(trained, optimizer, average), checkpoint_id=aside / STATE, no_dist=self.group.count == 1)
        self.group.wait()
        if self.group.first:
            os.replace(aside, self.of(step))
            for old in self.steps()[: -self.keep]:
                shutil.rmtree(self.of(old))
        self.group.wait()
        return self.of(step)

    def restore(self, step: int, trained: nn.Module, optimizer: optim.Optimizer, average: Average) -> None:
        """Put the state of one into what is given."""
        state = _state(trained, optimizer, average)
        with _quiet():
            dcp.load(state, checkpoint_id=self.of(step) / STATE, no_dist=self.group.count == 1)
        set_state_dict(trained, optimizer, model_state_dict=state["weights"], optim_state_dict=state["optimizer"], options=OPTIONS)
        for name, held in average.held.items():
            held.copy_(state["average"][name])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of its own code, and of there being one process."""
    with warnings.catch_warnings():
        for known in ("TypedStorage is deprecated", "torch.distributed is disabled"):
            warnings.filterwarnings("ignore", known)
        yield


def _state(trained: nn.Module, optimizer: optim.Optimizer, average: Average) -> dict:
    weights, moments = get_state_dict(trained, optimizer, options=OPTIONS)
    return {"weights": weights, "optimizer": moments, "average": average.held}


def model_weights(model: AudioOmni, average: Average, lora: Lora | None, first: bool) -> dict[str, Tensor]:
    """Of a MODEL folder: the average of what is trained, and the rest as it is; all of the group must ask, and only its first is given them."""
    weights = {}
    for name, weight in model.weights().items():
        put_together = whole(average.held.get(name, weight))
        if first:
            weights[name] = put_together
    return merged(weights, lora) if lora is not None and first else weights

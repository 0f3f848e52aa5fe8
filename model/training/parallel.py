"""Processes that train together. The model knows nothing of it: copies or shares of it are made from outside."""

import contextlib
import functools
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.training.objective import Objective


@dataclass(frozen=True)
class Group:
    """This process among those that train together: as torch.distributed has it, or alone."""

    rank: int
    count: int
    device: torch.device

    @classmethod
    def here(cls, device: torch.device | None = None) -> "Group":
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return cls(dist.get_rank(), dist.get_world_size(), device) if dist.is_initialized() else cls(0, 1, device)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            dist.barrier()

    def share(self, value: Tensor) -> None:
        """The first one's, with all."""
        if self.count > 1:
            dist.broadcast(value, 0)

    def mean(self, value: Tensor) -> Tensor:
        """Over all."""
        if self.count > 1:
            dist.all_reduce(value)
            value /= self.count
        return value

    def sums(self, counts: list[float]) -> list[float]:
        """Of numbers over all."""
        if self.count == 1:
            return counts
        total = torch.tensor(counts, dtype=torch.float64, device=self.device if self.device.type == "cuda" else "cpu")
        dist.all_reduce(total)
        return total.tolist()


def spread(objective: Objective, group: Group, kind: str, checkpoint_activations: bool, compile: bool) -> nn.Module:
    """The objective made ready to be trained by a group.

    Args:
        kind: "ddp", whole copies; "fsdp", weights shared out (FSDP2; Zhao et al. 2023).
        checkpoint_activations: compute a layer's activations again in the backward pass (Chen et al. 2016).
        compile: let torch compile the DiT.
    """
    dit = objective.model.dit
    if checkpoint_activations:
        for layer in dit.layers:
            layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
    if compile:
        dit.compile_layers()
    if group.count == 1:
        return objective
    return _shared(objective) if kind == "fsdp" else nn.parallel.DistributedDataParallel(objective)


def _shared(objective: Objective) -> Objective:
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    for layer in objective.model.dit.layers:
        fully_shard(layer.cross_attention)  # by itself: its keys and values are made before the layer runs
        register_fsdp_forward_method(layer.cross_attention, "keys_values")
        fully_shard(layer)
    # One root for the rest but the codec: it gives tensors, on which the backward pass hangs; the conditioners alone give a dataclass, into which FSDP does
    # not see. Given back after each forward, which torch does not do for roots: else weights put in their place meanwhile would not count.
    fully_shard(objective, ignored_params=set(objective.model.codec.parameters()), reshard_after_forward=True)
    for module in objective.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)  # and divide: asked for an average, gloo gives the sum
    return objective


def apart(objective: nn.Module, last: bool) -> contextlib.AbstractContextManager:
    """Where a step has several turns, copies put their gradients together in the last alone."""
    if isinstance(objective, nn.parallel.DistributedDataParallel) and not last:
        return objective.no_sync()
    return contextlib.nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A weight on the CPU, put together from its shares; all of the group must ask."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).cpu()

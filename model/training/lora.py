"""Low-rank additions to the DiT's attention (Hu et al. 2021), by peft: all else stays as it is, and a MODEL folder holds the sums."""

import torch
from torch import Tensor

from model.audio_omni import AudioOmni
from model.training.config import Lora

TARGETS = ["qkv", "q", "kv", "self_attention.out", "cross_attention.out"]


def add(model: AudioOmni, lora: Lora, seed: int) -> None:
    """Put additions that begin at nothing, one of their factors drawn by a seed, into the DiT's attention, and freeze all else."""
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=TARGETS), model.dit)


def merged(weights: dict[str, Tensor], lora: Lora) -> dict[str, Tensor]:
    """Weights of a model with additions as those of one without: W + alpha / rank · B A, under W's own name."""
    found = {}
    for name, weight in weights.items():
        if ".lora_" in name:
            continue
        base = name.removesuffix(".base_layer.weight")
        if base != name:
            down, up = (weights[f"{base}.lora_{side}.default.weight"] for side in "AB")
            name, weight = f"{base}.weight", weight + lora.alpha / lora.rank * up @ down
        found[name] = weight
    return found

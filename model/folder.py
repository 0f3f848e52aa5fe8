"""A MODEL folder: config.json, model.safetensors (in pieces of 5 GB, with an index), codec/ in diffusers' own format, vocab.txt. No weights of the MLLM."""

import json
import os
import shutil
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from manifests.errors import RequestError
from model import checkpoint
from model.codec import Oobleck
from model.conditioners import Conditioners
from model.dit import DiT
from model.mdct import Mdct
from model.sizes import Sizes
from model.speech_text import Vocabulary

CONFIG, WEIGHTS, INDEX, VOCABULARY, CODEC = "config.json", "model.safetensors", "model.safetensors.index.json", "vocab.txt", "codec"


def write(folder: str | Path, sizes: Sizes, weights: dict[str, Tensor], codec: Oobleck | Mdct, vocabulary: Vocabulary | None, largest: str = "5GB") -> None:
    """Write a MODEL folder, aside first, so that it is there whole or not at all.

    Args:
        folder: must not exist, or be empty.
        weights: `dit.…` and `conditioners.…`, as `modules` names them.
        largest: size of one file of weights.

    Raises:
        RequestError: the folder exists and holds something.
    """
    folder = vacant(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    aside.mkdir(parents=True)
    try:
        save_torch_state_dict(weights, aside, max_shard_size=largest)
        if isinstance(codec, Oobleck):
            codec.save(aside / CODEC)
        if vocabulary is not None:
            vocabulary.save(aside / VOCABULARY)
        (aside / CONFIG).write_text(sizes.to_json(), encoding="utf-8")
        os.replace(aside, folder)  # over an empty folder too
    except BaseException:
        shutil.rmtree(aside)
        raise


def vacant(folder: str | Path) -> Path:
    """The folder in full. Raises RequestError where it exists and holds something."""
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} exists already and is not empty")
    return folder


def read_sizes(folder: str | Path) -> Sizes:
    """Raises RequestError where it is not a MODEL folder, or its config.json is wrong."""
    path = Path(folder) / CONFIG
    try:
        return Sizes.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{folder} is not a MODEL folder: {error}") from None


def read_vocabulary(folder: str | Path, sizes: Sizes) -> Vocabulary | None:
    """None where the model has no speech conditioner. Raises RequestError where it is missing, or another than the model's."""
    if sizes.conditioners.speech_prompt is None:
        return None
    vocabulary = Vocabulary(Path(folder) / VOCABULARY)
    if len(vocabulary) != sizes.conditioners.speech_prompt.vocabulary:
        raise RequestError(f"{folder}/{VOCABULARY} has {len(vocabulary)} lines, the model {sizes.conditioners.speech_prompt.vocabulary}")
    return vocabulary


def modules(sizes: Sizes, device: str | torch.device = "cpu") -> nn.ModuleDict:
    """`dit` and `conditioners`, untrained; on the device "meta" without memory."""
    with torch.device(device):
        return nn.ModuleDict({"dit": DiT(sizes.dit), "conditioners": Conditioners(sizes.conditioners)})


def read(folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> nn.ModuleDict:
    """`dit` and `conditioners` with their weights, in eval mode; codec, vocabulary and MLLM are read by themselves.

    Raises:
        RequestError: no MODEL folder, or weights that are missing, damaged or of other sizes.
    """
    both = modules(read_sizes(folder), "meta")
    held = _tensors(Path(folder), device)
    wanted = {name: tuple(tensor.shape) for name, tensor in both.state_dict().items()}
    checkpoint.check({name: tuple(tensor.shape) for name, tensor in held.items()}, wanted, str(folder))
    both.load_state_dict(held, assign=True)
    both["dit"].cast(dtype)
    both["conditioners"].to(dtype)
    return both.eval()


def _tensors(folder: Path, device: str | torch.device) -> dict[str, Tensor]:
    try:
        files = [WEIGHTS]
        if (folder / INDEX).exists():
            files = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
        return {name: tensor for file in files for name, tensor in load_file(folder / file, device=str(device)).items()}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"cannot read the weights in {folder}: {error}") from None

"""Tensors by name from a file that others wrote, and whether they are those that are wanted."""

import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from manifests.errors import RequestError

TOLD = 20  # names of each fault; more are only counted


def read(path: str | Path, but: str | None = None) -> dict[str, Tensor]:
    """All tensors but those whose names begin with `but`, on the CPU; those of a .ckpt stay in the file until they are used, where its format allows.

    Args:
        path: `.safetensors`, or else what torch.save wrote, of which nothing but tensors is let in; a table of them, or one under "state_dict".

    Raises:
        RequestError: the file is missing, damaged or holds something else.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys() if but is None or not name.startswith(but)}
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (OSError, EOFError, RuntimeError, SafetensorError) as error:
        raise RequestError(f"cannot read the checkpoint {path}: {(str(error).strip() or type(error).__name__).splitlines()[0]}") from None
    except Exception:  # bytes that are no pickle make an unpickler raise anything
        raise RequestError(f"the checkpoint {path} is damaged, or holds more than tensors") from None
    held = held.get("state_dict", held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in held.items()):
        raise RequestError(f"the checkpoint {path} is not a table of tensors by name")
    return {name: tensor for name, tensor in held.items() if but is None or not name.startswith(but)}


def check(found: dict[str, tuple], wanted: dict[str, tuple], where: str) -> None:
    """Compare shapes by name.

    Raises:
        RequestError: with the tensors that are missing, unexpected or of another shape.
    """
    wrong = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [f"{name} {found[name]} (wanted {wanted[name]})" for name in wanted if found.get(name, wanted[name]) != wanted[name]],
    }
    told = [f"{len(names)} {fault}: " + ", ".join(names[:TOLD]) + ", …" * (len(names) > TOLD) for fault, names in wrong.items() if names]
    if told:
        raise RequestError(f"the tensors in {where} are not those of its configuration; " + "; ".join(told))

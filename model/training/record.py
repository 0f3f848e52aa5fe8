"""What a training's folder says of it: train.json. Another training does not go on there."""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from manifests.errors import RequestError
from model.training.config import TrainConfig

RECORD, LOCK = "train.json", ".lock"
PATIENCE = 30.0  # s
LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of file systems without
FREE = {"steps", "workers", "ranks", "every", "keep", "listen", "listen_steps", "copying", "bad_steps", "compile",
        "checkpoint_activations"}  # may be changed on the way


def check(folder: Path, config: TrainConfig, data: dict[str, float], init: str | Path | None, keys: set[str] | None, samples: int) -> None:
    """That a folder holds nothing, or this training.

    Raises:
        RequestError: it holds another training, with what differs, or something else.
    """
    path = folder / RECORD
    if path.exists():
        record, held = _record(config, data, init, keys, samples), json.loads(path.read_text(encoding="utf-8"))
        differs = [name for name, value in record["config"].items() if name not in FREE and held["config"].get(name) != value]
        differs += [name for name in ("data", "init", "select", "samples") if held[name] != record[name]]
        if differs:
            raise RequestError(f"{folder} holds another training: {', '.join(differs)} differ; go on with its own configuration, or give another folder")
    elif folder.exists() and (not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())):
        raise RequestError(f"{folder} exists already and holds no training")


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep others from training in a folder meanwhile, where its file system has locks.

    It is free again when this process ends, however it does; those of a killed training take seconds.

    Raises:
        RequestError: another process trains there, and went on for as long as one that lost its driver would.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w") as file:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise RequestError(f"{folder}: another process is training there; wait for it, or give another folder") from None
                time.sleep(0.2)
            except OSError as error:
                if error.errno not in LOCKLESS:
                    raise
                break
        yield


def write(folder: Path, config: TrainConfig, data: dict[str, float], init: str | Path | None, keys: set[str] | None, samples: int) -> None:
    """Put down what a training is."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{RECORD}"
    aside.write_text(json.dumps(_record(config, data, init, keys, samples), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, folder / RECORD)


def _record(config: TrainConfig, data: dict[str, float], init: str | Path | None, keys: set[str] | None, samples: int) -> dict:
    return {"config": config.model_dump(mode="json"), "data": data, "init": None if init is None else str(init),
            "select": None if keys is None else sorted(keys), "samples": samples, "torch": torch.__version__}

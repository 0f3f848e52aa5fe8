"""What can be refused of a training before any weight is read: sizes, data and folder that do not fit each other, and samples that are left out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from manifests.errors import RequestError
from manifests.storage import Storage
from model.folder import CODEC, read_sizes
from model.sizes import Sizes
from model.training import encode, record
from model.training.config import TrainConfig
from model.training.shards import Shards


def check(
    config: TrainConfig, data: dict[str, float], folder: str | Path, init: str | Path | None = None, keys: set[str] | None = None
) -> tuple[Sizes, Shards, np.ndarray]:
    """What can be refused before any weight is read: sizes of the model, samples to train on, and how often each is drawn. See `model.train.train`."""
    if (init is None) == (config.model is None):
        raise RequestError("a model to begin with is given, and the configuration has sizes of a fresh one (model); leave one of the two out" if init else
                           "the configuration has no sizes (model) of a fresh model, and none to begin with is given (--init MODEL)")
    if config.lora is not None and init is None:
        raise RequestError("lora: additions want a model to begin with (--init MODEL)")
    sizes = config.model or read_sizes(init)
    if init is None and (sizes.codec["kind"] == "oobleck" or sizes.conditioners.speech_prompt is not None):
        raise RequestError("model: an oobleck codec has to be trained already, and words to say want a vocabulary: begin with a model that has them "
                           "(--init MODEL)")
    encoded = [run for run in data if encode.check(Storage(run), sizes, None if init is None else Path(init) / CODEC)]
    if encoded and len(encoded) < len(data):
        raise RequestError(f"--data: {encoded[0]} is encoded and others are not; encode all or none of them")
    shards = Shards(list(data), "train", keys)
    record.check(Path(folder), config, data, init, keys, len(shards))
    weights = np.array(list(data.values()))[shards.run]
    for column, given in ((shards.edit, config.weights.edits), (shards.domain, config.weights.domains)):
        for name, weight in given.items():
            weights[column == name] *= weight
    if not weights.any():
        raise RequestError("the weights leave no sample to train on")
    for left, why in left_out(config, sizes, shards):
        weights[left] = 0
        if not weights.any():
            raise RequestError(f"no sample is left to train on: {why}")
    return sizes, shards, weights


def left_out(config: TrainConfig, sizes: Sizes, shards: Shards) -> Iterator[tuple[np.ndarray, str]]:
    """Which samples (samples,) are not trained on, and why, for each reason that there is."""
    window = sizes.edit_window / sizes.sample_rate
    for tier in sorted(set(shards.tier) - set(config.tiers)):
        left = shards.tier == tier
        yield left, f"{left.sum()} of {len(left)} samples are of tier {tier}, which is not among tiers ({', '.join(config.tiers)})"
    if (left := shards.speaks & (shards.duration > window)).any():
        yield left, f"{left.sum()} of {len(left)} samples say more than fits into the model's window of {window:.1f} s"

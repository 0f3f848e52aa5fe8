"""A configuration that trains in seconds on one thread."""

import pytest
import torch
from tiny_model import sizes

from model.tiny_mllm import TINY
from model.training.config import TrainConfig


@pytest.fixture(autouse=True)
def one_core():
    """What several threads sum up comes out in the last bits as they happen to share it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config():
    def make(**changes) -> TrainConfig:
        given = {"model": sizes(TINY, mel=False, speech=False, video=False), "steps": 4, "batch": 4, "learning_rate": 1e-3, "warmup": 2, "workers": 0,
                 "every": {"log": 1, "val": 0, "listen": 0, "checkpoint": 2}, **changes}
        return TrainConfig.model_validate(given)

    return make

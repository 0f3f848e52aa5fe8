"""A configuration that trains in seconds on one thread."""

import pytest
from tiny_model import sizes

from model.tiny_mllm import TINY
from model.training.config import TrainConfig


@pytest.fixture(autouse=True)
def summed_in_one_order(one_thread):
    """What several threads sum up comes out in the last bits as they happen to share it."""


@pytest.fixture
def config():
    def make(**changes) -> TrainConfig:
        given = {"model": sizes(TINY, mel=False, speech=False, video=False, pooled=8), "steps": 4, "batch": 4, "learning_rate": 1e-3, "warmup": 2, "workers": 0,
                 "every": {"log": 1, "val": 0, "listen": 0, "checkpoint": 2}, **changes}
        return TrainConfig.model_validate(given)

    return make

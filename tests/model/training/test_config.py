"""Configurations of trainings: those that come with the project, and what is wrong with others."""

from pathlib import Path

import pytest

from manifests.errors import RequestError
from manifests.strict import load
from model.folder import modules
from model.training.config import TrainConfig

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "configs/train").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_comes_with_the_project_can_be_built(path):
    config = load(str(path), [], TrainConfig)
    if config.model is not None:
        assert sum(weight.numel() for weight in modules(config.model, "meta").parameters()) > 5e6
        assert config.model.window % config.model.downsampling == 0
        assert config.model.dit.width >= config.model.dit.latent_channels, "no velocity can be told exactly"


@pytest.mark.parametrize(("change", "fault"), [
    ("step=3", "step: unknown key; did you mean 'steps'"), ("model.dit.widht=3", "model.dit.widht: unknown key; did you mean 'width'"),
    ("batch=7 # ", "batch: 7 samples do not part evenly"), ("ema=1", "ema: less than 1"), ("learning_rate=-1", "learning_rate: .* greater than 0"),
    ("weights.edits.remuve=2", "weights.edits.remuve"), ("model.dit.width=30", "does not part into 4 heads"), ("ranks.parallel=tp", "ranks.parallel"),
])
def test_what_is_wrong_is_one_line(change, fault):
    changes = [change.removesuffix(" # "), *(["ranks.count=2"] if "#" in change else [])]
    with pytest.raises(RequestError, match=fault) as caught:
        load(str(ROOT / "configs/train/tiny.yaml"), changes, TrainConfig)
    assert "\n" not in str(caught.value)

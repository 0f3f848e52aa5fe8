"""The model and its codec as systems: of the pair's shape, at whatever rate and channels the model has."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from made_pairs import RATE, background, task, tone  # noqa: E402
from tiny_model import make_echo  # noqa: E402

from model.editor import Editor  # noqa: E402
from model.evaluation.distances import si_sdr  # noqa: E402
from model.evaluation.generator import codec_of, editing  # noqa: E402
from model.evaluation.task import Task  # noqa: E402
from model.recording import resampled  # noqa: E402
from model.tiny_mllm import make_tiny_thinker  # noqa: E402


@pytest.fixture(scope="module")
def thinker(tmp_path_factory) -> str:
    return make_tiny_thinker(tmp_path_factory.mktemp("thinker"))


@pytest.fixture(scope="module", params=[1, 2])
def echo(request, tmp_path_factory, thinker, one_thread) -> Editor:
    """Its edit gives back the source."""
    return Editor.from_pretrained(make_echo(tmp_path_factory.mktemp("echo"), thinker, request.param), device="cpu")


def pair(channels: int = 1, rate: int = RATE) -> Task:
    source, target = background() + tone(600, 1, 2), background()
    made = task("remove", *(np.repeat(resampled(side, RATE, rate), channels, axis=0) for side in (source, target)), [[1.0, 2.0]])
    return Task(made.source, made.target, rate, made.facts)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_codec_gives_back_the_target(echo, channels):
    asked = pair(channels)
    made, rate = codec_of(echo)(asked)
    assert rate == RATE and made.shape == asked.target.shape and si_sdr(made, asked.target) > 60


def test_at_another_rate_it_gives_what_its_own_rate_holds(echo):
    asked = pair(rate=44_100)
    made, rate = codec_of(echo)(asked)
    assert rate == 44_100 and made.shape == asked.target.shape and 10 < si_sdr(made, asked.target) < 60


def test_the_model_edits_the_source(echo):
    asked = pair()
    made, rate = editing(echo, steps=1, guidance=1.0)(asked)
    assert rate == RATE and made.shape == asked.source.shape and si_sdr(made, asked.source) > 40

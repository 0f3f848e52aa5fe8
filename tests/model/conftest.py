"""Tiny models that are ready to be asked, made once. Not to be changed."""

import pytest


@pytest.fixture(scope="session")
def thinker(tmp_path_factory) -> str:
    from model.tiny_mllm import make_tiny_thinker

    return make_tiny_thinker(tmp_path_factory.mktemp("tiny-random-thinker"))


@pytest.fixture(scope="session")
def path(tmp_path_factory, thinker) -> str:
    """A MODEL folder with random weights and every way to be conditioned."""
    from tiny_model import make_model

    return make_model(tmp_path_factory.mktemp("random"), thinker)


@pytest.fixture(scope="session")
def editor(path):
    from model.editor import Editor

    return Editor.from_pretrained(path, device="cpu")


@pytest.fixture(scope="session")
def echo(tmp_path_factory, thinker):
    """Gives back the source, through noise, DiT and codec."""
    from tiny_model import make_echo

    from model.editor import Editor

    return Editor.from_pretrained(make_echo(tmp_path_factory.mktemp("echo"), thinker), device="cpu")

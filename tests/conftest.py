"""Made recordings, a Ray head on loopback, and the command line as users call it."""

import os
import pathlib
import secrets
import subprocess
import sys

import hypothesis
import pytest
import yaml
from cluster import Head, short_folder
from recordings import configuration, make_sounds

from stages.engines import SILENCE

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))  # "default" looks for new examples
ROOT = pathlib.Path(__file__).parents[1]
os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", **SILENCE})  # before a test imports what reports usage
os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)  # of this test session's clusters


@pytest.fixture(scope="session")
def sounds(tmp_path_factory) -> pathlib.Path:
    return make_sounds(tmp_path_factory.mktemp("sounds"))


@pytest.fixture
def write_config(tmp_path, sounds):
    """Write a configuration and give its path."""

    def write(name: str = "config.yaml", **changes) -> str:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(configuration(sounds, **changes)))
        return str(path)

    return write


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", *map(str, arguments)]


@pytest.fixture(scope="session")
def audioedit():
    """Run a command to its end."""

    def run(*arguments: str, timeout: float = 200) -> subprocess.CompletedProcess:
        return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout)

    return run


@pytest.fixture
def start():
    """Start a command and leave it running; killed after the test, if it still runs."""
    running: list[subprocess.Popen] = []

    def begin(*arguments: str) -> subprocess.Popen:
        running.append(subprocess.Popen(command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def ray_head():
    """The address of a Ray head with two CPUs."""
    head = Head(2, short_folder())
    yield head.address
    head.stop()


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, sounds, audioedit, ray_head) -> pathlib.Path:
    """A finished run over made recordings; not to be changed."""
    folder = tmp_path_factory.mktemp("small")
    config = folder / "small.yaml"
    config.write_text(yaml.safe_dump(configuration(sounds)))
    done = audioedit("build", str(config), "-o", str(folder / "run"), "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    return folder / "run"

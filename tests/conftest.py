"""Made recordings, a Ray head on loopback, the command line as users call it, and what tests of engines share."""

import contextlib
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import tempfile

import hypothesis
import pytest
import yaml
from cluster import Head, short_folder
from recordings import configuration, make_sounds

from stages.engines import SILENCE

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))  # "default" looks for new examples
ROOT = pathlib.Path(__file__).parents[1]
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell, whose children would never hear of it
    signal.signal(signal.SIGINT, signal.default_int_handler)
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


@pytest.fixture(scope="session")
def audioedit_here():
    """Run a command to its end in this process, which has all imported already; of the process, nothing is changed."""
    import ray  # reads the token above where it is imported

    from pipeline.cli import main

    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment, on_terminate, saved = dict(os.environ), signal.getsignal(signal.SIGTERM), [os.dup(1), os.dup(2)]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, contextlib.chdir(ROOT):
            os.dup2(out.fileno(), 1)  # what Ray's own code says too
            os.dup2(err.fileno(), 2)
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    code = main([str(argument) for argument in arguments])
            except SystemExit as stop:
                code = stop.code
            finally:
                ray.shutdown()
                for number, kept in enumerate(saved, 1):
                    os.dup2(kept, number)
                    os.close(kept)
                signal.signal(signal.SIGTERM, on_terminate)
                os.environ.clear()
                os.environ.update(environment)
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read(), err.read())

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
    """The address of a Ray head with two CPUs, whose processes find the engines of `oracles`."""
    head = Head(2, short_folder(), PYTHONPATH=str(ROOT / "tests"))
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


@pytest.fixture(scope="module")
def one_thread():
    """Models as small as the tests' are slower on several, which wait for each other where other tests run too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def attempts(monkeypatch) -> list:
    """Every try to reach a network, none of which succeeds."""
    tried = []

    def refuse(*arguments, **_):
        tried.append(arguments)
        raise socket.gaierror("there is no network")

    for owner, name in ((socket.socket, "connect"), (socket.socket, "connect_ex"), (socket, "getaddrinfo")):
        monkeypatch.setattr(owner, name, refuse)
    return tried

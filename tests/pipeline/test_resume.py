"""Killed at any time, the same command goes on and ends with the same bytes."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
import yaml
from cluster import workers
from recordings import configuration

LARGE = {"edits": {"add": 80, "remove": 80, "extract": 80, "replace": 40}, "shards": {"pairs": 8},
         "filters": {"rules": [{"score": "local_snr_db", "min": 0.0}], "store_rejected": True, "stop": None}}


def shards(run: pathlib.Path) -> list:
    return [(s["name"], s["sha256"], s["pairs"]) for s in json.loads((run / "shards" / "index.json").read_text())]


def pair_parts(run: pathlib.Path) -> int:
    return len(list((run / "parts").glob("pairs-*.json"))) if (run / "parts").exists() else 0


def wait_for(condition, process: subprocess.Popen, seconds: float = 90) -> bool:
    """Whether the condition came true before the process ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    raise AssertionError("waited in vain")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, sounds, audioedit_here, ray_head):
    """The configuration, and the run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "large.yaml").write_text(yaml.safe_dump(configuration(sounds, **LARGE)))
    done = audioedit_here("build", folder / "large.yaml", "-o", folder / "run", "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    assert {shard[0].split("/")[1][:-11] for shard in shards(folder / "run")} == {"train", "val", "test", "rejected"}
    return folder / "large.yaml", folder / "run"


def test_driver_killed_again_and_again(whole, start, audioedit_here, tmp_path, ray_head):
    config, run = whole[0], tmp_path / "run"
    kills = 0
    for wanted in (0, 3, 10, 20):
        driver = start("build", config, "-o", run, "--ray", ray_head)
        if wait_for(lambda wanted=wanted: (run / "parts").exists() and pair_parts(run) >= wanted, driver):
            before = pair_parts(run)
            driver.kill()
            driver.wait()
            kills += 1
            assert not (run / "shards").exists(), "nothing stands under a contract name before all is done"
            told = audioedit_here("status", run)
            assert told.returncode == 0 and ("no driver works on it" in told.stdout or "process" in told.stdout)
            assert pair_parts(run) >= before
    assert kills >= 3
    done = audioedit_here("build", config, "-o", run, "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    assert shards(run) == shards(whole[1])
    assert (run / "attribution.csv").read_bytes() == (whole[1] / "attribution.csv").read_bytes()
    assert audioedit_here("verify", run).returncode == 0
    assert not (run / ".attempts").exists()


def test_workers_killed_while_they_work(whole, start, tmp_path, ray_head):
    config, run = whole[0], tmp_path / "run"
    driver = start("build", config, "-o", run, "--ray", ray_head)
    kills = 0
    for wanted in (1, 8, 16, 24):
        if wait_for(lambda wanted=wanted: pair_parts(run) >= wanted and workers("_run"), driver):
            for worker in workers("_run")[:1]:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(worker, signal.SIGKILL)
                    kills += 1
    _, told = driver.communicate(timeout=120)
    assert driver.returncode == 0, told
    assert kills >= 2 and shards(run) == shards(whole[1])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_cleanly_and_goes_on(whole, start, audioedit_here, tmp_path, ray_head, how):
    config, run = whole[0], tmp_path / "run"
    driver = start("build", config, "-o", run, "--ray", ray_head)
    assert wait_for(lambda: pair_parts(run) >= 3, driver)
    driver.send_signal(signal.SIGSTOP)  # or it may be done before what is asked of it is told
    told = audioedit_here("status", run)
    driver.send_signal(how)  # is told as soon as it goes on
    driver.send_signal(signal.SIGCONT)
    assert "running" in told.stdout and "kept of" in told.stdout and "minutes left" in told.stdout
    _, error = driver.communicate(timeout=60)
    assert driver.returncode == 130 and "Traceback" not in error and "goes on from here" in error
    assert json.loads((run / "run.json").read_text())["lease"] is None
    assert audioedit_here("build", config, "-o", run, "--ray", ray_head).returncode == 0
    assert shards(run) == shards(whole[1])


def test_a_second_driver_is_refused(whole, start, audioedit_here, tmp_path, ray_head):
    config, run = whole[0], tmp_path / "run"
    driver = start("build", config, "-o", run, "--ray", ray_head)
    assert wait_for(lambda: (run / "parts").exists(), driver)
    second = audioedit_here("build", config, "-o", run, "--ray", ray_head)
    assert second.returncode == 2 and second.stderr.count("\n") == 1 and "another driver" in second.stderr
    driver.communicate(timeout=120)
    assert driver.returncode == 0 and shards(run) == shards(whole[1])


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for the clips, and not for the pairs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_disk_full_is_one_line_and_room_is_enough_to_go_on(whole, audioedit, audioedit_here, small_disk, ray_head):
    config, run = whole[0], small_disk / "run"
    full = audioedit("build", config, "-o", run, "--ray", ray_head)
    assert full.returncode == 1 and "No space left" in full.stderr and "Traceback" not in full.stderr
    assert [line for line in full.stderr.splitlines() if line.startswith("audioedit:")] == full.stderr.splitlines()[-1:]
    assert not (run / "shards").exists() and not list(run.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=500m", str(small_disk)], check=True)
    done = audioedit_here("build", config, "-o", run, "--ray", ray_head)
    assert done.returncode == 0, done.stderr
    assert shards(run) == shards(whole[1])

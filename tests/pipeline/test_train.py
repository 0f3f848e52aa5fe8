"""Train on Ray: the weights of one process, whatever dies on the way."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from cluster import Head, short_folder, workers
from made_run import broken, make_run
from safetensors.torch import load_file
from tiny_model import sizes

from model.tiny_mllm import TINY

ROOT = pathlib.Path(__file__).parents[2]
TOGETHER = ("--set", "ranks.count=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    """One shard for all that is trained on, which is less than there are ranks."""
    return pathlib.Path(make_run(tmp_path_factory.mktemp("data") / "run", shard_of=8))


def write_config(path: pathlib.Path, **changes) -> pathlib.Path:
    """A configuration that trains in seconds."""
    model = json.loads(sizes(TINY, mel=False, speech=False, video=False).to_json())
    given = {"model": model, "steps": 4, "batch": 4, "learning_rate": 1e-3, "warmup": 2, "workers": 0, "ranks": {"cpus": 0.5},
             "every": {"log": 1, "val": 0, "listen": 0, "checkpoint": 2}, **changes}
    path.write_text(yaml.safe_dump({key: value for key, value in given.items() if value is not None}))
    return path


@pytest.fixture
def config(tmp_path):
    """Write one, and give its path."""
    return lambda name="tiny.yaml", **changes: write_config(tmp_path / name, **changes)


def forget(address: str) -> None:
    """End the actor that Ray Train leaves in a cluster; the head would wait for it for half a minute when it ends."""
    import ray

    ray.init(address, log_to_driver=False, logging_level="error")
    ray.kill(ray.get_actor("AutoscalingCoordinator", "AutoscalingCoordinator"))
    ray.shutdown()


@pytest.fixture(scope="module")
def head(ray_head):
    yield ray_head
    forget(ray_head)


LONG = {"steps": 60, "every": {"log": 5, "val": 0, "listen": 0, "checkpoint": 5}}


@pytest.fixture(scope="module")
def through(tmp_path_factory, data, audioedit_here, head):
    """The last checkpoint of two ranks that nobody interrupted, of so many steps with LONG's checkpoints."""
    folder = tmp_path_factory.mktemp("through")
    done = audioedit_here("train", write_config(folder / "tiny.yaml", **LONG), "--data", data, "-o", folder / "out", "--ray", head, *TOGETHER)
    assert done.returncode == 0, done.stderr
    return at(folder / "out", 60)


def apart(one: pathlib.Path, other: pathlib.Path) -> float:
    """The largest difference between two models' weights."""
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    return max(float((mine[name] - theirs[name]).abs().max()) for name in mine)


def at(folder: pathlib.Path, step: int) -> pathlib.Path:
    return folder / f"checkpoints/step-{step:08d}"


def lines(process: subprocess.CompletedProcess) -> list[str]:
    """What stands on stderr besides the bar."""
    return [line for line in process.stderr.replace("\r", "\n").splitlines() if line.strip() and not line.startswith("train:")]


def wait_for(condition, process: subprocess.Popen, seconds: float = 120):
    """What the condition gives once it gives something; the process must not end before."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def ranks() -> list[int]:
    return workers("RayTrainWorker")


@contextlib.contextmanager
def held(processes: list[int]):
    """They stand still meanwhile, as far as they live."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def test_two_ranks_give_the_weights_of_one_and_all_that_was_told_is_shown(tmp_path, config, audioedit_here, head, one_thread):
    from model.training.order import Order

    run = make_run(tmp_path / "run")
    order, shares = Order(np.ones(8), 0), {}
    for position in range(16):
        shares.setdefault(order(position), set()).add(position % 4 // 2)
    broken(tmp_path / "run", f"train{next(sample for sample, share in shares.items() if share == {1}):03d}")  # one that the second rank alone draws
    alone = audioedit_here("train", config(), "--data", run, "-o", tmp_path / "one")
    both = audioedit_here("train", config(), "--data", run, "-o", tmp_path / "two", "--ray", head, *TOGETHER)
    assert alone.returncode == both.returncode == 0, alone.stderr + both.stderr
    assert both.stdout.split() == [str(at(tmp_path / "two", 4))]
    assert apart(at(tmp_path / "one", 4), at(tmp_path / "two", 4)) < 1e-5  # a gradient near zero, summed in another order, is an Adam step of another length
    rows = [pd.read_parquet(tmp_path / name / "metrics.parquet") for name in ("one", "two")]
    assert rows[0].step.tolist() == rows[1].step.tolist() == [1, 2, 3, 4]
    assert rows[1].loss.tolist() == pytest.approx(rows[0].loss.tolist(), rel=1e-5)
    assert rows[1].broken_samples.sum() == rows[0].broken_samples.sum() == 2
    told = lines(both)
    assert told and len(told) == len(set(told)) and all(line.startswith("a broken sample, for which the next one stands") for line in told), told
    assert "4/4" in both.stderr and f"loss={rows[1].loss.iloc[-1]:.3g}" in both.stderr.splitlines()[-1]


def test_a_rank_that_is_killed_comes_back_and_nothing_changes(tmp_path, config, data, through, start, head):
    driver = start("train", config(**LONG), "--data", data, "-o", tmp_path / "out", "--ray", head, *TOGETHER)
    wait_for(at(tmp_path / "out", 5).exists, driver)
    first = wait_for(ranks, driver)
    os.kill(first[-1], signal.SIGKILL)
    assert len(first) == 2 and not at(tmp_path / "out", 60).exists()
    _, told = driver.communicate(timeout=200)
    assert driver.returncode == 0, told
    assert apart(at(tmp_path / "out", 60), through) == 0
    assert pd.read_parquet(tmp_path / "out/metrics.parquet").step.tolist() == list(range(5, 61, 5))


def test_a_driver_that_is_interrupted_or_killed_goes_on(tmp_path, config, data, through, start, audioedit_here, head):
    asked = ("train", config(**LONG), "--data", data, "-o", tmp_path / "out", "--ray", head, *TOGETHER)
    driver = start(*asked)
    wait_for(at(tmp_path / "out", 5).exists, driver)
    with held(ranks()):  # or they may be done before it is told
        driver.send_signal(signal.SIGINT)
        time.sleep(2)
    _, told = driver.communicate(timeout=60)
    assert driver.returncode == 130 and "goes on from here" in told and "Traceback" not in told
    before = max(tmp_path.glob("out/checkpoints/step-*"))
    driver = start(*asked)
    wait_for(lambda: max(tmp_path.glob("out/checkpoints/step-*")) > before, driver)
    driver.kill()
    driver.wait()
    assert not at(tmp_path / "out", 60).exists()
    done = audioedit_here(*asked)
    assert done.returncode == 0, done.stderr
    assert apart(at(tmp_path / "out", 60), through) == 0


def test_weights_shared_out_are_the_same_and_any_number_of_ranks_goes_on(tmp_path, config, data, audioedit_here, head, one_thread):
    from model.editor import Editor

    def shared(steps: int) -> subprocess.CompletedProcess:
        every = {"log": 1, "val": 1, "listen": 0, "checkpoint": 2}  # what is measured in between must not stay in the weights
        return audioedit_here("train", config("shared.yaml", steps=steps, every=every), "--data", data, "-o", tmp_path / "two", "--ray", head,
                              *TOGETHER, "--set", "ranks.parallel=fsdp")

    def alone(folder: str, steps: int, *options: str) -> subprocess.CompletedProcess:
        return audioedit_here("train", config(steps=steps), "--data", data, "-o", tmp_path / folder, *options)

    assert alone("one", 4).returncode == 0
    done = shared(2)
    assert done.returncode == 0, done.stderr
    assert apart(at(tmp_path / "one", 2), at(tmp_path / "two", 2)) < 1e-5
    Editor.from_pretrained(at(tmp_path / "two", 2))
    shutil.copytree(tmp_path / "two", tmp_path / "fewer")
    done = shared(4)
    assert done.returncode == 0, done.stderr
    assert apart(at(tmp_path / "one", 4), at(tmp_path / "two", 4)) < 1e-5
    for folder, options in (("fewer", ()), ("only", ("--set", "ranks.parallel=fsdp"))):
        done = alone(folder, 4, *options)
        assert done.returncode == 0, done.stderr
        assert apart(at(tmp_path / "one", 4), at(tmp_path / folder, 4)) < 1e-5


@pytest.fixture
def head_for_jobs():
    made = Head(2, short_folder(), dashboard=True)
    yield made
    forget(made.address)
    made.stop()


def test_a_job_trains_with_two_workers(tmp_path, config, data, head_for_jobs):
    ray, deadline = str(pathlib.Path(sys.executable).with_name("ray")), time.monotonic() + 90
    modulated = json.loads(sizes(TINY, mel=False, speech=False, video=False, pooled=8).to_json())
    asked = [sys.executable, "-m", "pipeline", "train", config(steps=2, model=modulated), "--data", data, "-o", tmp_path / "out", *TOGETHER]
    while True:
        job = subprocess.run([ray, "job", "submit", "--address", f"http://127.0.0.1:{head_for_jobs.dashboard_port}", "--working-dir", str(ROOT), "--",
                              *map(str, asked)], capture_output=True, text=True, timeout=200)
        if job.returncode == 0 or time.monotonic() > deadline or not ("No available agent" in job.stderr or "Failed to connect" in job.stderr):
            break
        time.sleep(1)  # the head is still starting what takes jobs
    assert job.returncode == 0, job.stdout[-3000:] + job.stderr[-3000:]
    assert str(at(tmp_path / "out", 2)) in job.stdout
    assert json.loads((tmp_path / "out/train.json").read_text())["config"]["ranks"]["count"] == 2
    assert load_file(at(tmp_path / "out", 2) / "model.safetensors")["conditioners.omni_prompt.components"].any()


NOWHERE = ("--ray", "127.0.0.1:1")  # where Ray would be asked before all else is known to be right, that is what would be told


@pytest.mark.parametrize(("changes", "options", "told"), [
    ({}, ["--data", "nothing"], "no finished run is there"),
    ({}, ["--data", "unfinished"], "no finished run is there"),
    ({}, ["--data", "nothing=-1"], "a number of at least 0"),
    ({"lerning_rate": 1e-3}, [], "lerning_rate: unknown key; did you mean 'learning_rate'?"),
    ({"batch": 5}, [], "5 samples do not part evenly into 2 ranks"),
    ({}, ["--set", "ranks.count=3"], "4 samples do not part evenly into 3 ranks"),
    ({"seed": 1}, ["-o", "other"], "holds another training: seed differ"),
    ({}, ["--select", "notes.txt"], "--select notes.txt: a parquet file with a column pair_id is wanted"),
    ({}, ["--select", "missing.parquet"], "--select missing.parquet"),
    ({"weights": {"edits": {"add": 0, "remove": 0, "extract": 0}}}, [], "the weights leave no sample to train on"),
    ({"model": None}, [], "--init MODEL"),
    ({"model": None}, ["--init", "nothing"], "is not a MODEL folder"),
])
def test_a_request_that_is_wrong_is_one_line_before_anything_starts(tmp_path, config, data, audioedit_here, monkeypatch, changes, options, told):
    from model.training import record
    from model.training.config import TrainConfig

    def located(option: str) -> str:
        return str(tmp_path / option) if option in ("nothing", "unfinished", "nothing=-1", "other", "notes.txt", "missing.parquet") else option

    (tmp_path / "unfinished/parts").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    record.write(tmp_path / "other", TrainConfig.model_validate(yaml.safe_load(config("first.yaml").read_text())), {str(data): 1.0}, None, None, 8)
    asked = ["train", config(**changes), "--data", data, "-o", tmp_path / "out", *TOGETHER, *NOWHERE, *map(located, options)]
    refused = audioedit_here(*asked)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert told.replace("--select ", f"--select {tmp_path}/") in refused.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("asked", ["ranks: {count: 2, cpus: 1.5}", "ranks: {count: 4, cpus: 1}", "ranks: {count: 2, cpus: 0.5, gpus: 1}"])
def test_more_than_the_cluster_has_is_refused(tmp_path, config, data, audioedit_here, head, asked):
    refused = audioedit_here("train", config(**yaml.safe_load(asked)), "--data", data, "-o", tmp_path / "out", "--ray", head)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "the cluster has room for" in refused.stderr, refused.stderr


def test_what_a_process_that_reads_data_finds_is_one_line(tmp_path, config, audioedit_here, one_thread):
    run = make_run(tmp_path / "run", channels=2)
    refused = audioedit_here("train", config(workers=1), "--data", run, "-o", tmp_path / "out")
    assert refused.returncode == 2
    assert lines(refused) == [refused.stderr.splitlines()[-1]] and "build with audio.channels=1" in refused.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for a checkpoint, and not for two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_room_is_enough_to_go_on(tmp_path, config, data, audioedit_here, small_disk, one_thread):
    full = audioedit_here("train", config(), "--data", data, "-o", small_disk / "out")
    assert full.returncode == 1 and len(lines(full)) == 1, full.stderr
    assert lines(full)[0] == f"audioedit: {small_disk / 'out'}: No space left on device; make room, then give the same command again"
    assert [path.name for path in (small_disk / "out/checkpoints").glob("step-*")] == ["step-00000002"]
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    done = audioedit_here("train", config(), "--data", data, "-o", small_disk / "out")
    assert done.returncode == 0, done.stderr
    whole = audioedit_here("train", config(), "--data", data, "-o", tmp_path / "whole")
    assert whole.returncode == 0 and apart(at(small_disk / "out", 4), at(tmp_path / "whole", 4)) < 1e-6
    assert not list((small_disk / "out/checkpoints").glob(".*"))

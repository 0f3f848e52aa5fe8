"""Training on a cluster: processes of Ray Train that run `model.train` together. Where one dies, all go on from the last checkpoint."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

import ray
import ray.train.torch
from ray.exceptions import RayError
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer
from ray.util.queue import Queue
from tqdm import tqdm

from manifests.errors import RequestError, RunError
from manifests.storage import Storage
from model.training.config import Ranks, TrainConfig
from pipeline.run import NO_ROOM, check_nodes, connect

SHOWN = ("loss", "val_loss", "audio_per_second", "data_wait")


def train(
    config: TrainConfig, data: dict[str, float], folder: str, init: str | None = None, keys: set[str] | None = None, address: str | None = None
) -> str:
    """Train in this process, or, for several ranks or on a cluster, by Ray Train.

    Args:
        config, data, folder, init, keys: as `model.train.train` takes them; on a cluster all nodes see the folders.
        address: of a cluster, as `pipeline.run.connect` takes it.

    Returns:
        The last checkpoint, a MODEL folder.

    Raises:
        RequestError, RunError: as `model.train.train`; or the cluster has not what is asked for, or the folder no room.
    """
    from model.train import train as alone
    from model.training.check import check

    with _in_words(folder):
        if config.ranks.count == 1 and not address and "RAY_ADDRESS" not in os.environ:
            return str(alone(config, data, folder, init=init, keys=keys))
        check(config, data, folder, init, keys)
        connect(address)
        _check_room(config.ranks, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        for run in data:
            check_nodes(Storage(folder), Storage(run).path("shards/index.json"))
        return _together(config, os.path.abspath(folder), {"data": data, "init": init, "keys": keys})


def _together(config: TrainConfig, folder: str, asked: dict) -> str:
    from model.training.checkpoints import last

    ranks, told, began = config.ranks, Queue(actor_options={"num_cpus": 0}), last(folder)
    trainer = TorchTrainer(
        _rank,
        train_loop_config={**asked, "config": config.model_dump(mode="json"), "folder": folder, "told": told, "here": os.getcwd()},
        scaling_config=ScalingConfig(num_workers=ranks.count, use_gpu=ranks.gpus > 0, resources_per_worker={"CPU": ranks.cpus, "GPU": ranks.gpus}),
        # Checkpoints are the loop's own, the same with Ray and without: none goes through Ray.
        run_config=RunConfig(name=".ray", storage_path=folder, failure_config=FailureConfig(max_failures=ranks.failures), callbacks=[_NotAgain()],
                             checkpoint_config=CheckpointConfig(num_to_keep=1), logging_config=LoggingConfig(log_level="ERROR")),
    )
    ended: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # it is told by the thread that waits
            ended.append(error)

    # Not in the main thread, where Ray Train takes an interrupt for itself and ends the process without a word.
    thread = threading.Thread(target=fit, daemon=True)
    with tqdm(total=config.steps, initial=int(began.name.removeprefix("step-")) if began else 0, unit=" step", desc="train", file=sys.stderr,
              mininterval=0.5 if sys.stderr.isatty() else 10) as bar:
        thread.start()
        said: set[str] = set()
        while thread.is_alive():
            thread.join(1.0)
            _show(told, bar, said)
    if ended:
        raise _fault(ended[0]) from None
    return str(last(folder))


def _show(told: Queue, bar: tqdm, said: set[str]) -> None:
    """What was told since the last time; the same line only once, for all ranks see the same damage, and see it again after a restart."""
    try:
        values = told.get_nowait_batch(told.qsize())
    except RayError:
        return  # its node was lost: the training goes on, or tells what is wrong
    for each in values:
        for line in each.pop("said"):
            if line not in said:
                bar.write(line, file=sys.stderr)
            said.add(line)
        if "loss" in each or "val_loss" in each:
            bar.set_postfix({name: f"{each[name]:.3g}" for name in SHOWN if name in each}, refresh=False)
            bar.update(each["step"] - bar.n)
    if values:
        bar.refresh()


def weighted(data: list[str]) -> dict[str, float]:
    """Runs with the weights of their samples, of RUN or RUN=WEIGHT each.

    >>> weighted(["runs/demo", "runs/songs=0.5"]) == {os.path.abspath("runs/demo"): 1.0, os.path.abspath("runs/songs"): 0.5}
    True
    """
    found = {}
    for each in data:
        run, equals, weight = each.rpartition("=")
        try:
            weight = float(weight) if equals else 1.0
        except ValueError:
            run, weight = each, 1.0
        run = run if equals and run else each
        if not 0 <= weight < float("inf"):
            raise RequestError(f"--data {each}: the weight of a run is a number of at least 0")
        found[Storage(run).root] = weight
    return found


def _rank(given: dict) -> None:
    """What each of the processes does."""
    from model.train import train as together

    if os.path.isdir(given["here"]):
        os.chdir(given["here"])  # relative paths are the driver's; Ray Train has gone elsewhere
    config, first = TrainConfig.model_validate(given["config"]), ray.train.get_context().get_world_rank() == 0

    def report(values: dict) -> None:
        if first or values["said"]:
            with contextlib.suppress(RayError):  # a training does not end for its bar
                given["told"].put(values if first else {"said": values["said"]})

    with _in_words(given["folder"]):
        together(config, given["data"], given["folder"], init=given["init"], keys=given["keys"], device=ray.train.torch.get_device(), report=report)


class _NotAgain(UserCallback):
    """A fault that has words comes again however often one tries; its being raised here ends the training."""

    def after_exception(self, run_context, worker_exceptions: dict[int, Exception]) -> None:
        for error in worker_exceptions.values():
            cause = getattr(error, "_base_exc", error)
            if isinstance(cause, (RequestError, RunError)):
                raise cause


@contextlib.contextmanager
def _in_words(folder: str) -> Iterator[None]:
    """A full disk, or a folder that cannot be written, in one line, whichever library stumbles over it."""
    try:
        yield
    except (RequestError, RunError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # torch's of a checkpoint is no Exception
        if why := _no_room(folder):
            raise RunError(f"{folder}: {why}; make room, then give the same command again") from None
        if isinstance(error, OSError) and _below(error.filename, folder):
            raise RequestError(f"{folder}: cannot be written: {error.strerror}") from None
        raise


def _no_room(folder: str) -> str | None:
    """Why nothing can be written, if it is for want of room: what torch and others say where a write failed need not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 20))
            file.flush()
    except OSError as error:
        return error.strerror if error.errno in NO_ROOM else None
    return None


def _below(path: str | None, folder: str) -> bool:
    return path is not None and os.path.abspath(path).startswith(os.path.abspath(folder))


def _check_room(ranks: Ranks, nodes: list[dict[str, float]]) -> None:
    """Ray would wait for ever."""
    each = {name: asked for name, asked in (("CPU", ranks.cpus), ("GPU", ranks.gpus)) if asked}
    room = sum(min(int(node.get(name, 0) / asked + 1e-9) for name, asked in each.items()) for node in nodes)
    if room < ranks.count:
        asked = " and ".join(f"{asked:g} {name}s" for name, asked in each.items())
        raise RequestError(f"ranks: {ranks.count} of {asked} each are asked for; the cluster has room for {room}")


def _fault(error: BaseException) -> Exception:
    """What ended a training: in a rank's own words, or where processes died, that; the others then only lost each other."""
    failures = [getattr(error, "controller_failure", None), *getattr(error, "worker_failures", {}).values()]
    causes = [getattr(failure, "_base_exc", failure) for failure in failures if failure is not None] or [error]
    cause = min(causes, key=lambda cause: (not isinstance(cause, (RequestError, RunError)), not isinstance(cause, RayError)))
    if isinstance(cause, (RequestError, RunError)):
        return cause
    return RunError(f"the training failed: {type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0][:300]}")

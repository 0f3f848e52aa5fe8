"""Training on a cluster: processes of Ray Train that run `model.train` together. A worker that dies is replaced, and all go on from the last checkpoint."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

import pandas as pd
import ray
import ray.train.torch
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer
from tqdm import tqdm

from manifests.errors import RequestError, RunError
from manifests.storage import Storage
from model.training.config import TrainConfig
from pipeline.run import connect

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
        RequestError, RunError: as `model.train.train`; or the cluster has not what is asked for.
    """
    if config.ranks.count == 1 and not address and "RAY_ADDRESS" not in os.environ:
        from model.train import train as alone

        return str(alone(config, data, folder, init=init, keys=keys))
    from model.train import check
    from model.training.checkpoints import last

    check(config, data, folder, init, keys)
    connect(address)
    ranks = config.ranks
    _check_room(ranks.count, {"CPU": ranks.cpus, "GPU": ranks.gpus}, ray.cluster_resources())
    folder, told = os.path.abspath(folder), _Told.remote()
    given = {"config": config.model_dump(mode="json"), "data": data, "folder": folder, "init": init, "keys": keys, "told": told}
    trainer = TorchTrainer(
        _rank,
        train_loop_config=given,
        scaling_config=ScalingConfig(num_workers=ranks.count, use_gpu=ranks.gpus > 0, resources_per_worker={"CPU": ranks.cpus, "GPU": ranks.gpus}),
        # Checkpoints are the loop's own, the same with Ray and without: none goes through Ray.
        run_config=RunConfig(name=".ray", storage_path=folder, failure_config=FailureConfig(max_failures=ranks.failures),
                             checkpoint_config=CheckpointConfig(num_to_keep=1), logging_config=LoggingConfig(log_level="ERROR")),
    )
    with _shown(told, config.steps):
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise _fault(error) from None
    return str(last(folder))


@contextlib.contextmanager
def _shown(told: ray.actor.ActorHandle, steps: int) -> Iterator[None]:
    """A bar of what the first process tells."""
    ended = threading.Event()

    def show() -> None:
        while not ended.wait(1.0):
            for values in ray.get(told.take.remote()):
                for line in values.pop("said"):
                    bar.write(line, file=sys.stderr)
                bar.set_postfix({name: f"{values[name]:.3g}" for name in SHOWN if name in values}, refresh=False)
                bar.update(values["step"] - bar.n)

    with tqdm(total=steps, unit=" step", desc="train", file=sys.stderr, mininterval=0.5 if sys.stderr.isatty() else 10) as bar:
        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@ray.remote(num_cpus=0)
class _Told:
    """What was measured and not shown yet."""

    def __init__(self):
        self._values = []

    def put(self, values: dict) -> None:
        self._values.append(values)

    def take(self) -> list[dict]:
        taken, self._values = self._values, []
        return taken


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


def selected(path: str) -> set[str]:
    """Ids of pairs in a parquet file.

    Raises:
        RequestError: it is none, or has no column pair_id.
    """
    try:
        return set(pd.read_parquet(path, columns=["pair_id"]).pair_id)
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
        raise RequestError(f"--select {path}: a parquet file with a column pair_id is wanted: {' '.join(str(error).split())[:120]}") from None


def _rank(given: dict) -> None:
    """What each of the processes does."""
    from model.train import train as together

    config = TrainConfig.model_validate(given["config"])
    def report(values: dict) -> None:
        if ray.train.get_context().get_world_rank() == 0:
            given["told"].put.remote(values)
        ray.train.report(values)

    device = ray.train.torch.get_device()
    together(config, given["data"], given["folder"], init=given["init"], keys=given["keys"], device=device, report=report)


def _check_room(count: int, each: dict[str, float], have: dict[str, float]) -> None:
    for name, asked in each.items():
        if count * asked > have.get(name, 0):
            raise RequestError(f"ranks: {count} of {asked:g} {name}s each are asked for; the cluster has {have.get(name, 0):g}")


def _fault(error: BaseException) -> Exception:
    """The fault of a worker in the words that it had there, or what Ray says."""
    for each in getattr(error, "worker_failures", {}).values():
        cause = getattr(each, "_base_exc", each)
        while cause is not None and not isinstance(cause, (RequestError, RunError)):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is not None:
            return cause
    return RunError(f"the training failed: {' '.join(str(error).split())[:300]}")

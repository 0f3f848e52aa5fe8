"""Parts in flight on Ray: each part a chain of tasks and actor calls, a bounded number at a time. Nothing else orchestrates."""

import errno
import functools
import itertools
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from manifests.errors import RequestError, RunError
from manifests.part import Part
from manifests.storage import Storage
from pipeline.alone import DIED, OUTSIDE, Alone, Witness, watched_by
from pipeline.config import Resources

RETRIES = 2  # of a part whose node or memory is lost, before its items are tried one by one
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
PACKAGES = ("manifests", "stages", "model", "pipeline")


@dataclass(frozen=True)
class Step:
    """One step of a part's chain: `function(state, work)`; the first gets the part, the last gives its record."""

    function: Callable[[Any, Any], Any]
    resources: Resources


def connect(address: str | None) -> None:
    """Join a cluster, or start Ray on this machine, without dashboard and without reports to anyone.

    Args:
        address: "auto", host:port or ray://…; None starts Ray here, or joins the cluster that submitted this job.

    Raises:
        RequestError: no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a stage without a GPU in its resources sees none
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # errors of parts that nobody waits for any more
    quiet = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    on_terminate = signal.getsignal(signal.SIGTERM)  # Ray sets its own, which ends the driver without a word
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address.count(":") == 1:
        _check_answers(address)
    try:
        if address:
            here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
            ship = {} if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else {"py_modules": [os.path.join(here, name) for name in PACKAGES]}
            ray.init(address=address, runtime_env=ship, **quiet)
        else:
            ray.init(include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RequestError(f"{f'--ray {address}' if address else 'Ray cannot be started here'}: {' '.join(str(error).split())[:200]}") from None
    signal.signal(signal.SIGTERM, on_terminate)


def _check_answers(address: str) -> None:
    """Ray itself would wait for minutes."""
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise RequestError(f"--ray {address}: no cluster answers there ({error})") from None


def check_place(steps: list[Step]) -> None:
    """Refuse a plan of resources that can never be placed.

    Raises:
        RequestError: the pools and one task together want more than the cluster has.
    """
    have, links = ray.cluster_resources(), [resources for resources, _ in _links(steps)]
    for name, unit in (("cpus", "CPU"), ("gpus", "GPU")):
        pools = sum(getattr(link, name) * link.actors for link in links if link.actors)
        task = max((getattr(link, name) for link in links if not link.actors), default=0)
        if pools + task > have.get(unit, 0):
            raise RequestError(f"resources: the pools want {pools:g} {unit}s and a task {task:g} more; the cluster has {have.get(unit, 0):g}")


def _links(steps: list[Step]) -> list[tuple[Resources, list[Callable]]]:
    """Neighbouring steps of equal resources, taken together."""
    return [(resources, [step.function for step in group]) for resources, group in itertools.groupby(steps, key=lambda step: step.resources)]


def check_nodes(run: Storage, source: str | None) -> None:
    """Let every node read what the driver wrote into the output, and one source file.

    Raises:
        RequestError: naming the node that cannot.
    """
    probe, token = ".probe", os.urandom(8)
    run.write(probe, token)
    try:
        for node in ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU", 0):
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                fault = ray.get(_read_probe.options(num_cpus=0, scheduling_strategy=there).remote(run.root, probe, token, source))
                if fault:
                    raise RequestError(f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']}) {fault}")
    finally:
        run.remove(probe)


@ray.remote
def _read_probe(root: str, name: str, token: bytes, source: str | None) -> str | None:
    import fsspec

    try:
        if Storage(root).read(name) != token:
            return f"reads another {root} than the driver writes"
    except OSError:
        return f"cannot read {root}: put the run where all nodes see it"
    try:
        if source:
            with fsspec.open(source, "rb") as file:
                file.read(1)
    except OSError as error:
        return f"cannot read the source file {source}: {error.strerror or error}"
    return None


class Chain:
    """The steps of one kind of part, on Ray: neighbours with equal resources are one task; a pool is actors."""

    def __init__(self, steps: list[Step], work: Any):
        self._work = ray.put(work)
        self._links = []
        links = _links(steps)
        for resources, functions in links:
            asked = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
            pool = [_Worker.options(max_restarts=-1, **asked).remote() for _ in range(resources.actors or 0)]
            self._links.append((functions, asked, itertools.cycle(pool) if pool else None))
        self.has_pool = any(resources.actors for resources, _ in links)
        self._pooled = sum(resources.cpus * resources.actors for resources, _ in links if resources.actors)
        self._task_cpus = max((resources.cpus for resources, _ in links if not resources.actors), default=1) or 1

    def start(self, part: Part) -> ray.ObjectRef:
        """Submit a part's chain; the reference is to its record.

        Ray repeats a task only where this is the part's last run: else an item that never ends would cost its time limit each time.
        An actor's death takes down what waits for it too, so that those calls are always repeated.
        """
        return self._submit(part, [functions for functions, *_ in self._links], RETRIES if part.last else 0, RETRIES)

    def start_alone(self, part: Part, name: str) -> ray.ObjectRef:
        """Submit all steps but the last for a part of one item, named `name`, once; the reference is to nothing, or to the error."""
        steps = [functions for functions, *_ in self._links]
        return self._submit(part, [*steps[:-1], [*steps[-1][:-1], _forget]], 0, 0, (self.witness, name))

    @functools.cached_property
    def witness(self) -> ray.actor.ActorHandle:
        """Of the items that are tried alone."""
        return Witness.remote()

    def _submit(self, state: Any, steps: list[list[Callable]], retries: int, actor_retries: int, witness: tuple | None = None) -> ray.ObjectRef:
        for functions, (_, asked, pool) in zip(steps, self._links):
            if pool:
                state = next(pool).run.options(max_task_retries=actor_retries).remote(functions, state, self._work, witness)
            else:
                state = _run.options(max_retries=retries, **asked).remote(functions, state, self._work, witness)
        return state

    def in_flight(self) -> int:
        """How many parts to keep going: two for each task that can run at once, so that none waits for the driver."""
        return max(2, 2 * int((ray.cluster_resources().get("CPU", 1) - self._pooled) // self._task_cpus))


@ray.remote
def _run(functions: list[Callable], state: Any, work: Any, witness: tuple | None) -> Any:
    return _through(functions, state, work, witness)


@ray.remote
class _Worker:
    """A process that stays, and with it what its functions have loaded."""

    def run(self, functions: list[Callable], state: Any, work: Any, witness: tuple | None) -> Any:
        return _through(functions, state, work, witness)


def _through(functions: list[Callable], state: Any, work: Any, witness: tuple | None) -> Any:
    watched_by(witness)
    for function in functions:
        state = function(state, work)
    return state


def _forget(state: Any, work: Any) -> None:
    return None


def run_parts(parts: Iterator[Part], steps: list[Step], work: Any, item_id: Callable[[Any], str]) -> Iterator[tuple[Part, dict]]:
    """Run parts' chains, a bounded number at a time, and give each part with its record as it is committed.

    Where a chain's process dies, the part's items are tried one by one while other parts go on, and those that take their
    process down are skipped with a reason when the part is run for the last time; with a pool, other parts wait. Where its node or its memory is lost,
    the part is first tried twice more.

    Raises:
        RunError: at the end, naming the parts that failed, after all others were done; at once if the disk is full.
    """
    chain, failed, todo, lost = Chain(steps, work), [], iter(parts), Counter()
    flying: dict[ray.ObjectRef, Part] = {}
    alone: dict[ray.ObjectRef, Alone] = {}
    due: list[Part] = []  # whose process died
    while True:
        while due and not (chain.has_pool and (flying or alone)):  # an actor that dies takes down all that waits for it
            trial = Alone(due.pop(), item_id, chain.start_alone, chain.witness, chain.has_pool)
            alone |= dict.fromkeys(trial.begin(), trial)
        if not (chain.has_pool and (due or alone)):
            isolated = {id(trial) for trial in alone.values()}
            for part in itertools.islice(todo, max(0, chain.in_flight() - len(flying) - len(isolated))):
                flying[chain.start(part)] = part
        if not flying and not alone:
            break
        [done], _ = ray.wait([*flying, *alone], num_returns=1)
        if trial := alone.pop(done, None):
            alone |= dict.fromkeys(trial.after(done), trial)
            if not trial.running:
                trial.part.last = True  # where nothing died alone, the fault came from outside
                flying[chain.start(trial.part)] = trial.part
            continue
        part = flying.pop(done)
        try:
            yield part, ray.get(done)
        except DIED as death:
            if part.last:
                failed.append(f"{part.name} ({_first_line(death)})")
            elif isinstance(death, OUTSIDE) and lost[part.number] < RETRIES:
                lost[part.number] += 1
                flying[chain.start(part)] = part
            else:
                due.append(part)
        except RayTaskError as error:
            if isinstance(error.cause, OSError) and error.cause.errno in NO_ROOM:
                raise error.cause from None
            failed.append(f"{part.name} ({type(error.cause).__name__}: {_first_line(error.cause)})")
        except RayError as error:
            failed.append(f"{part.name} ({_first_line(error)})")
    if failed:
        raise RunError(f"{len(failed)} parts failed, the others are done: {'; '.join(failed[:3])}{' …' if failed[3:] else ''}")


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:160] if text else type(error).__name__

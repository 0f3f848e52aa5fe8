"""Parts on Ray: what dies, dies alone."""

import ctypes
import itertools
import os
import signal
import sys
import time

import pytest
import ray
from cluster import Head, short_folder

from manifests.errors import RequestError, RunError
from manifests.part import Part
from pipeline.alone import give_up_after
from pipeline.config import Resources
from pipeline.run import Chain, Step, check_nodes, check_place, connect, run_parts

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
CPU = Resources()
LIMIT = 1.0


@pytest.fixture(scope="module", autouse=True)
def connected(ray_head):
    connect(ray_head)
    yield
    ray.shutdown()


def work(part: Part, settings: dict) -> dict:
    done = []
    if len(part.items) == 1 and "alone" in settings:
        open(settings["alone"], "w").close()
    for item in part.items:
        if item in part.skip:
            done.append((item, part.skip[item]))
            continue
        if item == settings.get("segfault"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if item in settings.get("hang", ()):
            with give_up_after(LIMIT, f"not done after {LIMIT} s"):
                ctypes.PyDLL(None).sleep(1000)  # native code that keeps the interpreter's lock: nothing in Python can end it
        if item == settings.get("raise"):
            raise ValueError("a fault in the stage itself\nwith a second line")
        if item == settings.get("die once") and not os.path.exists(settings["mark"]):
            open(settings["mark"], "w").close()
            os._exit(1)
        done.append((item, None))
    return {"part": part, "done": done, "pid": os.getpid()}


def commit(state: dict, settings: dict) -> dict:
    with open(os.path.join(settings["folder"], state["part"].name), "x") as file:  # a second commit would raise
        file.write(str(os.getpid()))
    return {**state, "pids": [state["pid"], os.getpid()]}


def parts(count: int = 6) -> list[Part]:
    return [Part("pairs", n, [f"{n}-{k}" for k in range(4)]) for n in range(count)]


def run(settings: dict, first: Resources = CPU, last: Resources = CPU) -> dict[int, dict]:
    steps = [Step(work, first), Step(commit, last)]
    return {part.number: record for part, record in run_parts(iter(parts()), steps, settings, str)}


def test_all_parts_are_done_once(tmp_path):
    done = run({"folder": str(tmp_path)})
    assert sorted(done) == list(range(6)) and len(os.listdir(tmp_path)) == 6
    assert all(record["pids"][0] == record["pids"][1] for record in done.values()), "equal resources: one task"


def test_a_stage_that_segfaults_on_one_item_loses_that_item_alone(tmp_path):
    done = run({"folder": str(tmp_path), "segfault": "3-2"})
    assert sorted(done) == list(range(6))
    lost = [(item, reason) for record in done.values() for item, reason in record["done"] if reason]
    assert [item for item, _ in lost] == ["3-2"] and "process died" in lost[0][1]


def test_an_item_that_never_ends_is_given_up_and_told_from_one_that_crashes(tmp_path):
    done = run({"folder": str(tmp_path), "hang": ("3-0", "3-3"), "segfault": "3-2"})
    lost = {item: reason for record in done.values() for item, reason in record["done"] if reason}
    assert set(lost) == {"3-0", "3-2", "3-3"} and lost["3-0"] == lost["3-3"] == "not done after 1.0 s" and "process died" in lost["3-2"]


def test_other_parts_go_on_while_items_are_tried_alone(tmp_path):
    """Of those that were taken up after it began, some are committed before it ends; the item that hangs leaves them one of two CPUs."""
    settings, done, late = {"folder": str(tmp_path / "parts"), "alone": str(tmp_path / "alone"), "hang": ("0-0",)}, [], set()
    (tmp_path / "parts").mkdir()

    def many():  # as long as they are needed, whatever the machine's speed
        for number in itertools.count():
            if 0 in done:
                return
            if os.path.exists(settings["alone"]):
                late.add(number)
            yield Part("pairs", number, [f"{number}-{k}" for k in range(4)])

    for part, _ in run_parts(many(), [Step(work, CPU), Step(commit, CPU)], settings, str):
        done.append(part.number)
    assert late & set(done[: done.index(0)])


def test_a_limit_that_is_kept_ends_nothing():
    with give_up_after(0.2, "late"):
        pass
    time.sleep(0.4)


def test_a_pool_tells_its_item_that_never_ends(tmp_path):
    done = run({"folder": str(tmp_path), "hang": ("3-1",)}, first=Resources(cpus=0.5, actors=1))
    assert [(item, reason) for record in done.values() for item, reason in record["done"] if reason] == [("3-1", "not done after 1.0 s")]


def test_a_process_that_dies_once_loses_nothing(tmp_path):
    done = run({"folder": str(tmp_path), "die once": "1-1", "mark": str(tmp_path.parent / "died")})
    assert all(reason is None for record in done.values() for _, reason in record["done"]) and len(done) == 6


def test_a_fault_in_a_stage_fails_its_part_and_is_told_when_the_others_are_done(tmp_path):
    steps, finished = [Step(work, CPU), Step(commit, CPU)], []
    with pytest.raises(RunError, match=r"1 parts failed, the others are done: pairs-00002 \(ValueError: a fault in the stage itself\)"):
        for part, _ in run_parts(iter(parts()), steps, {"folder": str(tmp_path), "raise": "2-0"}, str):
            finished.append(part.number)
    assert sorted(finished) == [0, 1, 3, 4, 5]


def test_a_pool_keeps_its_processes_and_loses_one_item_too(tmp_path):
    pool = Resources(cpus=0.5, actors=1)
    (tmp_path / "a").mkdir()
    done = run({"folder": str(tmp_path / "a")}, first=pool)
    assert len({record["pids"][0] for record in done.values()}) == 1
    (tmp_path / "b").mkdir()
    done = run({"folder": str(tmp_path / "b"), "segfault": "3-2"}, first=pool)
    assert [item for record in done.values() for item, reason in record["done"] if reason] == ["3-2"]


def test_parts_in_flight_are_bounded():
    seen = []

    def many():
        for n in range(10_000):
            seen.append(n)
            yield Part("pairs", n, [])

    chain = Chain([Step(work, CPU)], {})
    found = run_parts(many(), [Step(work, CPU)], {}, str)
    next(found)
    assert len(seen) <= chain.in_flight() + 1 == 5
    found.close()


def test_resources_that_can_never_be_placed():
    check_place([Step(work, CPU), Step(commit, Resources(cpus=1, actors=1))])
    with pytest.raises(RequestError, match="pools want 2 CPUs and a task 1 more; the cluster has 2"):
        check_place([Step(work, CPU), Step(commit, Resources(cpus=1, actors=2))])
    with pytest.raises(RequestError, match="GPU"):
        check_place([Step(work, Resources(gpus=1, actors=1))])


def test_a_node_that_cannot_read_is_named(tmp_path):
    from manifests.storage import Storage

    (tmp_path / "source.wav").write_bytes(b"x")
    check_nodes(Storage(str(tmp_path / "run")), str(tmp_path / "source.wav"))
    assert os.listdir(tmp_path / "run") == []
    with pytest.raises(RequestError, match=f"node {os.uname().nodename} .* cannot read the source file"):
        check_nodes(Storage(str(tmp_path / "run")), str(tmp_path / "gone.wav"))


def test_no_cluster_there():
    ray.shutdown()
    try:
        with pytest.raises(RequestError, match="--ray"):
            connect("127.0.0.1:1")
    finally:
        head = Head(1, short_folder())
        try:
            connect(head.address)
            assert ray.cluster_resources()["CPU"] == 1
            ray.shutdown()
        finally:
            head.stop()

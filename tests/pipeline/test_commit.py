"""What makes a part done."""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from manifests.errors import RequestError, RunError
from manifests.part import Part
from manifests.storage import Storage
from pipeline.commit import commit, records, reveal, rows_of
from pipeline.lease import SECONDS, Lease


def rows(n: int) -> pa.Table:
    return pa.table({"n": [n]})


def test_a_part_done_twice_is_recorded_once_and_the_loser_leaves_nothing(tmp_path):
    run, part = Storage(str(tmp_path)), Part("pairs", 7, [], "train")
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: commit(run, part, rows(n), {"shard.tar": bytes([n]) * 100}, {"n": n}), range(8)))
    assert len({json.dumps(record) for record in told}) == 1, "all are told the one record"
    winner = told[0]["n"]
    assert run.names(".attempts") == [os.path.basename(told[0]["attempt"])] and run.names("parts") == ["pairs-00007.json"]
    found = records(run, "pairs")
    assert list(found) == [7] and rows_of(run, found)[0]["n"].to_pylist() == [winner]
    for _ in range(2):
        index = reveal(run, found[7], "shard.tar", "shards/train-000000.tar")
        assert run.read("shards/train-000000.tar") == bytes([winner]) * 100 and index["bytes"] == 100


def test_a_store_that_refuses_a_creation_that_succeeded_costs_nothing(tmp_path):
    """An object store may answer the retry of a creation whose first answer was lost: it exists already, by our own hand."""

    class Forgetful(Storage):
        def create(self, name: str, data: bytes) -> bool:
            super().create(name, data)
            return False

    run = Forgetful(str(tmp_path))
    record = commit(run, Part("pairs", 0, []), rows(1), {"shard.tar": b"whole"}, {})
    assert run.read(f"{record['attempt']}/shard.tar") == b"whole"


def test_an_attempt_that_died_before_its_record_is_no_record(tmp_path):
    run, part = Storage(str(tmp_path)), Part("pairs", 0, [])
    run.write(".attempts/pairs-00000-dead/shard.tar", b"half")
    assert records(run, "pairs") == {}
    commit(run, part, rows(1), {"shard.tar": b"whole"}, {})
    assert run.read(f"{records(run, 'pairs')[0]['attempt']}/shard.tar") == b"whole"


FACTS = {"state": "running", "counts": {}}


def test_a_lease_refuses_a_second_driver_until_it_is_given_back(tmp_path):
    run = Storage(str(tmp_path))
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with Lease(run, FACTS) as lease:
            held = run.read_json("run.json")["lease"]
            assert held["pid"] == os.getpid() and held["expires"] - time.time() <= SECONDS
            run.write_json("run.json", {**FACTS, "lease": {**held, "pid": other.pid}})
            with pytest.raises(RequestError, match=f"another driver .*process {other.pid} on {socket.gethostname()}"):
                Lease(run, FACTS)
            lease.update(counts={"pairs": 3})
            assert run.read_json("run.json")["counts"] == {"pairs": 3} and lease.counts == {"pairs": 3}
        assert run.read_json("run.json")["lease"] is None
    finally:
        other.kill()
        other.wait()


def test_a_lease_of_a_dead_process_or_an_expired_one_is_taken_over(tmp_path):
    run = Storage(str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for held in ({"pid": gone.pid, "host": socket.gethostname(), "expires": time.time() + 20}, {"pid": 1, "host": "elsewhere", "expires": time.time() - 1}):
        run.write_json("run.json", {**FACTS, "lease": {"driver": "x", **held}})
        with Lease(run, FACTS):
            assert run.read_json("run.json")["lease"]["pid"] == os.getpid()
    run.write_json("run.json", {**FACTS, "lease": {"driver": "x", "pid": gone.pid, "host": "elsewhere", "expires": time.time() + 20}})
    with pytest.raises(RequestError, match="on elsewhere"):
        Lease(run, FACTS)


def test_a_driver_that_lost_its_run_hears_of_it_and_changes_nothing(tmp_path):
    run = Storage(str(tmp_path))
    with pytest.raises(RunError, match="another driver has taken over"), Lease(run, FACTS) as lease:
        taken = {**FACTS, "state": "done", "lease": {"driver": "other", "pid": 1, "host": "elsewhere", "expires": time.time() + 20}}
        run.write_json("run.json", taken)
        lease.update(state="failed")
    assert run.read_json("run.json") == taken


def test_a_run_that_fails_says_so(tmp_path):
    run = Storage(str(tmp_path))
    with pytest.raises(ValueError), Lease(run, FACTS):
        raise ValueError
    assert run.read_json("run.json") == {"state": "failed", "counts": {}, "lease": None}

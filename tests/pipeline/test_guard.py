"""A build that keeps too little stops with one line, at the same place whatever the order in which its parts were done, and goes on where it is told to."""

import itertools
import json

import pyarrow as pa
import pytest

from manifests.errors import RunError
from manifests.pair import QUALITY, Pair
from manifests.part import Part
from manifests.storage import Storage
from pipeline.commit import commit
from pipeline.config import Stop
from pipeline.guard import Guard


def committed(run: Storage, number: int, edits: dict[str, tuple[int, int]]) -> dict:
    """The record of a part with so many pairs of each edit, and so many of them kept; of those rejected every third is silent, and the rest break a rule."""
    pairs = [Pair(f"{number}-{edit}-{n}", "scene", edit, "synthetic", "demo", "sound", "en", "train", number, kept=n < kept,
                  reason=None if n < kept else ("silent", "snr_db < 3", "snr_db < 3")[n % 3]) for edit, (count, kept) in edits.items() for n in range(count)]
    rows = pa.Table.from_pylist([pair.quality() for pair in pairs], schema=QUALITY)
    return commit(run, Part("pairs", number, [], "train"), rows, {}, {"edits": {edit: list(counts) for edit, counts in edits.items()}})


@pytest.fixture
def run(tmp_path) -> Storage:
    return Storage(str(tmp_path / "run"))


def stopped(run: Storage, stop: Stop, records: list[tuple[int, dict]]) -> str | None:
    """What the guard says of records that come in this order."""
    guard = Guard(run, stop)
    try:
        for number, record in records:
            guard.see(number, record)
    except RunError as error:
        return str(error)
    return None


def test_the_line_says_which_edit_how_many_why_and_what_to_do(run):
    records = [(n, committed(run, n, {"add": (4, 4), "remove": (6, 2)})) for n in range(3)]
    assert stopped(run, Stop(parts=3), records[:2]) is None
    line = stopped(run, Stop(parts=3), records)
    assert line.startswith("edit 'remove' kept 6 of 18 pairs in 3 parts, under the 50 % of filters.stop; most often: snr_db < 3 (9 times). ")
    assert "\n" not in line and "--set filters.stop=null" in line and f"--clips {run.root}" in line


def test_a_share_that_is_just_kept_does_not_stop(run):
    records = [(n, committed(run, n, {"add": (4, 2)})) for n in range(3)]
    assert stopped(run, Stop(parts=1), records) is None and stopped(run, Stop(kept=0.51, parts=3), records).startswith("edit 'add' kept 6 of 12")


def test_only_parts_that_hold_an_edit_count_for_it(run):
    records = [(n, committed(run, n, {"add": (4, 4), **({"remove": (2, 0)} if n % 2 else {})})) for n in range(6)]
    assert stopped(run, Stop(parts=4), records) is None
    assert stopped(run, Stop(parts=3), records).startswith("edit 'remove' kept 0 of 6 pairs in 3 parts")


def test_the_order_in_which_parts_were_done_does_not_matter(run):
    """Part 2 is where it stops: later parts are good enough to make up for it, and do not."""
    kept = [4, 1, 0, 4, 4]
    records = [(n, committed(run, n, {"add": (4, k)})) for n, k in enumerate(kept)]
    lines = {stopped(run, Stop(parts=2), list(order)) for order in itertools.permutations(records)}
    assert len(lines) == 1 and lines.pop().startswith("edit 'add' kept 5 of 12 pairs in 3 parts")
    assert stopped(run, Stop(parts=2), [r for r in records if r[0] != 1]) is None  # what is not done yet is waited for


def test_a_build_stops_and_goes_on_where_it_is_told_to(audioedit_here, tmp_path, write_config, ray_head):
    rules = [{"score": "local_snr_db", "min": 9.0}]
    config = write_config(filters={"rules": rules, "stop": {"kept": 0.95, "parts": 3}}, shards={"pairs": 4}, edits={"add": 20, "remove": 20})
    run, asked = tmp_path / "run", ("build", config, "-o", tmp_path / "run", "--ray", ray_head)
    said = []
    for _ in range(2):
        done = audioedit_here(*asked)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        said += [line for line in done.stderr.splitlines() if line.startswith("audioedit: ")]
    assert len(said) == 2 and said[0] == said[1] and "most often: local_snr_db < 9" in said[0], said
    assert json.loads((run / "run.json").read_text())["state"] == "failed" and not (run / "shards").exists()
    before = {path: path.read_bytes() for path in run.glob("parts/pairs-*.json")}
    assert len(before) >= 3
    done = audioedit_here(*asked, "--set", "filters.stop=null")
    assert done.returncode == 0, done.stderr
    assert all(path.read_bytes() == data for path, data in before.items()) and audioedit_here("verify", run).returncode == 0

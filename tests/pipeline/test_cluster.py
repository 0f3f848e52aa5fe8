"""A cluster: job submission, a second node, and the launcher's file."""

import json
import pathlib
import subprocess
import sys
import time

import jsonschema
import pytest
import ray
import ray.autoscaler
import yaml
from cluster import Head, short_folder
from recordings import configuration

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two_nodes():
    head = Head(1, short_folder(), dashboard=True)
    second = Head(1, short_folder(), join=head)
    yield head
    second.stop()
    head.stop()


def submit(port: int, *command: str) -> subprocess.CompletedProcess:
    """Submit a job as a user does; again, while the head is still starting what takes jobs."""
    ray = pathlib.Path(sys.executable).with_name("ray")
    deadline = time.monotonic() + 90
    while True:
        job = subprocess.run([str(ray), "job", "submit", "--address", f"http://127.0.0.1:{port}", "--working-dir", str(ROOT), "--", *map(str, command)],
                             capture_output=True, text=True, timeout=200)
        starting = "No available agent" in job.stderr or "Failed to connect" in job.stderr
        if not starting or time.monotonic() > deadline:
            return job
        time.sleep(1)


def test_a_job_on_two_nodes_gives_the_bytes_of_one_machine(two_nodes, sounds, small_run, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(configuration(sounds)))
    job = submit(two_nodes.dashboard_port, sys.executable, "-m", "pipeline", "build", config, "-o", tmp_path / "run")
    assert job.returncode == 0, job.stdout[-3000:] + job.stderr[-3000:]
    assert "nothing to do" not in job.stdout and "report/index.html" in job.stdout
    made, expected = (json.loads((run / "shards" / "index.json").read_text()) for run in (tmp_path / "run", small_run))
    assert [s["sha256"] for s in made] == [s["sha256"] for s in expected]


def test_the_launcher_s_file_is_valid_and_has_a_head_and_both_kinds_of_worker():
    from ray.autoscaler._private.util import prepare_config

    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    schema = json.loads((pathlib.Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    assert prepare_config(config)["max_workers"] == 12
    types = config["available_node_types"]
    assert set(types) == {"head", "cpu_worker", "gpu_worker"} and config["head_node_type"] == "head"


def test_what_a_job_uploads_is_small():
    """Ray caps the upload at 512 MiB; .gitignore keeps runs and environments out of it."""
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".venv/", "runs/"} <= set(ignored)

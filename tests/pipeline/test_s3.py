"""A run on an object store: whole-object writes and conditional creation stand for renames and exclusive creation."""

from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from moto.server import ThreadedMotoServer

from manifests.storage import Storage


@pytest.fixture(scope="module")
def bucket():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:{1}".format(*server.get_host_and_port()))
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"
    server.stop()


def test_storage_keeps_its_promises(bucket):
    run = Storage(f"{bucket}/run")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: run.create("parts/a.json", b"%d" % n), range(8)))
    assert sum(made) == 1 and run.read("parts/a.json") == b"%d" % made.index(True)
    run.write("x/y.bin", b"0123456789")
    assert run.read("x/y.bin", 2, 5) == b"234" and run.size("x/y.bin") == 10
    run.write("x/y.bin", b"anew")
    assert run.read("x/y.bin") == b"anew" and run.size("x/y.bin") == 4
    for _ in range(2):
        run.move("x/y.bin", "z/y.bin")
        assert run.names("") == ["parts", "z"] and run.read("z/y.bin") == b"anew"
    run.remove("z")
    assert not run.exists("z/y.bin") and run.names("z") == []


def test_a_build_into_a_bucket_is_whole_and_verified(bucket, audioedit, audioedit_here, write_config):
    config = write_config(edits={"remove": 9, "replace": 6})
    done = audioedit("build", config, "-o", f"{bucket}/built")
    assert done.returncode == 0, done.stderr
    run = Storage(f"{bucket}/built")
    assert run.names("") == ["attribution.csv", "clips", "parts", "plan.parquet", "quality", "report", "rooms.npy", "run.json", "shards", "sources.parquet"]
    for command in (("verify", f"{bucket}/built"), ("status", f"{bucket}/built"), ("report", f"{bucket}/built")):
        told = audioedit(*command)
        assert told.returncode == 0, told.stdout + told.stderr
    again = audioedit_here("build", config, "-o", f"{bucket}/built")
    assert again.returncode == 0 and "nothing to do" in again.stdout
    other = audioedit_here("build", write_config("other.yaml", edits={"remove": 6}), "-o", f"{bucket}/built")
    assert other.returncode == 2 and "--overwrite" in other.stderr

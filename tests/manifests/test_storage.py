"""Files are whole or absent, some are made only once, and all of it works under a URI too."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from manifests.storage import Storage, split_uri, to_json

ROOT = str(Path(__file__).resolve().parents[2])


def python(code: str, *args: str, **more) -> subprocess.Popen:
    """A Python process that knows our packages."""
    return subprocess.Popen([sys.executable, "-c", code, *args], cwd=ROOT, stdout=subprocess.PIPE, text=True, **more)


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path) -> Storage:
    return Storage(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}/run")


def test_what_is_written_is_read(storage):
    storage.write("a/b.bin", b"0123456789")
    assert storage.read("a/b.bin") == b"0123456789"
    assert storage.read("a/b.bin", 2, 5) == b"234"
    assert storage.size("a/b.bin") == 10
    assert storage.exists("a/b.bin") and not storage.exists("a/c.bin")
    assert storage.sha256("a/b.bin") == hashlib.sha256(b"0123456789").hexdigest()


def test_a_file_is_replaced_as_a_whole(storage):
    storage.write("a", b"long" * 100)
    storage.write("a", b"short")
    assert storage.read("a") == b"short"
    assert storage.names("") == ["a"]


def test_what_is_not_there_is_told(storage):
    with pytest.raises(FileNotFoundError):
        storage.read("nothing")
    assert storage.names("nowhere") == []
    storage.remove("nothing")


def test_names_are_sorted_and_bare(storage):
    for name in ("d/b", "d/a", "d/sub/c"):
        storage.write(name, b"x")
    assert storage.names("d") == ["a", "b", "sub"]


def test_create_is_once(storage):
    assert storage.create("parts/one.json", b"first") is True
    assert storage.create("parts/one.json", b"second") is False
    assert storage.read("parts/one.json") == b"first"
    assert storage.names("parts") == ["one.json"]


def test_a_move_can_be_repeated(storage):
    storage.write("aside/x", b"data")
    for _ in range(2):
        storage.move("aside/x", "new/place/x")
        assert storage.read("new/place/x") == b"data" and not storage.exists("aside/x")
    with pytest.raises(FileNotFoundError):
        storage.move("never", "was")


def test_a_move_takes_the_place_of_what_was_there(storage):
    storage.write("old", b"good")
    storage.write("new", b"left by one that was killed")
    storage.move("old", "new")
    assert storage.read("new") == b"good" and storage.names("") == ["new"]


def test_a_folder_is_removed_with_all_in_it(storage):
    storage.write("d/a", b"1")
    storage.write("d/e/f", b"2")
    storage.write("keep", b"3")
    storage.remove("d")
    storage.remove("d")
    assert not storage.exists("d/e/f") and storage.names("") == ["keep"]


def test_json_goes_round_and_nan_does_not(storage):
    value = {"a": [1, 2.5, None, "ü"], "b": {"c": True}}
    storage.write_json("x.json", value)
    assert storage.read_json("x.json") == value
    assert storage.read("x.json").endswith(b"}\n") and "ü".encode() in storage.read("x.json")
    with pytest.raises(ValueError):
        storage.write_json("x.json", {"a": float("nan")})
    assert storage.read_json("x.json") == value


def test_to_json_is_what_json_reads():
    assert json.loads(to_json([1, "a"])) == [1, "a"]


def test_a_full_path_leads_to_the_same_file(storage):
    storage.write("clips/x.tar", b"0123")
    folder, name = split_uri(storage.path("clips/x.tar"))
    assert name == "x.tar" and folder.read(name) == b"0123"


def test_paths_are_absolute_and_a_file_url_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage("run/").path("a") == str(tmp_path / "run" / "a")
    Storage(f"file://{tmp_path}/run").write("a", b"1")
    assert (tmp_path / "run" / "a").read_bytes() == b"1"
    folder, name = split_uri("sound.wav")
    assert folder.path(name) == str(tmp_path / "sound.wav")
    assert split_uri("/sound.wav")[0].path("sound.wav") == "/sound.wav"


def test_of_many_threads_one_creates(tmp_path):
    storage = Storage(str(tmp_path))
    for round_ in range(10):
        won, gate = [], threading.Barrier(12)

        def race(number, name=f"r/{round_}", won=won, gate=gate):
            gate.wait()
            if storage.create(name, b"%d" % number):
                won.append(number)

        threads = [threading.Thread(target=race, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [storage.read(f"r/{round_}")] == [b"%d" % n for n in won]
    assert storage.names("r") == sorted(str(n) for n in range(10))


def test_of_many_processes_one_creates(tmp_path):
    code = """if True:
        import sys, time
        from manifests.storage import Storage
        storage, me = Storage(sys.argv[1]), sys.argv[2]
        storage.write("ready/" + me, b"")
        while len(storage.names("ready")) < 3:
            time.sleep(0.005)
        print(*(n for n in range(100) if storage.create(f"parts/{n:03d}", me.encode() * 50_000)))
    """
    racers = [python(code, str(tmp_path), str(n)) for n in range(3)]
    won = {str(n): {int(word) for word in racer.communicate(timeout=60)[0].split()} for n, racer in enumerate(racers)}
    assert sum(map(len, won.values())) == 100 and set.union(*won.values()) == set(range(100))
    storage = Storage(str(tmp_path))
    assert storage.names("parts") == [f"{n:03d}" for n in range(100)]
    for me, names in won.items():
        assert all(storage.read(f"parts/{n:03d}") == me.encode() * 50_000 for n in names)


def test_a_killed_writer_leaves_the_old_file_or_the_new(tmp_path):
    code = """if True:
        import sys
        from manifests.storage import Storage
        storage, n = Storage(sys.argv[1]), 0
        while True:
            n += 1
            storage.write("whole", bytes([n % 256]) * 3_000_000)
            storage.create(f"once/{n}", bytes([n % 256]) * 1_000_000)
            print(n, flush=True)
    """
    storage, chance = Storage(str(tmp_path)), random.Random(0)
    for _ in range(6):
        writer = python(code, str(tmp_path))
        writer.stdout.readline()
        until = time.monotonic() + chance.uniform(0.01, 0.08)
        while time.monotonic() < until:
            data = storage.read("whole")
            assert len(data) == 3_000_000 and data.count(data[:1]) == len(data)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        data = storage.read("whole")
        assert len(data) == 3_000_000 and data.count(data[:1]) == len(data)
        for name in storage.names("once"):
            assert name.endswith(".tmp") or storage.size(f"once/{name}") == 1_000_000
        storage.remove("once")


FILL = """if True:
    import errno, resource, sys
    from manifests.storage import Storage
    if len(sys.argv) > 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    storage = Storage(sys.argv[1])
    storage.write("old", b"kept")
    for attempt in (storage.write, storage.create):
        for name in ("old", "new"):
            try:
                print(attempt(name, bytes(1_000_000)))
            except OSError as error:
                print(errno.errorcode[error.errno])
    storage.write("small", b"fits")
"""


def left_whole(root) -> None:
    """After the disk was full: what was there is there, and of what did not fit there is no trace."""
    storage = Storage(str(root))
    assert storage.names("") == ["old", "small"]
    assert storage.read("old") == b"kept" and storage.read("small") == b"fits"


def test_a_write_that_may_not_be_that_long_leaves_nothing(tmp_path):
    out, _ = python(FILL, str(tmp_path), "100000").communicate(timeout=60)
    assert out.split() == ["EFBIG"] * 4
    left_whole(tmp_path)


def test_a_full_disk_leaves_nothing(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system can be mounted by root only")
    try:
        out, _ = python(FILL, str(tmp_path)).communicate(timeout=60)
        assert out.split() == ["ENOSPC"] * 4
        left_whole(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)

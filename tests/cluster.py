"""Ray nodes on loopback, each a process of its own, ended by its process id."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Head:
    """A Ray node in the foreground of a process of its own, with more in its environment; with `join`, one more node of that cluster."""

    def __init__(self, cpus: int, folder: pathlib.Path, join: "Head | None" = None, dashboard: bool = False, **environment: str):
        self.port = join.port if join else free_port()
        self.address = f"127.0.0.1:{self.port}"
        where = ["--address", self.address] if join else ["--head", f"--port={self.port}", f"--include-dashboard={str(dashboard).lower()}"]
        if dashboard:
            self.dashboard_port = free_port()
            where.append(f"--dashboard-port={self.dashboard_port}")
        if not join:
            where.append(f"--temp-dir={folder}")
        ray = str(pathlib.Path(sys.executable).with_name("ray"))
        self.process = subprocess.Popen(
            [ray, "start", *where, f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1", "--object-store-memory=200000000",
             f"--dashboard-agent-listen-port={free_port()}", "--block"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env={**os.environ, **environment},
        )
        deadline = time.monotonic() + 60
        while not join and not _answers(self.port):
            assert self.process.poll() is None and time.monotonic() < deadline, "Ray did not start"
            time.sleep(0.2)

    def stop(self) -> None:
        """End this node by its process id; it takes its children with it."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex(("127.0.0.1", port)) == 0


def short_folder() -> pathlib.Path:
    """Ray's sockets lie under it, whose paths must stay under 108 characters."""
    return pathlib.Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))


def workers(name: str) -> list[int]:
    """Process ids of those of Ray's workers that do now what begins with this name, in the heads of this process, and of no other's."""
    parents, named = {}, []
    for folder in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, StopIteration):  # no process, or one that has just ended
            process = int(folder.name)
            parents[process] = next(int(line.split()[1]) for line in (folder / "status").read_text().splitlines() if line.startswith("PPid:"))
            if (folder / "cmdline").read_bytes().startswith(f"ray::{name}".encode()):
                named.append(process)

    def mine(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    return list(filter(mine, named))

"""One driver a run: the lease in run.json, and the run's state beside it."""

import os
import secrets
import socket
import threading
import time

from manifests.errors import RequestError
from manifests.storage import Storage, to_json

SECONDS = 30.0  # a lease not renewed for so long has expired
RENEW = 5.0


class Lease:
    """Holds run.json while a driver works; use as a context.

    Args:
        run: the run's folder.
        facts: what run.json says if there is none yet.

    Raises:
        RequestError: another driver holds it.
    """

    def __init__(self, run: Storage, facts: dict):
        self._run, self._lock, self._stop = run, threading.Lock(), threading.Event()
        self._mine = {"driver": secrets.token_hex(8), "host": socket.gethostname(), "pid": os.getpid()}
        if not run.create("run.json", to_json({**facts, "lease": self._renewed()})):
            facts = run.read_json("run.json")
            held = facts.get("lease")
            if held and held["expires"] > time.time() and not _gone(held):
                raise RequestError(
                    f"{run.root}: another driver works on this run (process {held['pid']} on {held['host']}); "
                    f"if it is gone, its lease expires in {held['expires'] - time.time():.0f} s"
                )
            run.write_json("run.json", {**facts, "lease": self._renewed()})
        self._facts = run.read_json("run.json")
        if self._facts["lease"]["driver"] != self._mine["driver"]:
            raise RequestError(f"{run.root}: another driver has just started on this run")
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def _renewed(self) -> dict:
        return {**self._mine, "expires": time.time() + SECONDS}

    def _keep(self) -> None:
        while not self._stop.wait(RENEW):
            self.update()

    @property
    def counts(self) -> dict:
        """What run.json says of the run's size so far."""
        return self._facts["counts"]

    def update(self, **facts) -> None:
        """Write facts into run.json, and renew the lease."""
        with self._lock:
            self._facts.update(facts, lease=self._renewed())
            self._run.write_json("run.json", self._facts)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            self._facts["lease"] = None
            if self._facts["state"] == "running" and kind is not None:
                self._facts["state"] = "failed" if issubclass(kind, Exception) else "running"
            try:
                self._run.write_json("run.json", self._facts)
            except OSError:
                if kind is None:
                    raise  # else the first error is the one to tell


def _gone(held: dict) -> bool:
    """Whether the lease's driver ran on this machine and is no more."""
    if held["host"] != socket.gethostname():
        return False
    try:
        os.kill(held["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return held["pid"] == os.getpid()

"""One driver a run: the lease in run.json, and the run's state beside it."""

import os
import secrets
import socket
import threading
import time

from manifests.errors import RequestError, RunError
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
        self._run, self._lock, self._stop, self._lost = run, threading.Lock(), threading.Event(), False
        self._mine = {"driver": secrets.token_hex(8), "host": socket.gethostname(), "pid": os.getpid()}
        if not run.create("run.json", to_json({**facts, "lease": self._renewed()})):
            facts = run.read_json("run.json")
            check_free(run, facts)
            run.write_json("run.json", {**facts, "lease": self._renewed()})
        self._facts = run.read_json("run.json")
        if self._facts["lease"]["driver"] != self._mine["driver"]:
            raise RequestError(f"{run.root}: another driver has just started on this run")
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def _renewed(self) -> dict:
        return {**self._mine, "expires": time.time() + SECONDS}

    def _keep(self) -> None:
        while not self._stop.wait(RENEW):
            try:
                self.update()
            except RunError:
                return  # another driver has it: the main thread hears of it at its own next update
            except OSError:
                continue  # a store or disk may come back before the lease expires

    @property
    def counts(self) -> dict:
        """What run.json says of the run's size so far."""
        return self._facts["counts"]

    def update(self, **facts) -> None:
        """Write facts into run.json, and renew the lease.

        Raises:
            RunError: another driver has taken over.
        """
        with self._lock:
            there = self._run.read_json("run.json").get("lease") or {}
            if there.get("driver") != self._mine["driver"]:
                self._lost = True
                raise RunError(f"{self._run.root}: another driver has taken over this run, since this one was not heard of for {SECONDS:.0f} s")
            self._facts.update(facts, lease=self._renewed())
            self._run.write_json("run.json", self._facts)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._stop.set()
        self._thread.join()
        if self._lost:
            return
        with self._lock:
            self._facts["lease"] = None
            if self._facts["state"] == "running" and kind is not None and issubclass(kind, Exception):  # an interrupt is no failure
                self._facts["state"] = "failed"
            try:
                self._run.write_json("run.json", self._facts)
            except OSError:
                if kind is None:
                    raise  # else the first error is the one to tell


def check_free(run: Storage, facts: dict) -> None:
    """Raise RequestError if a driver that may still live holds the run."""
    held = facts.get("lease")
    if held and held["expires"] > time.time() and not _gone(held):
        raise RequestError(
            f"{run.root}: another driver works on this run (process {held['pid']} on {held['host']}); "
            f"if it is gone, its lease expires in {held['expires'] - time.time():.0f} s"
        )


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

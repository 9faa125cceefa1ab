"""A batch on a Ray cluster, seen from the command: a process of its own speaks with Ray, and its end is survived.

Ray ends the process that speaks with it when the head is gone for good; so that one is a child, and its loss is told.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tam_edit.batch.jobs import Job
from tam_edit.batch.pool import STOP_S, Event, Task
from tam_edit.batch.running import Batch, check_store
from tam_edit.batch.work import Outcome, Told
from tam_edit.errors import TamEditError, UsageError

HEAD_SILENT_S = 60.0
"""How long the head may not answer before it counts as lost."""

KNOCK_S = 5.0

HEAD_GONE_S = 15
"""After so many seconds without the head Ray itself gives up."""


class ClusterLost(TamEditError):
    """The cluster cannot be reached, or no longer; what it finished is in the projects."""


@dataclass(frozen=True)
class Alive:
    """The head answered; slots: how many tasks the cluster does at once."""

    slots: int


@dataclass(frozen=True)
class Lost:
    """The driver cannot go on."""

    words: str


@dataclass(frozen=True)
class Errand:
    """What the driver is given: where the cluster is, and how tasks are done there."""

    address: str
    memory_bytes: int
    jobs: int
    workers: int
    store_url: str | None = None
    prepare: Callable[[], None] | None = None


class Cluster:
    """Does tasks on a cluster (see running.Doers). Use as a context manager: its driver never outlives the block."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        _knock(errand.address)
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        from tam_edit.batch.ray_driver import drive

        self._process = context.Process(target=drive, args=(theirs, errand), name="tam-edit-cluster", daemon=False)
        self._process.start()
        theirs.close()
        self._heard = time.monotonic()
        self._slots = 0
        self._given: dict[int, Job] = {}

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()  # the driver takes leave of Ray; a signal would only make Ray print where it was
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    @property
    def idle(self) -> int:
        """Two jobs for each slot: while one ends, the next is ready."""
        return max(0, 2 * self._slots - len(self._given))

    def give(self, task: Task) -> None:
        self._given[task.job.number] = task.job
        try:
            self._pipe.send(task)
        except OSError:
            return  # `events` tells that the driver is gone

    def events(self, timeout_s: float) -> Iterator[Event]:
        """What was told. Raises ClusterLost when the head is gone."""
        if not self._pipe.poll(timeout_s):
            if time.monotonic() - self._heard > HEAD_SILENT_S:
                raise self._lost()
            return
        try:
            event: Told | Outcome | Alive | Lost = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        self._heard = time.monotonic()
        if isinstance(event, Lost):
            raise ClusterLost(event.words)
        if isinstance(event, Alive):
            self._slots = event.slots
            return
        if isinstance(event, Outcome):
            self._given.pop(event.number, None)
        yield event

    def _lost(self) -> ClusterLost:
        if not self._slots:
            return ClusterLost(no_answer(self._errand.address, "it does not answer as Ray does"))
        return ClusterLost(
            f"the cluster at {self._errand.address} is lost (its head no longer answers): what is finished is kept; "
            "run the same command again when it is back, or without --cluster"
        )


def run_on_cluster(batch: Batch, address: str, prepare: Callable[[], None] | None = None) -> None:
    """Do a batch on the Ray cluster at an address. Raises UsageError without Ray, ClusterLost with the head."""
    import importlib.util

    if importlib.util.find_spec("ray") is None:
        raise UsageError("--cluster needs Ray: pip install 'tam-edit[cluster]'")
    if not address.strip():
        raise UsageError("--cluster: an address is needed, such as 10.0.0.1:6379, auto or local")
    check_store(batch.plan)
    wanted = batch.sort_out()
    if not wanted:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(HEAD_GONE_S))
    plan = batch.plan
    errand = Errand(address, plan.memory_bytes, len(wanted), plan.workers, plan.store_url, prepare)
    with Cluster(errand) as cluster:
        batch.run(cluster, wanted)


def _knock(address: str) -> None:
    """See whether anybody is there at all: Ray itself takes half a minute to find out."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return  # "auto" and "local" name none
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterLost(no_answer(address, str(error))) from error


def no_answer(address: str, why: str) -> str:
    return f"no Ray cluster answers at {address} ({why}): start one with 'ray start --head', or leave --cluster out"


def tell(pipe: Connection, event: object) -> None:
    """Send an event to the command; without one the driver has nothing more to do."""
    try:
        pipe.send(event)
    except OSError as error:
        raise KeyboardInterrupt from error

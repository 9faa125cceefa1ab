"""The process that speaks with Ray: it turns jobs into orders, hands them to the machines, and waits for answers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tam_edit.batch.cluster import Alive, Errand, Lost, no_answer, tell
from tam_edit.batch.estimate import ROLES
from tam_edit.batch.pool import Task, use_cores
from tam_edit.batch.shares import Answer, Course, Order, course, whole
from tam_edit.batch.work import Hands, Outcome, Told
from tam_edit.errors import TamEditError

HEAD_ASKED_EVERY_S = 2.0
MOST_RETRIES = 3
TICK_S = 0.2
NEURAL = frozenset({"sam", "xmem", "e2fgvi", "e2fgvi-hq"})


@dataclass
class Underway:
    """A job on the cluster: its course, the answers that are still missing, and what is known of its engines."""

    course: Course
    began: float
    orders: list[Order] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manner:
    """How a process of the cluster does its orders; the same for all of a batch."""

    memory_bytes: int
    store_url: str | None
    near: Path | None
    prepare: Callable[[], None] | None


class Driver:
    """Keeps all jobs going that were given."""

    def __init__(self, ray: Any, pipe: Connection, errand: Errand) -> None:
        from tam_edit.workbench import shared_cache

        self._ray, self._pipe, self._errand = ray, pipe, errand
        nodes = [node for node in ray.nodes() if node["Alive"]]
        self._slots = max(1, int(sum(node["Resources"].get("CPU", 0) for node in nodes)))
        self._gpus = any(node["Resources"].get("GPU", 0) for node in nodes)
        cores = max((int(node["Resources"].get("CPU", 0)) for node in nodes), default=1)
        near = shared_cache().parent / "near" if errand.store_url is not None else None
        self._manner = Manner(errand.memory_bytes // max(cores, 1), errand.store_url, near, errand.prepare)
        # One class of calls, so that a process is used again whatever it is asked for next.
        self._call = ray.remote(max_retries=MOST_RETRIES)(carry_out_remotely)
        self._jobs: dict[int, Underway] = {}
        self._flying: dict[Any, tuple[int, int]] = {}

    def run(self) -> None:
        """Until the command closes the pipe or a signal comes."""
        asked = 0.0
        while True:
            if time.monotonic() - asked > HEAD_ASKED_EVERY_S:
                self._ray.nodes()
                asked = time.monotonic()
                tell(self._pipe, Alive(self._slots))
            while self._pipe.poll(0 if self._flying else TICK_S):
                self._begin(self._pipe.recv())
            if self._flying:
                ready, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=TICK_S)
                for call in ready:
                    self._hear(call)

    def cancel(self) -> None:
        for call in self._flying:
            self._ray.cancel(call, force=True)

    def _begin(self, task: Task) -> None:
        # With more jobs than hands nobody idles, and whole jobs are the least work.
        divided = task.kind == "run" and self._errand.jobs < self._slots
        steps = course(task.job, self._slots, divided=divided) if divided else whole(task.job, task.kind)
        job = self._jobs[task.job.number] = Underway(steps, time.monotonic())
        self._send(task.job.number, job, next(steps))

    def _send(self, number: int, job: Underway, orders: list[Order]) -> None:
        job.orders, job.answers = orders, {}
        for place, order in enumerate(orders):
            gpus = 1 if self._gpus and wants_gpu(order, job.engines) else 0
            call = self._call.options(num_cpus=1, num_gpus=gpus, name=f"{order.job.name} {order.kind}")
            self._flying[call.remote(self._manner, order)] = (number, place)

    def _hear(self, call: Any) -> None:
        number, place = self._flying.pop(call)
        job = self._jobs.get(number)
        try:
            answer: Answer = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            answer = Answer(Outcome(number, "failed", f"an error of tam-edit itself on the cluster: {error.cause!r}"))
        except self._ray.exceptions.RayError as error:
            words = f"the cluster lost its worker {MOST_RETRIES + 1} times ({type(error).__name__})"
            answer = Answer(Outcome(number, "died", words))
        if job is None:  # a share of a job that has failed meanwhile
            return
        job.answers[place] = answer
        job.engines |= answer.outcome.report.get("engines", {})
        self._tell_share(number, job, answer)
        if len(job.answers) < len(job.orders):
            return
        try:
            orders = job.course.send([job.answers[place] for place in range(len(job.orders))])
        except StopIteration as end:
            del self._jobs[number]
            tell(self._pipe, dataclasses.replace(end.value, seconds=time.monotonic() - job.began))
            return
        self._send(number, job, orders)

    def _tell_share(self, number: int, job: Underway, answer: Answer) -> None:
        shares = [order.share for order in job.orders if order.share]
        if shares and answer.outcome.status == "done":
            total = sum(piece.stop - piece.start for share in shares for piece in share)
            done = sum(piece.stop - piece.start for at in job.answers for piece in job.orders[at].share)
            tell(self._pipe, Told(number, shares[0][0].stage, done, total, done))


def wants_gpu(order: Order, engines: dict[str, str]) -> bool:
    """Whether an order runs networks: a share by its stages, a whole job by its engines (all of them, until known)."""
    if order.kind in ("survey", "plan") or order.job.engine.get("device") == "cpu":
        return False
    asked = {role: order.job.settings.get(role, "auto") for role in ("segmenter", "tracker", "inpainter")}
    known = {role: engines.get(role, name) for role, name in asked.items()}
    if order.kind == "share":
        roles = {ROLES[piece.stage] for piece in order.share if piece.stage in ROLES}
        known = {role: name for role, name in known.items() if role in roles}
    return any(name in NEURAL or name == "auto" for name in known.values())


_HANDS: dict[Manner, Hands] = {}
"""This process's own, so that its engines serve all orders of a batch."""


def carry_out_remotely(manner: Manner, order: Order) -> Answer:
    """Runs in a process of the cluster."""
    from tam_edit.batch.orders import carry_out

    if manner not in _HANDS:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        use_cores(cores[:1])
        if manner.prepare is not None:
            manner.prepare()
        _HANDS[manner] = Hands(manner.memory_bytes, store_url=manner.store_url, near=manner.near)
    return carry_out(_HANDS[manner], order)


def drive(pipe: Connection, errand: Errand) -> None:
    """The driver process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the command decides
    os.dup2(sys.stderr.fileno(), 1)  # stdout belongs to the one who called
    driver: Driver | None = None
    try:
        import ray

        ray_errors = (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, TimeoutError, OSError)
        try:
            _connect(ray, errand)
            driver = Driver(ray, pipe, errand)
        except ray_errors as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            tell(pipe, Lost(no_answer(errand.address, first)))
            return
        driver.run()
    except TamEditError as error:
        tell(pipe, Lost(str(error)))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        if driver is not None:
            driver.cancel()
        with contextlib.suppress(Exception):
            ray.shutdown()


def _connect(ray: Any, errand: Errand) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if errand.address == "local":
        ray.init(address="local", num_cpus=max(errand.workers, 1), include_dashboard=False, **quiet)
    else:
        ray.init(address=errand.address, **quiet)

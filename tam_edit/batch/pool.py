"""Worker processes: each does one task after the other, tells of it through a pipe, and is replaced when it dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NoReturn

from tam_edit.batch.alarm import overtime_words
from tam_edit.batch.jobs import Job
from tam_edit.batch.work import Hands, Outcome, Told
from tam_edit.errors import EngineError
from tam_edit.limits import check_address_space

STOP_S = 10.0
"""How long a worker may take to stop by itself before it is killed; finished chunks are on disk in either case."""

HANGS_S = 20.0
"""How long after its time limit a worker that interrupts did not reach is killed."""


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do with a job."""

    kind: Literal["run", "plan"]
    job: Job


@dataclass(frozen=True)
class Kit:
    """What every worker is given: its share of memory, and where finished chunks also go.

    prepare is called in each process before its first task; tests put quick engines in place with it.
    """

    memory_bytes: int
    store_url: str | None = None
    prepare: Callable[[], None] | None = None


@dataclass(frozen=True)
class Died:
    """A worker is gone in the middle of a task."""

    task: Task
    words: str


Event = Told | Outcome | Died


class Worker:
    """One child process; task is what it works on, given when it was handed that."""

    def __init__(self, kit: Kit, cores: Sequence[int]) -> None:
        context = multiprocessing.get_context("spawn")
        self.ours, theirs = context.Pipe()
        # Nothing is ever sent here: its end tells the worker that this process is gone, however it ended.
        watched, self._lifeline = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(
            target=_work, args=(theirs, watched, kit, tuple(cores)), name="tam-edit-worker", daemon=True
        )
        try:
            self.process.start()
        except OSError as error:
            raise EngineError(f"no worker can be started ({error.strerror}): take fewer --workers") from error
        theirs.close()
        watched.close()
        self.task: Task | None = None
        self.given = 0.0

    def close(self) -> None:
        self.ours.close()
        self._lifeline.close()
        self.process.join()


class Pool:
    """So many workers. Use as a context manager: whatever ends the block, no process is left."""

    def __init__(self, count: int, kit: Kit) -> None:
        self.kit = kit
        self._cores = shares_of_cores(count)
        self._workers: list[Worker | None] = [None] * count

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def idle(self) -> int:
        """How many more tasks can be taken."""
        return sum(worker is None or worker.task is None for worker in self._workers)

    def give(self, task: Task) -> None:
        """Hand a task to a worker that has none; processes are started when they are first needed."""
        for place, worker in enumerate(self._workers):
            if worker is not None and worker.task is not None:
                continue
            for _ in range(2):  # an idle worker may have been killed meanwhile
                chosen = self._workers[place] or Worker(self.kit, self._cores[place])
                self._workers[place] = chosen
                try:
                    chosen.ours.send(task)
                except OSError:
                    self._drop(place)
                    continue
                chosen.task, chosen.given = task, time.monotonic()
                return
        raise AssertionError("a task was given although nobody is idle")

    def events(self, timeout_s: float) -> Iterator[Event]:
        """What was told since last time; waits for the first, at most so long."""
        there = {
            worker.ours: place
            for place, worker in enumerate(self._workers)
            if worker is not None and worker.task is not None
        }
        for ready in wait(list(there), timeout_s):
            place = there[ready]  # type: ignore[index]
            worker = self._workers[place]
            if worker is None or worker.task is None:
                continue
            try:
                event: Told | Outcome = worker.ours.recv()
            except (EOFError, OSError):
                task = worker.task
                worker.process.join(STOP_S)
                words = _end_in_words(worker.process.exitcode)
                self._drop(place)
                yield Died(task, words)
                continue
            if isinstance(event, Outcome):
                worker.task = None
                if event.status == "died" or event.overtime:
                    self._drop(place)  # a process that was short of memory or interrupted is not used again
            yield event
        yield from self._overdue()

    def _overdue(self) -> Iterator[Event]:
        """End workers that hang in a library beyond their job's time limit, where no interrupt reaches them."""
        for place, worker in enumerate(self._workers):
            limit_s = worker.task.job.time_limit_s if worker is not None and worker.task is not None else None
            if worker is None or worker.task is None or limit_s is None:
                continue
            if time.monotonic() - worker.given > limit_s + HANGS_S:
                number = worker.task.job.number
                worker.process.kill()
                self._drop(place)
                yield Outcome(number, "failed", overtime_words(limit_s), overtime=True)

    def stop(self) -> None:
        """End all workers: asked first, killed after a while. What they finished is kept."""
        workers = [worker for worker in self._workers if worker is not None]
        self._workers = [None] * len(self._workers)
        for worker in workers:
            worker.process.terminate()
        end = time.monotonic() + STOP_S
        for worker in workers:
            worker.process.join(max(0.0, end - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
            worker.close()

    def processes(self) -> list[int]:
        """Ids of the living workers."""
        return [worker.process.pid or 0 for worker in self._workers if worker is not None]

    def _drop(self, place: int) -> None:
        worker = self._workers[place]
        self._workers[place] = None
        if worker is not None:
            worker.process.terminate()
            worker.process.join(STOP_S)
            if worker.process.is_alive():
                worker.process.kill()
            worker.close()


def shares_of_cores(count: int) -> list[tuple[int, ...]]:
    """The cores of this machine divided among so many workers; with more workers than cores some share one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    shares = []
    for place in range(count):
        start, stop = place * len(cores) // count, (place + 1) * len(cores) // count
        shares.append(tuple(cores[start : max(stop, start + 1)]))
    return shares


def use_cores(cores: Sequence[int]) -> None:
    """Let the libraries of this process make as many threads as it has cores; the system still places them freely.

    Most count the cores that a process may run on, once, when they start: so for that moment it may run on its own.
    """
    # PyTorch is loaded when a network first runs, and asks this.
    os.environ["OMP_NUM_THREADS"] = str(len(cores))
    if not hasattr(os, "sched_setaffinity"):
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        import cv2
        from threadpoolctl import threadpool_limits

        from tam_edit.models.classic import threads

        cv2.setNumThreads(len(cores))
        threadpool_limits(len(cores))
        threads.workers()
    finally:
        os.sched_setaffinity(0, every)


def _work(tasks: Connection, lifeline: Connection, kit: Kit, cores: Sequence[int]) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, _interrupted)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    os.dup2(sys.stderr.fileno(), 1)  # stdout belongs to the one who called
    try:
        missing = _set_up(kit, cores)
        hands = Hands(kit.memory_bytes, tell=tasks.send, store_url=kit.store_url)
        while True:
            task: Task = tasks.recv()
            if missing:
                tasks.send(Outcome(task.job.number, "died", missing))
                return
            outcome = hands.run(task.job) if task.kind == "run" else hands.plan(task.job)
            tasks.send(outcome)
            if outcome.status == "stopped" or outcome.overtime:  # what was interrupted is not trusted with more
                return
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return  # the parent is gone, or wants us to go


def _set_up(kit: Kit, cores: Sequence[int]) -> str:
    """Get ready; what hindered it in words, which the first task is answered with."""
    try:
        check_address_space()
        use_cores(cores)
        if kit.prepare is not None:
            kit.prepare()
    except (MemoryError, ImportError, OSError, EngineError) as error:
        return f"its worker could not start ({str(error) or type(error).__name__})"
    return ""


def _interrupted(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _watch(lifeline: Connection) -> None:
    """Stop this process when its parent is gone, however that ended."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_S)
    os._exit(1)


def _end_in_words(status: int | None) -> str:
    if status is not None and status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return f"its worker was killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return f"its worker ended with status {status}"

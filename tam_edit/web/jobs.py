"""Runs in the server: one at a time, in a thread, with progress that anyone who looks can read, and a way to stop."""

from __future__ import annotations

import itertools
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tam_edit.engine.ledger import Decision
from tam_edit.engine.report import Report
from tam_edit.errors import Cancelled, ProjectBusy, TamEditError
from tam_edit.session import Edit
from tam_edit.workbench import Surroundings

_NUMBERS = itertools.count(1)


@dataclass
class _Stage:
    """How far one stage has come. Frames may be gone through twice (forward, backward), so time left is a guess."""

    frames: int
    seen: set[int] = field(default_factory=set)
    ran: int = 0
    ran_seconds: float = 0.0
    reused: int = 0


@dataclass
class Job:
    """A run from its start to its end, as the page shows it; also the run's watcher (see engine.runner)."""

    kind: str
    title: str
    changed: Callable[[], None]
    number: int = field(default_factory=lambda: next(_NUMBERS))
    status: str = "running"
    words: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    report: Report | None = None
    output: str | None = None
    stages: dict[str, _Stage] = field(default_factory=dict)
    at: tuple[str, int, int] | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def stage(self, name: str, frames: int) -> None:
        self.stages[name] = _Stage(max(frames, 1))
        self.changed()

    def unit(self, decision: Decision) -> None:
        stage = self.stages.setdefault(decision.stage, _Stage(1))
        stage.seen.update(decision.span.indices())
        if decision.action == "run":
            stage.ran += len(decision.span)
            stage.ran_seconds += decision.seconds
            self.at = (decision.stage, decision.span.start, decision.span.stop)
        else:
            stage.reused += len(decision.span)
        self.changed()

    def say(self, words: str) -> None:
        self.words = words
        self.changed()

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "kind": self.kind,
            "title": self.title,
            "status": "stopping" if self.status == "running" and self.stop.is_set() else self.status,
            "words": self.words,
            "seconds": round((self.ended or time.monotonic()) - self.began, 1),
            "stages": [
                {"name": name, "frames": max(stage.frames, len(stage.seen)), "done": len(stage.seen), "ran": stage.ran}
                for name, stage in self.stages.items()
            ],
            "left_s": self._left_s(),
            "at": self.at,
            "report": None if self.report is None else self.report.to_json(),
            "output": self.output,
        }

    def _left_s(self) -> float | None:
        """Seconds the stage at work still needs, by its own speed so far; None before anything has run."""
        if self.at is None or self.status != "running":
            return None
        stage = self.stages[self.at[0]]
        missing = max(stage.frames, len(stage.seen)) - len(stage.seen)
        return (
            round(missing * stage.ran_seconds / stage.ran, 1) if missing and stage.ran and stage.ran_seconds else None
        )


class Jobs:
    """At most one run at a time; the last one stays to be read."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.last: Job | None = None
        self._changed = changed
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(
        self,
        kind: str,
        title: str,
        open_edit: Callable[[Surroundings], Edit],
        work: Callable[[Edit], Any],
        *,
        memory_bytes: int,
        output: str | None = None,
        finished: Callable[[Job], None] = lambda _: None,
    ) -> Job:
        """Begin a run. Raises ProjectBusy while another goes on."""
        with self._starting:
            if self.is_running:
                raise ProjectBusy("a run is going on: wait for its end, or stop it first")
            job = Job(kind, title, self._changed)
            around = Surroundings(watcher=job, say=job.say, cancelled=job.stop.is_set, memory_bytes=memory_bytes)
            self.last = job

            def run() -> None:
                try:
                    self._run(job, open_edit(around), work, output)
                except TamEditError as error:
                    job.status, job.words = "failed", str(error)
                except Exception as error:  # noqa: BLE001 - the thread's outermost boundary: said on the page
                    traceback.print_exc()
                    job.status = "failed"
                    job.words = f"an error of tam-edit itself ({type(error).__name__}: {error}); the terminal has more"
                finally:
                    job.ended = time.monotonic()
                    finished(job)
                    self._changed()

            self._thread = threading.Thread(target=run, name=f"{kind} {job.number}", daemon=True)
            self._thread.start()
            return job

    def _run(self, job: Job, edit: Edit, work: Callable[[Edit], Any], output: str | None) -> None:
        try:
            work(edit)
            job.status, job.words, job.output = "done", "", output
        except Cancelled as error:
            job.status, job.words = "stopped", str(error)
        finally:
            job.report = edit.bench.report

    def cancel(self) -> None:
        """Ask the run to stop after the piece it works on; what is finished is kept."""
        if self.last is not None:
            self.last.stop.set()
            self._changed()

    def wait(self, timeout_s: float | None = None) -> None:
        if self._thread is not None:
            self._thread.join(timeout_s)

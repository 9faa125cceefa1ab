"""A batch: which jobs are finished already, who does the others, what is tried again, and what came of it."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tam_edit.batch.jobs import Job
from tam_edit.batch.pool import Died, Event, Kit, Pool, Task
from tam_edit.batch.results import Verdict, verdict
from tam_edit.batch.work import Outcome, Told
from tam_edit.errors import TamEditError, UsageError

MOST_TRIES = 2
MOST_WORKERS = 256
TICK_S = 0.25
STOPPED = "stopped: what is finished is kept, the next run goes on from there"

State = Literal["waiting", "running", "done", "planned", "unchanged", "failed", "stopped"]
ENDED = frozenset({"done", "planned", "unchanged", "failed", "stopped"})


@dataclass(frozen=True)
class Plan:
    """How a batch runs. changed: outputs are read to see whether they are those that were written; again: run all."""

    workers: int = 1
    memory_bytes: int = 8 * 2**30
    dry: bool = False
    changed: bool = False
    again: bool = False
    store_url: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MOST_WORKERS:
            raise UsageError(f"--workers {self.workers}: 1 to {MOST_WORKERS} processes are possible")


@dataclass
class Progress:
    """Where a job is: its state, and the stage that it tells of."""

    job: Job
    state: State = "waiting"
    reason: str = ""
    tries: int = 0
    told: Told | None = None
    rate: float = 0.0  # frames a second in the stage under way, only those that run
    began: float = 0.0
    outcome: Outcome | None = None
    _stage_began: float = 0.0

    def start(self) -> None:
        self.state, self.tries, self.told, self.rate = "running", self.tries + 1, None, 0.0
        self.began = time.monotonic()

    def hear(self, told: Told) -> None:
        now = time.monotonic()
        if self.told is None or self.told.stage != told.stage:
            self._stage_began = now
        self.told = told
        spent = now - self._stage_began
        self.rate = told.run / spent if spent > 0.2 else 0.0

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.state = "failed" if outcome.status in ("failed", "died") else outcome.status  # type: ignore[assignment]


class Doers(Protocol):
    """Those who do tasks: processes here, or machines elsewhere."""

    @property
    def idle(self) -> int: ...

    def give(self, task: Task) -> None: ...

    def events(self, timeout_s: float) -> Iterator[Event]: ...


@dataclass
class Batch:
    """All jobs with where they are; `run` brings them to their end. watch is called at every event and tick."""

    jobs: Sequence[Job]
    plan: Plan
    watch: Callable[[Batch, Progress | None], None] = lambda *_: None
    progress: dict[int, Progress] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: str = ""

    def __post_init__(self) -> None:
        self.progress = {job.number: Progress(job) for job in self.jobs}

    @property
    def all(self) -> list[Progress]:
        return list(self.progress.values())

    @property
    def exit_status(self) -> int:
        """0 when every job is as it should be, else 1."""
        return int(any(item.state not in ("done", "planned", "unchanged") for item in self.all))

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for item in self.all:
            found[item.state] = found.get(item.state, 0) + 1
        return found

    def sort_out(self) -> list[Job]:
        """Say of each job whether anything is to do; returns those that are to be run."""
        wanted = []
        for item in self.all:
            found = verdict(item.job, thorough=self.plan.changed)
            item.reason = found.reason if not (self.plan.again and found.finished) else "asked to run it again"
            refused = _refusal(item.job, found, again=self.plan.again)
            if found.finished and not self.plan.again:
                item.state = "unchanged"
                self.watch(self, item)
            elif refused:
                item.end(Outcome(item.job.number, "failed", refused))
                self.watch(self, item)
            else:
                wanted.append(item.job)
        return wanted

    def run(self, doers: Doers, wanted: Iterable[Job]) -> None:
        """Do the wanted jobs, a job that lost its worker once more. KeyboardInterrupt ends it; all is told then."""
        began = time.monotonic()
        waiting = deque(wanted)
        try:
            while waiting or self._running():
                self._give(doers, waiting)
                for event in doers.events(TICK_S):
                    self._take(event, waiting)
                self.watch(self, None)
        except KeyboardInterrupt:
            self.stopped = STOPPED
            raise
        except TamEditError as error:  # those who do the work are gone
            self.stopped = str(error)
        finally:
            self.seconds = time.monotonic() - began
            for item in self.all:
                if item.state in ("waiting", "running"):
                    item.end(Outcome(item.job.number, "stopped", STOPPED))

    def _running(self) -> list[Progress]:
        return [item for item in self.all if item.state == "running"]

    def _give(self, doers: Doers, waiting: deque[Job]) -> None:
        """Hand out jobs, but never two of one project at once: the second would only wait for the first."""
        for _ in range(len(waiting)):
            if not doers.idle:
                return
            job = waiting.popleft()
            if any(item.job.project == job.project for item in self._running()):
                waiting.append(job)
                continue
            self.progress[job.number].start()
            doers.give(Task("plan" if self.plan.dry else "run", job))
            self.watch(self, self.progress[job.number])

    def _take(self, event: Event, waiting: deque[Job]) -> None:
        if isinstance(event, Told):
            self.progress[event.number].hear(event)
            return
        if isinstance(event, Died):
            words = f"{event.words} (what is finished is kept)"
            event = Outcome(event.task.job.number, "died", words)
        item = self.progress[event.number]
        if event.status == "died" and item.tries < MOST_TRIES:
            item.state, item.reason = "waiting", f"tried again: {event.error}"
            waiting.appendleft(item.job)
        else:
            times = f", {item.tries} times" if event.status == "died" and item.tries > 1 else ""
            item.end(dataclasses.replace(event, error=event.error + times))
        self.watch(self, item)

    def left_s(self) -> float | None:
        """Seconds until all is done, from how long the jobs took so far; None while that says nothing."""
        ran = [item.outcome.seconds for item in self.all if item.outcome and item.state == "done"]
        ahead = [item for item in self.all if item.state not in ENDED]
        if not ran or not ahead:
            return None
        mean = sum(ran) / len(ran)
        now = time.monotonic()
        spent = sum(min(now - item.began, mean) for item in ahead if item.state == "running")
        return max(0.0, (mean * len(ahead) - spent) / min(self.plan.workers, len(ahead)))

    def to_json(self) -> dict[str, Any]:
        """What --json prints: every job with how it ended."""
        outcomes = [item.outcome for item in self.all if item.outcome is not None]
        return {
            "command": "batch",
            "exit": self.exit_status,
            "planned": self.plan.dry,
            "jobs": [job_json(item) for item in self.all],
            "counts": self.counts(),
            "outputs": [path for outcome in outcomes for path in outcome.outputs],
            "workers": self.plan.workers,
            "seconds": round(self.seconds, 3),
            "peak_rss_bytes": max((outcome.peak_rss_bytes for outcome in outcomes), default=0),
            "error": self.stopped or None,
        }


def job_json(item: Progress) -> dict[str, Any]:
    outcome = item.outcome or Outcome(item.job.number, "done")
    report = outcome.report
    return {
        "job": item.job.number,
        "name": item.job.name,
        "line": item.job.line,
        "effect": item.job.effect,
        "project": item.job.project,
        "clip": item.job.clip,
        "output": item.job.output,
        "status": item.state,
        "reason": item.reason,
        "tries": item.tries,
        "error": outcome.error or None,
        "frames": outcome.frames,
        "seconds": round(outcome.seconds, 3),
        "engines": report.get("engines", {}),
        "stages": report.get("stages", []),
        "warnings": report.get("warnings", []),
    }


def check_store(plan: Plan) -> None:
    """Refuse an address that nobody knows before any work. Raises UsageError."""
    if plan.store_url is not None:
        from tam_edit.engine.remote import RemoteTier

        RemoteTier.of(plan.store_url)


def run_here(batch: Batch, prepare: Callable[[], None] | None = None) -> None:
    """Do a batch in worker processes of this machine."""
    check_store(batch.plan)
    wanted = batch.sort_out()
    count = min(batch.plan.workers, max(len(wanted), 1))
    kit = Kit(batch.plan.memory_bytes // count, batch.plan.store_url, prepare)
    with Pool(count, kit) as pool:
        batch.run(pool, wanted)


def _refusal(job: Job, found: Verdict, *, again: bool) -> str:
    if not found.exists or (found.finished and not again):
        return ""
    if job.overwrite == "never":
        return f'{job.output} exists already and overwrite = "never": remove it, or allow more'
    if job.overwrite == "ours" and not found.ours:
        return (
            f'{job.output} was not written by this job (or was changed since) and overwrite = "ours": move it away, or '
            'say overwrite = "always"'
        )
    return ""

"""Jobs and engines for tests of batches; `quick`, `slow` and others are called in each worker process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tam_edit import Edit
from tam_edit.batch.jobs import Job
from tam_edit.batch.pool import Event, Task
from tam_edit.batch.running import Batch, Plan, run_here
from tam_edit.batch.work import Hands
from tam_edit.pipelines import engines
from tests import scenes

PAUSE_S = 0.02


def quick() -> None:
    """Simple engines in place of whatever is installed; how often they were asked for goes to a file."""
    simple = scenes.simple_engines()

    def resolve(*_: Any) -> Any:
        if "TEST_RESOLVED" in os.environ:
            with Path(os.environ["TEST_RESOLVED"]).open("a") as file:
                file.write(f"{os.getpid()}\n")
        return simple

    engines.resolve = resolve


def slow() -> None:
    """As `quick`, but each filled frame takes a moment."""
    quick()
    fill = scenes.MeanFiller.fill

    def slowly(self: scenes.MeanFiller, start: int, stop: int) -> Iterator[scenes.Rgb]:
        for filled in fill(self, start, stop):
            time.sleep(PAUSE_S)
            yield filled

    scenes.MeanFiller.fill = slowly  # type: ignore[method-assign]


def deadly() -> None:
    """As `quick`, but to fill a clip of 13 frames kills the process."""
    quick()
    fill = scenes.MeanFiller.fill

    def fatal(self: scenes.MeanFiller, start: int, stop: int) -> Iterator[scenes.Rgb]:
        if self.frame_count == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return fill(self, start, stop)

    scenes.MeanFiller.fill = fatal  # type: ignore[method-assign]


def deaf() -> None:
    """As `quick`, but to fill a clip of 13 frames takes for ever, as if in a library: no interrupt reaches it."""
    quick()
    fill = scenes.MeanFiller.fill

    def endless(self: scenes.MeanFiller, start: int, stop: int) -> Iterator[scenes.Rgb]:
        if self.frame_count == 13:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})
            time.sleep(600)
        return fill(self, start, stop)

    scenes.MeanFiller.fill = endless  # type: ignore[method-assign]


def greedy() -> None:
    """As `quick`, but to fill a clip of 13 frames takes more memory than the process may have."""
    import resource

    import numpy as np

    quick()
    fill = scenes.MeanFiller.fill

    def large(self: scenes.MeanFiller, start: int, stop: int) -> Iterator[scenes.Rgb]:
        if self.frame_count == 13:
            np.ones(4 << 30, np.uint8)
        return fill(self, start, stop)

    scenes.MeanFiller.fill = large  # type: ignore[method-assign]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30), resource.RLIM_INFINITY))


def project(folder: Path, name: str, frames: int = 12, cuts: tuple[int, ...] = ()) -> Path:
    """A project with one marked ball; the test's own engines must be quick too."""
    clip = scenes.write_clip(folder / f"{name}.mp4", frames=frames, cuts=cuts)
    edit = Edit.create(clip, folder / f"{name}.edit")
    edit.mark("ball", points=[scenes.centre(0)])
    return folder / f"{name}.edit"


def job(number: int, folder: Path, **others: Any) -> Job:
    """Removal from a project, written beside it."""
    output = folder.parent / "out" / f"{folder.stem}.mp4"
    given: dict[str, Any] = {"effect": "remove", "output": str(output), "project": str(folder)}
    return Job(number, folder.stem, 1, **(given | others))


class Hand:
    """Does tasks in this process, one at a time (see running.Doers): a worker takes a second to start."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.hands = Hands(1 << 30)

    @property
    def idle(self) -> int:
        return int(self.task is None)

    def give(self, task: Task) -> None:
        self.task = task

    def events(self, timeout_s: float) -> Iterator[Event]:
        assert self.task is not None
        task, self.task = self.task, None
        yield self.hands.plan(task.job) if task.kind == "plan" else self.hands.run(task.job)


def done(jobs: list[Job], **plan: Any) -> Batch:
    """A batch that has been run in this process."""
    batch = Batch(jobs, Plan(**plan))
    batch.run(Hand(), batch.sort_out())
    return batch


def done_by_workers(jobs: list[Job], prepare: Any = quick, **plan: Any) -> Batch:
    """A batch that has been run by worker processes."""
    batch = Batch(jobs, Plan(**plan))
    run_here(batch, prepare)
    return batch


def states(batch: Batch) -> list[str]:
    return [item.state for item in batch.all]

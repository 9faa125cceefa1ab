"""Progress bars on a terminal's stderr, with time left; nothing is shown for what takes under two seconds."""

from __future__ import annotations

import time
from typing import Any

from tam_edit.engine.ledger import Decision

SHOWN_AFTER_S = 2.0


class Progress:
    """A watcher (see engine.runner) with one bar for each stage."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._totals: dict[str, int] = {}
        self._done: dict[str, set[int]] = {}

    def stage(self, name: str, frames: int) -> None:
        self._totals[name] = max(frames, 1)
        self._done.setdefault(name, set())

    def unit(self, decision: Decision) -> None:
        self._done.setdefault(decision.stage, set()).update(decision.span.indices())
        if self._bars is None and time.monotonic() - self._began < SHOWN_AFTER_S:
            return
        bars = self._started()
        for name, done in self._done.items():
            total = max(self._totals.get(name, 1), len(done))
            if name not in self._tasks:
                self._tasks[name] = bars.add_task(name, total=total)
            bars.update(self._tasks[name], completed=len(done), total=total)

    def _started(self) -> Any:
        if self._bars is None:
            import atexit

            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description:>9}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("frames, left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bars.start()
            atexit.register(self._bars.stop)
        return self._bars

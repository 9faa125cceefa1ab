"""A batch on screen: a live table on a terminal, a line for each event elsewhere, and the summary at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from tam_edit.batch.estimate import estimate, span_in_words

if TYPE_CHECKING:
    from tam_edit.batch.running import Batch, Progress

MOST_ROWS = 16
STYLES = {"done": "green", "planned": "green", "unchanged": "dim", "failed": "red", "stopped": "yellow"}


class Board:
    """Watches a batch. Use as a context manager."""

    def __init__(self, *, live: bool, lines: bool) -> None:
        self._console = Console(stderr=True)
        self._live: Any = None
        self._is_live = live
        self._lines = lines
        self._drawn = 0.0

    def __enter__(self) -> Board:
        if self._is_live:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def watch(self, batch: Batch, changed: Progress | None) -> None:
        if self._live is not None:
            now = time.monotonic()
            if changed is not None or now - self._drawn > 0.4:
                self._drawn = now
                self._live.update(live_table(batch), refresh=True)
        elif self._lines and changed is not None and changed.state != "running":
            self._console.print(_plain(line(batch, changed)), highlight=False, soft_wrap=True)


def line(batch: Batch, item: Progress) -> str:
    """One job's news in a line."""
    ended = sum(other.state not in ("waiting", "running") for other in batch.all)
    seconds = f" in {item.outcome.seconds:.1f} s" if item.state == "done" and item.outcome else ""
    words = item.outcome.error if item.outcome and item.outcome.error else item.reason
    what = f"[{ended}/{len(batch.all)}] {item.job.name} {item.job.effect}: {item.state}{seconds}"
    return f"{what} ({words})" if words else what


def live_table(batch: Batch) -> Group:
    """Jobs under way with their stage, rate and what is left; how many wait and have ended below."""
    table = Table(box=None, pad_edge=False)
    for name in ("job", "effect", "state", "frames", "rate", "left"):
        table.add_column(name, justify="right" if name in ("frames", "rate", "left") else "left")
    order = {"running": 0, "failed": 1, "stopped": 1, "waiting": 2}
    shown = sorted(batch.all, key=lambda item: order.get(item.state, 3))[:MOST_ROWS]
    for item in shown:
        told = item.told if item.state == "running" else None
        state = told.stage if told else item.state
        frames = f"{told.done}/{told.total}" if told else ""
        rate = f"{item.rate:.1f}/s" if told and item.rate else ""
        left = span_in_words((told.total - told.done) / item.rate) if told and item.rate else ""
        style = STYLES.get(item.state, "")
        table.add_row(_plain(item.job.name), item.job.effect, Text(state, style), frames, rate, left)
    return Group(table, Text(_caption(batch), style="dim"))


def _plain(words: str) -> Text:
    """Words as they can be printed: a file name may hold bytes that are no text."""
    return Text("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in words))


def _caption(batch: Batch) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(batch.counts().items()))
    left = batch.left_s()
    return counts + (f"; about {span_in_words(left)} left" if left is not None else "")


def print_summary(batch: Batch, console: Console | None = None) -> None:
    """All jobs with how they ended, plans where nothing was to be run, and what to do about those that failed."""
    console = console or Console(soft_wrap=False)
    table = Table(box=None, pad_edge=False)
    for name in ("job", "effect", "result", "seconds", "why"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    for item in batch.all:
        seconds = f"{item.outcome.seconds:.1f}" if item.outcome and item.tries else ""
        words = item.outcome.error if item.outcome and item.outcome.error else item.reason
        table.add_row(
            _plain(item.job.name), item.job.effect, Text(item.state, STYLES.get(item.state, "")), seconds, _plain(words)
        )
    console.print(table)
    if batch.plan.dry:
        _print_plans(batch, console)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(batch.counts().items()))
    console.print(Text(f"{len(batch.all)} jobs: {counts}; {batch.seconds:.1f} s"), style="dim")
    if batch.stopped:
        console.print(Text(batch.stopped), style="yellow")


def _print_plans(batch: Batch, console: Console) -> None:
    for item in batch.all:
        if item.outcome is None or not item.outcome.report:
            continue
        table = Table(
            box=None, pad_edge=False, title=_plain(f"{item.job.name} {item.job.effect}"), title_justify="left"
        )
        for name in ("stage", "to run", "reused", "not yet known", "why"):
            table.add_column(name, justify="left" if name in ("stage", "why") else "right")
        for stage in item.outcome.report["stages"]:
            table.add_row(*_row(stage))
        console.print(table)
    console.print(Text(f"estimate: {estimate(batch.all).in_words()}"))


def _row(stage: Mapping[str, Any]) -> tuple[str | Text, ...]:
    shown = [reason for reason in stage["reasons"] if not reason.endswith("nothing it reads has changed")]
    why = "; ".join(shown[:2]) + (f"; and {len(shown) - 2} more" if len(shown) > 2 else "")
    numbers = (str(stage[name]) for name in ("frames_run", "frames_reused", "frames_unknown"))
    return (stage["name"], *numbers, Text(why or "nothing changed"))

"""Reports and plans as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tam_edit.engine.report import Report


def print_report(report: Report, console: Console | None = None) -> None:
    """What ran, what was reused and why, with engines, warnings and outputs."""
    console = console or Console()
    console.print(report_table(report))
    # The terminal wraps the lines below: paths and commands in them can be copied whole.
    used = ", ".join(f"{role} {name}" for role, name in report.engines.items())
    took = "" if report.planned else f"{report.seconds:.1f} s; "
    console.print(Text(f"{took}engines: {used}"), style="dim", soft_wrap=True)
    for words in report.warnings:
        console.print(Text(f"note: {words}"), style="yellow", soft_wrap=True)
    for output in report.outputs:
        console.print(Text(f"written: {output}"), style="green", soft_wrap=True)


def report_table(report: Report) -> Table:
    """One row for each stage."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("to run" if report.planned else "run", justify="right")
    table.add_column("reused", justify="right")
    if report.planned:
        table.add_column("not yet known", justify="right")
    else:
        table.add_column("seconds", justify="right")
    table.add_column("why")
    for stage in report.stages:
        last = str(stage.frames_unknown) if report.planned else f"{stage.seconds:.1f}"
        shown = [reason for reason in stage.reasons if not reason.endswith("nothing it reads has changed")]
        why = "; ".join(shown[:2]) + (f"; and {len(shown) - 2} more" if len(shown) > 2 else "")
        table.add_row(stage.name, str(stage.frames_run), str(stage.frames_reused), last, Text(why or "nothing changed"))
    return table

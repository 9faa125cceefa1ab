"""The command that does many edits: batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tam_edit.cli import running
from tam_edit.cli.options import ByteSize, json_option
from tam_edit.errors import UsageError

if TYPE_CHECKING:
    from tam_edit.batch.running import Batch


@click.command(epilog="Example: tam-edit batch JOBS.toml --workers 4 --changed")
@click.argument("jobs", type=click.Path(path_type=Path), metavar="JOBS.toml_OR_FOLDER")
@click.option("--workers", type=int, default=1, show_default=True, metavar="N", help="Processes on this machine.")
@click.option("--cluster", metavar="ADDRESS", help="Run on Ray: its head's address, auto, or local.")
@click.option(
    "--changed",
    is_flag=True,
    help="Only what changed since its last result; outputs are read to see whether they are those that were written.",
)
@click.option("--again", is_flag=True, help="Write every output again, also of jobs that are finished.")
@click.option("--dry-run", is_flag=True, help="Print what would run, what is reused, and about how long it takes.")
@click.option("--store", metavar="URL", help="Keep finished chunks there too, for example s3://bucket/folder.")
@click.option(
    "--memory",
    type=ByteSize(least=1),
    default="8GB",
    show_default=True,
    metavar="SIZE",
    help="How much memory to use at most, all workers together.",
)
@json_option
def batch(
    jobs: Path,
    workers: int,
    cluster: str | None,
    changed: bool,
    again: bool,
    dry_run: bool,
    store: str | None,
    memory: int,
    as_json: bool,
) -> int:
    """Do all edits of a jobs file; what is finished is not run again, and one that fails stops no other.

    A folder in its place: the projects in it, and the results that they had from former batches.
    """
    from tam_edit.batch.former import former_jobs
    from tam_edit.batch.reading import read_jobs
    from tam_edit.batch.running import STOPPED, Batch, Plan, run_here
    from tam_edit.cli.batch_table import Board, print_summary

    if changed and again:
        raise UsageError("--changed runs little, --again runs all: give one of them")
    plan = Plan(workers, memory, dry=dry_run, changed=changed, again=again, store_url=store)
    file = former_jobs(jobs) if jobs.is_dir() else read_jobs(jobs)
    for words in file.warnings:
        click.echo(f"note: {words}", err=True)
    board = Board(live=sys.stderr.isatty() and not as_json, lines=not as_json or sys.stderr.isatty())
    todo = Batch(file.jobs, plan, watch=board.watch)
    try:
        with board:
            if cluster is None:
                run_here(todo)
            else:
                from tam_edit.batch.cluster import run_on_cluster

                run_on_cluster(todo, cluster)
    except KeyboardInterrupt:
        todo.stopped = todo.stopped or STOPPED  # the rest is told below, with all that was finished
    _tell(todo, file.warnings, as_json)
    if not as_json:
        print_summary(todo)
    return todo.exit_status


def _tell(todo: Batch, warnings: tuple[str, ...], as_json: bool) -> None:
    if not as_json:
        return
    facts = {**todo.to_json(), "warnings": list(warnings)}
    if todo.plan.dry:
        from tam_edit.batch.estimate import estimate

        found = estimate(todo.all)
        facts["estimate"] = {"seconds": found.seconds, "unknown": list(found.unknown), "reports": found.reports}
    running.tell_json(facts)

"""Commands about the cache: show, prune, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tam_edit.cli import running
from tam_edit.cli.options import ByteSize, json_option

if TYPE_CHECKING:
    from tam_edit.engine.store import Store


@click.group()
def cache() -> None:
    """Look after the cache of a project, or of edits without one (no EDIT given)."""


edit_argument = click.argument("edit", type=click.Path(path_type=Path), required=False)


@cache.command(epilog="Example: tam-edit cache show ball.edit")
@edit_argument
@json_option
def show(edit: Path | None, as_json: bool) -> None:
    """Say how much the cache holds."""
    store = _store(edit)
    size = store.size()
    if as_json:
        running.tell_json(
            {
                "command": "cache show",
                "exit": 0,
                "path": str(store.root),
                "records": size.records,
                "blobs": size.blobs,
                "bytes": size.bytes,
            }
        )
        return
    click.echo(f"{store.root}: {size.bytes / 2**20:.1f} MiB in {size.blobs} results, {size.records} records")


@cache.command(epilog="Example: tam-edit cache prune ball.edit --limit 2GB")
@edit_argument
@click.option(
    "--limit", type=ByteSize(), default="0", show_default=True, help="Keep at most so much, what was used last."
)
@json_option
def prune(edit: Path | None, limit: int, as_json: bool) -> None:
    """Drop what was not used for longest; it costs only time."""
    dropped = _store(edit).prune(limit)
    if as_json:
        running.tell_json(
            {
                "command": "cache prune",
                "exit": 0,
                "records": dropped.records,
                "blobs": dropped.blobs,
                "bytes": dropped.bytes,
            }
        )
        return
    click.echo(f"dropped {dropped.bytes / 2**20:.1f} MiB in {dropped.blobs} results")


@cache.command(epilog="Example: tam-edit cache verify ball.edit")
@edit_argument
@json_option
def verify(edit: Path | None, as_json: bool) -> None:
    """Read everything in the cache and remove what is damaged."""
    damaged = _store(edit).verify()
    if as_json:
        running.tell_json({"command": "cache verify", "exit": 0, "damaged": damaged})
        return
    for words in damaged:
        click.echo(f"removed, damaged: {words}")
    click.echo(
        "everything is as it was written" if not damaged else f"{len(damaged)} entries are made again when needed"
    )


def _store(edit: Path | None) -> Store:
    from tam_edit.engine.store import Store
    from tam_edit.project import Project
    from tam_edit.workbench import shared_cache

    return Store(Project(edit).cache if edit is not None else shared_cache())

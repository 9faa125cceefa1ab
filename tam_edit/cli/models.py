"""`tam-edit models`: which weights are installed, fetching them, checking them, and their licences."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tam_edit.models.catalogue import WeightsEntry

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
NAMED = click.option("--weights", "named", multiple=True, metavar="NAME=FILE", help="Look at this file (repeatable).")


@click.group("models", short_help="List, fetch and verify the weights of the neural engines.")
def models() -> None:
    """Weights of SAM, XMem and E2FGVI.

    They are looked for in $TAM_EDIT_WEIGHTS and in the user's data folder, under their official file names.
    """


@models.command("list", epilog="Example: tam-edit models list --json")
@NAMED
@JSON
def list_(named: tuple[str, ...], as_json: bool) -> None:
    """Say of all weights whether they are installed and verified."""
    from tam_edit.models import weights
    from tam_edit.models.catalogue import WEIGHTS

    files = weights.parse_named(named)
    rows = [_row(entry, files) for entry in WEIGHTS.values()]
    folders = [str(folder) for folder in weights.folders()]
    if as_json:
        _print_json({"command": "models list", "folders": folders, "weights": rows})
    else:
        _print_table(
            ("weights", "installed", "size", "licence", "for"),
            [(row["key"], _state_words(row), _size_words(row), row["licence"], row["purpose"]) for row in rows],
        )
        click.echo(f"looked for in {' and '.join(folders)}", err=True)
    for row in rows:
        if row["warning"]:
            click.echo(f"{row['key']}: {row['warning']}", err=True)


@models.command("fetch")
@click.argument("keys", nargs=-1, required=True, metavar="NAME...")
@click.option("--from", "source", metavar="FILE|URL", help="A mirror, or a file that you brought yourself.")
@click.option("--accept-licence", "--accept-license", "accept_licence", is_flag=True, help="Agree to the licence.")
@JSON
def fetch(keys: tuple[str, ...], source: str | None, accept_licence: bool, as_json: bool) -> None:
    """Fetch weights; one that broke off is resumed.

    \b
    tam-edit models fetch sam-vit-b xmem-s012
    tam-edit models fetch e2fgvi-hq --accept-licence
    tam-edit models fetch xmem --from /media/stick/XMem.pth
    """
    from tam_edit.errors import UsageError
    from tam_edit.models import weights, weights_fetch

    entries = [weights.entry(key) for key in dict.fromkeys(keys)]
    # A folder, or an address that ends in /, holds all of them under their official names.
    if source is not None and len(entries) > 1 and not (source.endswith("/") or Path(source).is_dir()):
        raise UsageError("--from names one file: fetch one set of weights at a time, or give a folder that holds all")
    agreed = {entry.key: accept_licence or _agrees(entry) for entry in entries}
    fetched = []
    for entry in entries:
        with _progress(entry.file_name) as told:
            result = weights_fetch.fetch(entry.key, source=source, accept_licence=agreed[entry.key], progress=told)
        click.echo(f"{result.words} ({result.path})", err=True)
        fetched.append(
            {
                "key": result.key,
                "path": str(result.path),
                "sha256": result.sha256,
                "size_bytes": result.size_bytes,
                "verified": result.verified,
                "compared_with": result.basis,
                "from": result.address,
                "message": result.words,
            }
        )
    if as_json:
        _print_json({"command": "models fetch", "weights": fetched})


@models.command("verify", epilog="Example: tam-edit models verify --json")
@click.argument("keys", nargs=-1, metavar="[NAME...]")
@NAMED
@JSON
def verify(keys: tuple[str, ...], named: tuple[str, ...], as_json: bool) -> None:
    """Read installed weights and compare their SHA-256; exit status 1 if any is wrong or missing.

    Without a name, all that are installed.
    """
    from tam_edit.models import weights
    from tam_edit.models.catalogue import WEIGHTS

    files = weights.parse_named(named)
    entries = [weights.entry(key) for key in keys] or list(WEIGHTS.values())
    rows = [_row(entry, files, fresh=True) for entry in entries]
    if not keys:
        rows = [row for row in rows if row["path"] is not None]
    wrong = [row["key"] for row in rows if row["state"] in ("wrong", "missing")]
    if as_json:
        _print_json({"command": "models verify", "exit": 1 if wrong else 0, "weights": rows})
    else:
        for row in rows:
            click.echo(f"{row['key']}: {_state_words(row)} {row['path'] or ''} {row['sha256'] or ''}".rstrip())
        if not rows:
            click.echo("no weights are installed (tam-edit models list)", err=True)
    for row in rows:
        if row["warning"]:
            click.echo(f"{row['key']}: {row['warning']}", err=True)
    if wrong:
        sys.exit(1)


@models.command("licences", epilog="Example: tam-edit models licences --json")
@JSON
def licences(as_json: bool) -> None:
    """Say under which licence the weights are published, and what it asks."""
    from tam_edit.models import weights_fetch
    from tam_edit.models.catalogue import WEIGHTS

    rows = [
        {
            "key": entry.key,
            "file": entry.file_name,
            "licence": entry.licence,
            "address": entry.licence_address,
            "commercial_use": entry.allows_commercial,
            "words": weights_fetch.licence_words(entry),
        }
        for entry in WEIGHTS.values()
    ]
    if as_json:
        _print_json({"command": "models licences", "weights": rows})
        return
    for row in rows:
        click.echo(f"{row['key']}: {row['words']}")


def _row(entry: WeightsEntry, named: dict[str, Path], fresh: bool = False) -> dict[str, Any]:
    """Describe one set of weights: state is official, as first fetched, unknown, wrong or missing."""
    from tam_edit.models import weights

    row: dict[str, Any] = {
        "key": entry.key,
        "file": entry.file_name,
        "state": "missing",
        "installed": False,
        "verified": False,
        "path": None,
        "sha256": None,
        "size_bytes": entry.size_bytes,
        "about_bytes": entry.about_bytes,
        "licence": entry.licence,
        "commercial_use": entry.allows_commercial,
        "purpose": entry.purpose,
        "addresses": list(entry.addresses),
        "fetch": weights.fetch_command(entry.key),
        "warning": None,
    }
    paths = [named[entry.key]] if entry.key in named else [folder / entry.file_name for folder in weights.folders()]
    if fresh:
        for path in paths:
            if path.is_file():
                weights.sha256_of(path, fresh=True)
    passed_over: list[str] = []
    found = weights.find(entry.key, named, say=passed_over.append)
    if found is not None:
        states = {"catalogue": "official", "first fetch": "as first fetched", "nothing": "unknown"}
        named_wrong = not found.verified and found.basis == "catalogue"
        row |= {
            "state": "wrong" if named_wrong else states[found.basis],
            "installed": True,
            "verified": found.verified,
            "path": str(found.path),
            "sha256": found.sha256,
            "size_bytes": found.path.stat().st_size,
            "warning": found.warning,
        }
    elif passed_over:
        path = next(path for path in paths if path.is_file())
        row |= {
            "state": "wrong",
            "path": str(path),
            "sha256": weights.sha256_of(path),
            "size_bytes": path.stat().st_size,
            "warning": " ".join(passed_over),
        }
    return row


def _state_words(row: dict[str, Any]) -> str:
    words = {"missing": "no", "wrong": "WRONG BYTES", "unknown": "yes, not verified", "official": "yes, verified"}
    return words.get(row["state"], "yes, as first fetched")


def _size_words(row: dict[str, Any]) -> str:
    size = row["size_bytes"] or row["about_bytes"]
    return f"{'' if row['size_bytes'] else 'about '}{size / 1e6:,.0f} MB"


def _agrees(entry: WeightsEntry) -> bool:
    """Ask a person at a terminal whether they accept a licence with conditions; elsewhere nobody has agreed."""
    from tam_edit.models import weights_fetch

    if entry.allows_commercial or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return click.confirm(weights_fetch.licence_words(entry) + " Do you accept that?", default=False, err=True)


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar with the time left on stderr; where that is no terminal, a line for every tenth."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    if not sys.stderr.isatty():
        yield _tenths(name)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _tenths(name: str) -> Callable[[int, int | None], None]:
    said = 0

    def tell(done: int, total: int | None) -> None:
        nonlocal said
        if total and done * 10 // total > said:
            said = done * 10 // total
            click.echo(f"{name}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB", err=True)

    return tell


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    for line in [head, *rows]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _print_json(answer: dict[str, Any]) -> None:
    command = click.get_current_context().info_name
    click.echo(json.dumps({"command": f"models {command}", "exit": 0, **answer}, indent=2))

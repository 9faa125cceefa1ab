"""Commands that carry masks to other programs and back: export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tam_edit.cli import running
from tam_edit.cli.options import edge_options, engine_options, json_option, objects_option


@click.command(epilog="Example: tam-edit export ball.edit --format davis -o masks")
@click.argument("edit", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    required=True,
    metavar="F",
    help="davis, coco, yolo, cvat, mot, matte, prores4444, webm-alpha, png, exr or otio.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="PATH", help="Where to write.")
@objects_option
@edge_options
@engine_options
@json_option
def export(edit: Path, format_: str, output: Path, objects: str | None, as_json: bool, **options: Any) -> None:
    """Write the masks, or what they cut out, in another program's format."""
    session = running.open_edit(edit, as_json, options)
    running.tell(session.export(format_, output, objects=running.listed(objects)), as_json)


@click.command("import", epilog="Example: tam-edit import ball.edit masks --format davis")
@click.argument("edit", type=click.Path(path_type=Path))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "format_", required=True, metavar="F", help="davis, coco, yolo, cvat, mot or png.")
@json_option
def import_(edit: Path, path: Path, format_: str, as_json: bool) -> None:
    """Take masks in another program's format in as keyframes."""
    found = running.open_edit(edit, as_json).ingest(format_, path)
    if as_json:
        facts = {"objects": {name: list(frames) for name, frames in found.frames.items()}}
        running.tell_json({"command": "import", "exit": 0, "outputs": [], "warnings": list(found.warnings), **facts})
        return
    for name, frames in found.frames.items():
        click.echo(f"{name!r}: marked on {len(frames)} frames")
    for words in found.warnings:
        click.echo(f"note: {words}", err=True)

"""The command that opens the page."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tam_edit.cli import running
from tam_edit.cli.options import ByteSize, engine_options, json_option

if TYPE_CHECKING:
    from tam_edit.web.studio import Studio


@click.command(epilog="Example: tam-edit ui clip.mp4")
@click.argument("clip", type=click.Path(path_type=Path), required=False, metavar="[CLIP_OR_EDIT]")
@click.option("--port", type=click.IntRange(0, 65535), default=8717, show_default=True, help="0 takes any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; beyond loopback with a token.")
@click.option("--demo", is_flag=True, help="Open the demo's clip.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where new projects and sent clips go (here).",
)
@click.option(
    "--upload-limit",
    type=ByteSize(),
    default="4GB",
    show_default=True,
    metavar="SIZE",
    help="Largest file sent.",
)
@click.option("--browser/--no-browser", default=True, help="Open a browser window, or only say the address.")
@engine_options
@json_option
def ui(
    clip: Path | None,
    port: int,
    host: str,
    demo: bool,
    folder: Path,
    upload_limit: int,
    browser: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Open the page, where the whole job is done by hand and eye."""
    if demo and clip is not None:
        raise click.UsageError("--demo opens the demo's clip: leave CLIP_OR_EDIT out")
    if clip is not None and not clip.exists():
        raise click.UsageError(f"{clip}: there is no such clip or project")
    from tam_edit.web.serve import access_for, address, bound, serve
    from tam_edit.web.studio import Studio, StudioOptions

    # The socket first: a port that is taken is said before anything is made.
    listening = bound(host, port)
    access = access_for(listening, host)
    memory = options.pop("memory")
    overrides = {name: options.pop(name) for name in ("segmenter", "tracker", "inpainter", "refine")}
    studio = Studio(StudioOptions(folder, upload_limit, running.engines(options), memory))
    if demo:
        from tam_edit.cli.demo import demo_clip

        clip = demo_clip()
    if clip is not None:
        studio.later(f"reading {clip.name}", lambda: _open(studio, clip, folder, overrides))
    if as_json:
        running.tell_json({"command": "ui", "exit": 0, "outputs": [], "address": address(access)})

    def say(words: str) -> None:
        click.echo(f"the page: {words}  (stop with Ctrl-C)", err=as_json)

    # To be stopped is how a page ends.
    with contextlib.suppress(KeyboardInterrupt):
        serve(studio, listening, access, say, open_browser=browser and not as_json)


def _open(studio: Studio, clip: Path, folder: Path, overrides: dict[str, Any]) -> None:
    """Open a project, with the engines that were asked for as its settings."""
    _open_project(studio, clip, folder)
    given = {name: value for name, value in overrides.items() if value is not None}
    if given:
        studio.open_desk.set_settings(**given)
        studio.changed()


def _open_project(studio: Studio, clip: Path, folder: Path) -> None:
    """The project itself; a clip gets one in the folder, or the one that it has there already."""
    from tam_edit.project import Project
    from tam_edit.web.studio import project_for

    if Project.is_one(clip):
        studio.open(clip)
        return
    place = project_for(clip, folder)
    if Project.is_one(place) and Project(place).source_path(Project(place).script()) == clip.resolve():
        studio.open(place)
        return
    number = 2
    while place.exists():
        place = place.with_name(f"{clip.stem}-{number}.edit")
        number += 1
    studio.create(clip, place)

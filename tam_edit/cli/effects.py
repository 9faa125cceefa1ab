"""Commands that write edited videos: remove, replace and alter, with or without a project, and render."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tam_edit.cli import looks, running
from tam_edit.cli.options import (
    CLIP_OR_EDIT,
    choice_options,
    edge_options,
    engine_options,
    json_option,
    output_options,
    prompt_options,
    source_options,
    stacked,
)
from tam_edit.errors import UsageError
from tam_edit.project import Project

if TYPE_CHECKING:
    from tam_edit.making import OutputOptions
    from tam_edit.session import Edit

effect_options = stacked(
    click.argument("clip", type=CLIP_OR_EDIT, metavar="CLIP_OR_EDIT"),
    click.option("-o", "--output", required=True, help="The file to write; a folder or %05d name for pictures."),
    prompt_options,
    choice_options,
    edge_options,
    output_options,
    engine_options,
    source_options,
    json_option,
)


@click.command(epilog="Example: tam-edit remove clip.mp4 -o clean.mp4 --frame 12 --point 320,200")
@effect_options
def remove(clip: Path, output: str, as_json: bool, **options: Any) -> None:
    """Write the clip without the marked objects."""
    edit, choice, stored = _prepared(clip, as_json, options)
    running.tell(edit.remove(output, **choice, options=stored), as_json)


@click.command(epilog="Example: tam-edit replace clip.mp4 -o beach.mp4 --background beach.jpg --box 200,80,420,400")
@effect_options
@click.option(
    "--background", required=True, metavar="BG", help="Picture, video, #RRGGBB, blur[:SIGMA], transparent, EDIT."
)
@looks.look_options
def replace(clip: Path, output: str, background: str, as_json: bool, **options: Any) -> None:
    """Write the clip with another background behind the marked objects."""
    look = looks.look(options)
    edit, choice, stored = _prepared(clip, as_json, options)
    running.tell(edit.replace(output, background, **choice, look=look, options=stored), as_json)


@click.command(epilog="Example: tam-edit alter clip.mp4 -o anonymous.mp4 --pixelate --box 200,80,260,150")
@effect_options
@looks.alteration_options
def alter(clip: Path, output: str, as_json: bool, **options: Any) -> None:
    """Write the clip with the marked objects in another colour, blurred, pixelated, or a picture in their place."""
    how = looks.alteration(options)
    if how is None:
        raise UsageError("say how: --recolour #RRGGBB, --blur [SIGMA], --pixelate [N] or --picture FILE")
    edit, choice, stored = _prepared(clip, as_json, options)
    running.tell(edit.alter(output, how, **choice, options=stored), as_json)


@click.command(epilog="Example: tam-edit render ball.edit -o finished.mp4")
@click.argument("edit", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, help="The file to write; a folder or %05d name for pictures.")
@edge_options
@output_options
@engine_options
@json_option
def render(edit: Path, output: str, as_json: bool, **options: Any) -> None:
    """Write the clip under all effects that the project's edit.json lists, in one pass."""
    from tam_edit.making import OutputOptions

    stored = OutputOptions(options.pop("lossless"), options.pop("codec"), options.pop("crf"))
    session = running.open_edit(edit, as_json, options)
    running.tell(session.render(output, options=stored), as_json)


def _prepared(clip: Path, as_json: bool, options: dict[str, Any]) -> tuple[Edit, dict[str, Any], OutputOptions]:
    """Open the clip or project and say the prompts of the command line."""
    from tam_edit.making import OutputOptions

    saying = running.saying(options)
    stored = OutputOptions(options.pop("lossless"), options.pop("codec"), options.pop("crf"))
    choice = {"objects": running.listed(options.pop("objects")), "invert": options.pop("invert")}
    said = saying.says_something
    if said and Project.is_one(clip):
        raise UsageError(f"{clip} is a project: say where objects are with 'tam-edit mark {clip} --object NAME ...'")
    if not said and not Project.is_one(clip):
        if not clip.exists():
            raise click.UsageError(f"{clip}: there is no such clip or project")
        raise UsageError("say where the object is: --point X,Y, --box X0,Y0,X1,Y1 or --mask PNG, with --frame N")
    edit = running.open_clip_or_edit(clip, as_json, options)
    if said:
        edit.say("object", saying)
    return edit, choice, stored

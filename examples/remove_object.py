"""Remove an object from a clip: python examples/remove_object.py CLIP X Y OUT"""

from __future__ import annotations

import sys

from tam_edit import Edit


def main(clip: str, x: str, y: str, output: str) -> None:
    edit = Edit.once(clip)
    edit.mark("object", frame=0, points=[(float(x), float(y))])
    report = edit.remove(output)
    for stage in report.stages:
        print(f"{stage.name}: {stage.frames_run} frames run, {stage.frames_reused} reused")


if __name__ == "__main__":
    main(*sys.argv[1:])

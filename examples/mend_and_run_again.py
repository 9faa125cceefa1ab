"""Mend the worst mask of a project by a click, and remove again: python examples/mend_and_run_again.py EDIT X Y OUT"""

from __future__ import annotations

import sys

from tam_edit import Edit
from tam_edit.engine.report import frames_run


def main(project: str, x: str, y: str, output: str) -> None:
    edit = Edit.open(project)
    edit.track()
    doubts = edit.review(limit=1)
    if doubts:
        worst = doubts[0]
        print(f"frame {worst.frame}: {worst.object}, trust {worst.trust:.2f}, {worst.why}")
        edit.mark(worst.object, frame=worst.frame, points=[(float(x), float(y))])
    report = edit.remove(output)
    print(f"filled again: {len(frames_run(report, 'inpaint'))} frames")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A run to be killed: `python -m tests.killable PROJECT OUTPUT` removes with simple engines, slowly."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tam_edit import Edit
from tam_edit.pipelines import engines
from tests import scenes

PAUSE_S = 0.002


def slow_fill(self: scenes.MeanFiller, start: int, stop: int) -> Iterator[scenes.Rgb]:
    for filled in QUICK_FILL(self, start, stop):
        time.sleep(PAUSE_S)
        yield filled


def slow_step(self: scenes.ColourTracker, *given: object, **named: object) -> object:
    time.sleep(PAUSE_S)
    return QUICK_STEP(self, *given, **named)  # type: ignore[arg-type]


QUICK_FILL, QUICK_STEP = scenes.MeanFiller.fill, scenes.ColourTracker.step

if __name__ == "__main__":
    scenes.MeanFiller.fill = slow_fill  # type: ignore[method-assign]
    scenes.ColourTracker.step = slow_step  # type: ignore[method-assign, assignment]
    simple = scenes.simple_engines()
    engines.resolve = lambda settings, options: simple
    print("ready", flush=True)
    Edit.open(Path(sys.argv[1])).remove(Path(sys.argv[2]))

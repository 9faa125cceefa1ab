"""A batch to be killed: `python -m tests.batch.killable JOBS.toml OPTIONS` is `tam-edit batch` with slow engines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tam_edit import cli
from tam_edit.batch import running
from tam_edit.pipelines import engines
from tests import scenes
from tests.batch import support
from tests.batch.support import slow


def begin() -> None:
    """Slow engines that leave a sign in the clip's project when they begin to fill, and are long not done with it."""
    support.PAUSE_S = 0.1
    slow()
    resolved = engines.resolve(None, None)  # type: ignore[arg-type]
    fill = scenes.MeanFiller.fill

    def signing(self: scenes.MeanFiller, start: int, stop: int) -> Iterator[scenes.Rgb]:
        clip = Path(self.read.args[0].source.path)  # type: ignore[attr-defined]
        clip.with_suffix(".edit").joinpath("inpaint-begun").touch()
        return fill(self, start, stop)

    scenes.MeanFiller.fill = signing  # type: ignore[method-assign]
    engines.resolve = lambda *_: resolved


if __name__ == "__main__":
    run_here = running.run_here
    running.run_here = lambda batch: run_here(batch, begin)
    sys.argv[1:1] = ["batch"]
    cli.main()

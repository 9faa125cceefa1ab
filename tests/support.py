"""What several test files need: where the real footage lies, how to skip aloud without it, and what a run did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit.engine.report import Report
from tam_edit.media.probe import probe
from tam_edit.media.reader import ClipReader

Call = Callable[..., tuple[int, str, str]]
"""What the fixture `call` is: the words of a command line -> its exit status, stdout and stderr."""

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
FOOTAGE = SHARED / "footage"
PARITY = SHARED / "parity"

needs_footage = pytest.mark.skipif(
    not FOOTAGE.is_dir(), reason=f"real footage is missing: {FOOTAGE} (see ../shared/footage/README.md)"
)
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason=f"recordings are missing: {PARITY}")


def ran(report: Report) -> dict[str, int]:
    """How many frames each stage ran."""
    return {stage.name: stage.frames_run for stage in report.stages}


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    """All pictures of a clip, upright RGB [H, W, 3]."""
    clip = probe(path, digest="x")
    with ClipReader(clip) as reader:
        return [shot.rgb() for shot in reader.frames(clip.span)]

"""The whole job with the classic engine on real footage: what a new user does first."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tam_edit import Edit
from tam_edit.engine.report import frames_run
from tests.support import FOOTAGE, needs_footage

FRAMES = 12


@needs_footage
def test_click_track_mend_remove_on_davis(tmp_path: Path) -> None:
    clip = tmp_path / "cows"
    clip.mkdir()
    for number in range(FRAMES):
        with Image.open(FOOTAGE / f"davis/JPEGImages/480p/cows/{number:05d}.jpg") as picture:
            picture.resize((428, 240)).save(clip / f"{number:05d}.png")
    with Image.open(FOOTAGE / "davis/Annotations/480p/cows/00000.png") as truth:
        first = np.asarray(truth.resize((428, 240), Image.Resampling.NEAREST)) > 0
    edit = Edit.create(clip, tmp_path / "cows.edit", frame_rate=24)
    edit.override(segmenter="classic", tracker="classic", inpainter="classic")
    x0, y0, x1, y1 = bounds(first)
    clicked = edit.mark("cow", box=(x0, y0, x1, y1))
    assert overlap(clicked, first) > 0.6
    edit.mark("cow", mask=first)
    tube = edit.track()
    with Image.open(FOOTAGE / f"davis/Annotations/480p/cows/{FRAMES - 1:05d}.png") as truth:
        last = np.asarray(truth.resize((428, 240), Image.Resampling.NEAREST)) > 0
    assert overlap(tube["cow"][FRAMES - 1], last) > 0.8
    report = edit.remove(tmp_path / "clean.mp4")
    assert set(frames_run(report, "inpaint")) == set(range(FRAMES))
    again = edit.remove(tmp_path / "again.mp4")
    assert again.frames_run == 0
    assert (tmp_path / "clean.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    tool = shutil.which("tam-edit", path=str(Path(sys.executable).parent))
    assert tool is not None
    done = subprocess.run(
        [tool, "demo", "-o", str(tmp_path / "demo"), "--json"], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert all(Path(path).exists() for path in told["outputs"])
    assert "30, 76, 137, 187, 242" in done.stderr
    last = {stage["name"]: stage for stage in told["runs"][-1]["stages"]}
    assert last["encode"]["frames_reused"] > 0 and last["probe"]["frames_run"] == 0
    assert set(range(*last["inpaint"]["spans_run"][0])) <= set(range(187, 242))


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())

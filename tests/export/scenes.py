"""A small clip with everything that exports get wrong: holes, parts, corners that touch, an object that leaves."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tam_edit.clip import ClipSource, Orientation
from tam_edit.masks import MaskTube
from tam_edit.pipelines.export import ExportResult, export

SIZE = (97, 61)  # odd both ways
NAMES = ("ball", 'Käse & "dog": 1')
FRAMES = 7
# A variable rate in 1/30000 s, starting late.
PTS = (1001, 2002, 3003, 4600, 5005, 6006, 7107)


def clip(
    pts: tuple[int, ...] = PTS, time_base: Fraction = Fraction(1, 30000), size_wh: tuple[int, int] = SIZE
) -> ClipSource:
    return ClipSource(
        path="/nowhere/source clip.mp4",
        digest="",
        kind="video",
        container="mp4",
        codec="h264",
        coded_wh=size_wh,
        size_wh=size_wh,
        orientation=Orientation(),
        pixel_format="yuv420p",
        bit_depth=8,
        time_base=time_base,
        pts=pts,
        last_duration=1001,
        sync_frames=(0,),
        frame_rate=Fraction(30000, 1001),
    )


def label_map(index: int) -> np.ndarray:
    found = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    distance = np.hypot(x - 25 - 5 * index, y - 30)
    found[(distance < 18) & (distance > 7)] = 1  # a ring
    found[(distance < 3)] = 1  # with an island in its hole
    found[0:4, 0:4] = found[4:7, 4:7] = 1  # two parts that touch at a corner, at the picture's border
    if index not in (3, 4):
        found[40 + index : 55, 60:90:2] = 2  # thin lines
        found[60, 96] = 2  # a single pixel in the last corner
    return found


def picture(index: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.dstack([x * 2 + 20, y * 3 + 30, np.full_like(x, 40 + 20 * index)]).astype(np.uint8)


def matte(index: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.clip((22 - np.hypot(x - 30 - 5 * index, y - 30)) / 8 + 0.5, 0, 1).astype(np.float32)


TUBE = MaskTube(NAMES, FRAMES, SIZE, label_map)


def write(format: str, destination: Path, **more: Any) -> ExportResult:
    asked: list[int] = []

    def pictures(index: int) -> np.ndarray:
        asked.append(index)
        return picture(index)

    arguments: dict[str, Any] = {"tube": TUBE, "clip": clip(), "matte": None, **more}
    pictures_of: Callable[[int], np.ndarray] = arguments.pop("pictures", pictures)
    result = export(format, pictures=pictures_of, destination=destination, **arguments)
    assert asked == sorted(asked), "pictures are asked for in order, so that they can be decoded as a stream"
    return result

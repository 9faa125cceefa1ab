"""Prompts in pixels of any size of the picture, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, PromptError
from tam_edit.models.classic.regions import Place

Bytes = NDArray[np.uint8]
Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Prompts:
    """Points (x, y) and box in pixels of some size of the picture."""

    positive: list[Place]
    negative: list[Place]
    box: tuple[int, int, int, int] | None


def read(
    frame: Bytes, size: tuple[int, ...], points: Sequence[Point], labels: Sequence[int] | None, box: Box | None
) -> Prompts:
    """Prompts given in pixels of the frame, in pixels of a picture [H, W] of some size. Raises PromptError."""
    height, width = frame.shape[:2]
    places = _numbers(points, "points", "give (x, y) for each")
    if len(places) and places.shape[1:] != (2,):
        raise PromptError(f"points {points!r}: give (x, y) for each")
    signs = np.ones(len(places)) if labels is None else _numbers(labels, "labels", "give 1 or 0 for each point")
    if signs.shape != places.shape[:1]:
        raise PromptError(f"{len(places)} points but {signs.size} labels: give one label, 1 or 0, for each point")
    given = signs.tolist()
    if set(given) - {0, 1}:
        raise PromptError(f"point labels {sorted(set(given))}: 1 marks the object, 0 what is not the object")
    if 1 not in given and box is None:
        raise PromptError("nothing says where the object is: give at least one positive point or a box")
    fx, fy = size[1] / width, size[0] / height
    placed: dict[float, list[tuple[int, int]]] = {0: [], 1: []}
    for (x, y), label in zip(places, given, strict=True):
        if not (0 <= x < width and 0 <= y < height):
            raise PromptError(f"point {x:g},{y:g} lies outside the {width}x{height} picture")
        placed[label].append((min(size[1] - 1, int(x * fx)), min(size[0] - 1, int(y * fy))))
    shrunk = None
    if box is not None:
        corners = _numbers(box, "box", "give (x0, y0, x1, y1)")
        if corners.shape != (4,) or np.isnan(corners).any():
            raise PromptError(f"box {box!r}: give (x0, y0, x1, y1)")
        x0, y0, x1, y1 = (
            max(0.0, min(box[0], box[2])),
            max(0.0, min(box[1], box[3])),
            min(float(width), max(box[0], box[2])),
            min(float(height), max(box[1], box[3])),
        )
        if x1 - x0 < 1 or y1 - y0 < 1:
            raise PromptError(f"box {box} holds no pixel of the {width}x{height} picture")
        shrunk = (
            int(x0 * fx),
            int(y0 * fy),
            max(int(x0 * fx) + 1, int(np.ceil(x1 * fx))),
            max(int(y0 * fy) + 1, int(np.ceil(y1 * fy))),
        )
    return Prompts(placed[1], placed[0], shrunk)


def _numbers(given: Any, name: str, wanted: str) -> NDArray[np.float64]:
    """What was given as numbers, one row for each. Raises PromptError."""
    try:
        numbers = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} {given!r}: {wanted}") from error
    if not numbers.ndim:
        raise PromptError(f"{name} {given!r}: {wanted}")
    return numbers


def check_frame(frame: Bytes) -> None:
    """Raise EngineError for anything but RGB uint8 [H, W, 3]."""
    if not isinstance(frame, np.ndarray):
        raise EngineError(f"a frame that is a {type(frame).__name__}: give an array, RGB uint8 [H, W, 3]")
    if 0 in frame.shape:
        raise EngineError(f"a frame of shape {frame.shape} has no pixel: give RGB uint8 [H, W, 3]")
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise EngineError(f"a frame of shape {frame.shape} and type {frame.dtype}: give RGB uint8 [H, W, 3]")


def shrink(frame: Bytes, area: int) -> Bytes:
    """The frame at no more than some area in pixels."""
    height, width = frame.shape[:2]
    scale = min(1.0, (area / (height * width)) ** 0.5)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA))

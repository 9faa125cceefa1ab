"""How large to look: a small object in a large picture is followed at a finer scale, in a window around it."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Window = tuple[slice, slice]
Area = tuple[int, int, int, int]  # top, bottom, left, right

WHOLE: Window = (slice(None), slice(None))
_FINEST = 8.0  # the whole picture never has more working pixels than so many windows
_GROWN = 1.5  # a window this much larger than it should be makes the scale coarser
_SHRUNK = 0.7  # at the next finer scale, the window fits with room to spare


def scales(shape: tuple[int, ...], budget: int) -> list[float]:
    """From the one at which the whole picture [H, W] has `budget` pixels, in steps of the root of 2, to the finest."""
    area = shape[0] * shape[1]
    coarsest = min(1.0, (budget / area) ** 0.5)
    finest = min(1.0, (_FINEST * budget / area) ** 0.5)
    result = [coarsest]
    while result[-1] * 1.2 < finest:
        result.append(min(finest, result[-1] * 2**0.5))
    return result


def choose(shape: tuple[int, ...], box: Area, budget: int, margin_px: int, current: float | None) -> float:
    """The scale for objects in a box of the picture; the current one is kept until it is far off."""
    steps = scales(shape, budget)
    costs = [_cost(shape, box, scale, margin_px) for scale in steps]
    fitting = max((i for i, cost in enumerate(costs) if cost <= budget), default=0)
    if current is None:
        return steps[fitting]
    now = min(range(len(steps)), key=lambda i: abs(steps[i] - current))
    if costs[now] > _GROWN * budget:
        return steps[min(fitting, now)]
    while now + 1 < len(steps) and costs[now + 1] <= _SHRUNK * budget:
        now += 1
    return steps[now]


def _cost(shape: tuple[int, ...], box: Area, scale: float, margin_px: int) -> float:
    """Pixels of the window at a scale."""
    height = min(shape[0] * scale, (box[1] - box[0]) * scale + 2 * margin_px)
    width = min(shape[1] * scale, (box[3] - box[2]) * scale + 2 * margin_px)
    return height * width


def size_wh(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Width and height of a picture [H, W, ...] at a scale."""
    return (max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale)))


def shrink(frame: Bytes, scale: float) -> Bytes:
    """The frame [H, W, 3] at a scale of at most 1."""
    small_wh = size_wh(frame.shape, scale)
    if small_wh == (frame.shape[1], frame.shape[0]):
        return frame
    return np.asarray(cv2.resize(frame, small_wh, interpolation=cv2.INTER_AREA), np.uint8)


def box_of(masks: Iterable[Bools]) -> Area | None:
    """Around all pixels of some masks [h, w] of one size; None without any."""
    found: Area | None = None
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            continue
        own = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
        found = own if found is None else around(found, own)
    return found


def around(one: Area, other: Area) -> Area:
    """The box around two boxes."""
    return (min(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), max(one[3], other[3]))


def window(box: Area | None, shape: tuple[int, ...], margin_px: int) -> Window:
    """Rows and columns of a box with a margin; everything without a box."""
    if box is None:
        return WHOLE
    return (
        slice(max(0, box[0] - margin_px), min(shape[0], box[1] + margin_px)),
        slice(max(0, box[2] - margin_px), min(shape[1], box[3] + margin_px)),
    )

"""What a prompt asks of a segmenter: clicks with scribbles turned into points, boxes cut to the picture."""

from __future__ import annotations

import numpy as np

from tam_edit.masks import Mask
from tam_edit.models.sam import points_from_scribble
from tam_edit.script import Box, Point, Prompt

SCRIBBLE_POINTS = 5
"""Points that stand for one stroke."""


def clicked(prompt: Prompt) -> tuple[Point, ...]:
    """The points on the object: those said, and some evenly along each scribble."""
    return (*prompt.points, *(point for line in prompt.scribbles for point in _along(line)))


def refused(prompt: Prompt) -> tuple[Point, ...]:
    """The points beside the object: those said, and some evenly along each negative scribble."""
    return (*prompt.negative, *(point for line in prompt.negative_scribbles for point in _along(line)))


def spread_points(mask: Mask, count: int) -> tuple[Point, ...]:
    """Up to so many points deep inside a mask [H, W] and far from each other. Raises MaskEmpty."""
    return _plain(points_from_scribble(mask, count))


def boxes_inside(prompt: Prompt, size_hw: tuple[int, int]) -> tuple[Box, ...]:
    """All boxes, cut to the picture."""
    height, width = size_hw
    return tuple(
        (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
        for x0, y0, x1, y1 in prompt.all_boxes
    )


def _along(line: tuple[Point, ...]) -> tuple[Point, ...]:
    return _plain(points_from_scribble(np.asarray(line, np.float64), SCRIBBLE_POINTS))


def _plain(points: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in points)

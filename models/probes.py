"""Where to ask a segmenter about a tracked mask: points surely inside it and surely just outside (TAM, step 3)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Places = NDArray[np.int64]

# How far outside the object a negative point may lie, as a share of the object's own width.
_OUTSIDE = 0.25


def surest_points(mask: Bools, probability: Floats, affinity: Floats, count: int) -> tuple[Places, Places]:
    """Up to `count` points where the affinity is surest inside the mask, and as many just outside it, surest first.

    All [H, W]; affinity 0..1 says how well each pixel found the object (an engine without one gives its probability).
    Two int64 arrays [n, 2] of (x, y); both empty for an empty mask.
    """
    if not mask.any():
        return np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64)
    depth = _distance(mask)
    width = 2 * float(depth.max())
    # A point on the very edge says little: prefer depth, up to a quarter of the object's width.
    inside = np.where(mask, affinity * probability * np.minimum(1, 4 * depth / max(width, 1)), 0)
    away = _distance(~mask)
    just_outside = (away > 2) & (away <= 2 + max(3.0, _OUTSIDE * width))
    outside = np.where(just_outside, (1 - affinity) * (1 - probability), 0)
    apart = max(1.0, float(np.sqrt(mask.sum() / max(count, 1))) / 2)
    return _peaks(inside, count, apart), _peaks(outside, count, apart)


def _peaks(score: NDArray[np.floating], count: int, apart: float) -> Places:
    """The highest places of a map, none nearer to another than `apart` pixels; (x, y)."""
    score = score.copy()
    rows, columns = np.ogrid[: score.shape[0], : score.shape[1]]
    points: list[tuple[int, int]] = []
    while len(points) < count:
        row, column = np.unravel_index(int(score.argmax()), score.shape)
        if score[row, column] <= 0:
            break
        points.append((int(column), int(row)))
        score[(rows - row) ** 2 + (columns - column) ** 2 < max(apart, 1) ** 2] = 0
    return np.array(points, dtype=np.int64).reshape(-1, 2)


def _distance(mask: Bools) -> Floats:
    """Pixels to the nearest one outside the mask; the frame's border does not count as outside."""
    distance = np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3), np.float32)
    # Without any pixel outside, OpenCV answers with its greatest number.
    return np.minimum(distance, np.float32(np.hypot(*mask.shape)))

"""Prompts for SAM without SAM: points from scribbles and masks, masks as logits, coordinates of the padded square."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tam_edit.errors import MaskEmpty, MaskSizeMismatch, PromptError

# A pixel that is certainly inside or outside, as SAM's own answers put it: about +-7 in logits.
_CERTAIN = 1e-3


def fitted_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the size (h, w) of a frame whose longer side is brought to `side`, rounded as SAM rounds it."""
    scale = side / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def points_from_scribble(scribble: ArrayLike, n: int) -> NDArray[np.float64]:
    """Choose up to `n` points (x, y) that stand for a scribble: [n, 2] in pixels.

    `scribble` is a mask (bool, [H, W]) or a polyline [[x, y], ...]. Of a polyline: evenly spaced along its length, each
    in the middle of its share; of a mask as `points_inside`. Raises PromptError for another form or n < 1, MaskEmpty
    for a mask without a pixel.
    """
    given: NDArray[Any] = np.asarray(scribble)
    if given.dtype == bool:
        return points_inside(given, n)
    if n < 1:
        raise PromptError(f"{n} points cannot stand for a scribble: ask for at least 1")
    if given.ndim != 2 or given.shape[1] != 2 or not len(given) or not np.isfinite(given.astype(float)).all():
        raise PromptError("a scribble is a mask (bool, [H, W]) or a list of points (x, y)")
    line = given.astype(np.float64)
    steps = np.hypot(*np.diff(line, axis=0).T) if len(line) > 1 else np.zeros(0)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] == 0:
        return line[:1]
    wanted = (np.arange(n) + 0.5) / n * along[-1]
    return np.stack([np.interp(wanted, along, line[:, axis]) for axis in (0, 1)], axis=1)


def points_inside(mask: NDArray[np.bool_], n: int) -> NDArray[np.float64]:
    """Choose up to `n` points (x, y) deep inside a mask [H, W] and far from each other: [n, 2] in pixels.

    The first is the deepest; each next one has the largest sum of its depth and of its distance from those chosen.
    Raises MaskEmpty for a mask without a pixel, PromptError for n < 1.
    """
    import cv2

    if n < 1:
        raise PromptError(f"{n} points cannot stand for a mask: ask for at least 1")
    if mask.ndim != 2 or not mask.any():
        raise MaskEmpty("a mask without a pixel gives no points: mark the object on this frame")
    framed = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1].astype(np.float64)
    rows, columns = np.nonzero(mask)
    inside = depth[rows, columns]
    chosen = [int(inside.argmax())]
    distance = np.full(len(rows), np.inf)
    while len(chosen) < n:
        last = chosen[-1]
        distance = np.minimum(distance, np.hypot(rows - rows[last], columns - columns[last]))
        best = int(np.where(distance > 0, distance + inside, -1.0).argmax())
        if distance[best] == 0:
            break
        chosen.append(best)
    return np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float64)


def box_around(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return the box (x0, y0, x1, y1) of a mask [H, W] in pixels; raises MaskEmpty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise MaskEmpty("a mask without a pixel has no box: mark the object on this frame")
    return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])


def mask_logits(mask: NDArray[np.bool_], size_hw: tuple[int, int], side: int) -> NDArray[np.float32]:
    """Turn a mask [H, W] of a frame into the low-resolution logits that SAM takes: [256, 256], or [side / 4] squared.

    Each value is the log odds of how much of its square the mask covers; the padding is certainly outside.
    Raises MaskSizeMismatch, MaskEmpty.
    """
    import cv2

    if mask.shape != size_hw:
        raise MaskSizeMismatch(
            f"the mask is {mask.shape[::-1]} where the frame is {size_hw[::-1]} (width, height): give one of its size"
        )
    if not mask.any():
        raise MaskEmpty("a mask without a pixel cannot be polished: mark the object on this frame")
    low = side // 4
    height, width = (max(1, round(length / 4)) for length in fitted_size(*size_hw, side))
    enlarged = height > mask.shape[0] or width > mask.shape[1]
    way = cv2.INTER_LINEAR if enlarged else cv2.INTER_AREA
    share = np.zeros((low, low), np.float32)
    share[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=way)
    share = np.clip(share, _CERTAIN, 1 - _CERTAIN)
    logits: NDArray[np.float32] = np.log(share / (1 - share)).astype(np.float32)
    return logits

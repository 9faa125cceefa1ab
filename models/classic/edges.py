"""From the working size to the picture's own, with contours snapped to the picture's own edges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.smooth import smooth

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MARGIN_PX = 12
# Beside a contour the object is often far less sure than the background is: between two such pixels the zero of the
# enlarged log odds would lie too near to the object. So only their signs say where the contour is.
CONTOUR_LIMIT = 0.2
_MOST_LAYERS = 128  # that OpenCV takes; of more it silently gives back one


@dataclass(frozen=True)
class Edge:
    """The part of the picture that holds all objects, at its own size."""

    rows: slice
    columns: slice
    logits: Floats  # [K, rows, columns]

    def mask(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """The first object's mask in a picture [H, W, ...]."""
        result = np.zeros(shape[:2], np.bool_)
        result[self.rows, self.columns] = self.logits[0] > 0
        return result


def enlarge(logits: Floats, frame: Bytes, *, strength: float, sigma: float) -> Edge | None:
    """Log odds [K, h, w] at the size of the frame [H, W, 3], smoothed along its edges; None without an object."""
    count, low, _ = logits.shape
    height, width = frame.shape[:2]
    near: NDArray[np.bool_] = np.any(logits > -3, axis=0)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if not len(rows):
        return None
    # the same margin in both sizes, so that the enlarged part falls on whole pixels of the frame
    fy, fx = height / low, width / logits.shape[2]
    y0, y1 = max(0, rows[0] - MARGIN_PX), min(low, rows[-1] + 1 + MARGIN_PX)
    x0, x1 = max(0, columns[0] - MARGIN_PX), min(logits.shape[2], columns[-1] + 1 + MARGIN_PX)
    top, bottom, left, right = int(np.ceil(y0 * fy)), int(y1 * fy), int(np.ceil(x0 * fx)), int(x1 * fx)
    ys = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5)) / np.float32(fy) - np.float32(0.5)
    xs = (np.arange(left, right, dtype=np.float32) + np.float32(0.5)) / np.float32(fx) - np.float32(0.5)
    map_x, map_y = np.meshgrid(xs, ys)
    limit = np.float32(CONTOUR_LIMIT)
    layers = np.concatenate([logits, np.clip(logits, -limit, limit)]).transpose(1, 2, 0)
    parts = np.split(layers, range(_MOST_LAYERS, 2 * count, _MOST_LAYERS), axis=2)
    both = np.concatenate([_mapped(part, map_x, map_y) for part in parts], axis=2)
    large, contour = both[..., :count], both[..., count:]
    if (height, width) == logits.shape[1:]:
        contour = large
    elif strength > 0:
        contour = smooth(contour, frame[top:bottom, left:right], strength=strength, sigma=sigma)
    large = np.where(large * contour > 0, large, contour)
    return Edge(slice(top, bottom), slice(left, right), np.ascontiguousarray(large.transpose(2, 0, 1)))


def _mapped(layers: Floats, map_x: Floats, map_y: Floats) -> Floats:
    """Layers [h, w, C] at other places, for at most 128 of them: [H, W, C]."""
    layers = np.ascontiguousarray(layers)
    return np.asarray(cv2.remap(layers, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)

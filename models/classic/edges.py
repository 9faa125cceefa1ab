"""From the working size to the picture's own, with contours snapped to the picture's own edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.smooth import smooth

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MARGIN_PX = 12


def enlarge(logits: Floats, frame: Bytes, *, far: float, strength: float, sigma: float) -> Floats:
    """Log odds [K, h, w] at the size of the frame [H, W, 3]: [K, H, W].

    Around the objects they are smoothed along the full-size picture, elsewhere they are `far`.
    """
    count, low, _ = logits.shape
    height, width = frame.shape[:2]
    result = np.full((count, height, width), np.float32(far))
    near: NDArray[np.bool_] = np.any(logits > -3, axis=0)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if not len(rows):
        return result
    # the same margin in both sizes, so that the enlarged part falls on whole pixels of the frame
    fy, fx = height / low, width / logits.shape[2]
    y0, y1 = max(0, rows[0] - MARGIN_PX), min(low, rows[-1] + 1 + MARGIN_PX)
    x0, x1 = max(0, columns[0] - MARGIN_PX), min(logits.shape[2], columns[-1] + 1 + MARGIN_PX)
    top, bottom, left, right = int(np.ceil(y0 * fy)), int(y1 * fy), int(np.ceil(x0 * fx)), int(x1 * fx)
    ys = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5)) / np.float32(fy) - np.float32(0.5)
    xs = (np.arange(left, right, dtype=np.float32) + np.float32(0.5)) / np.float32(fx) - np.float32(0.5)
    map_x, map_y = np.meshgrid(xs, ys)
    large = cv2.remap(
        np.ascontiguousarray(logits.transpose(1, 2, 0)), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).reshape(bottom - top, right - left, count)
    if strength > 0:
        large = smooth(large, frame[top:bottom, left:right], strength=strength, sigma=sigma)
    result[:, top:bottom, left:right] = large.transpose(2, 0, 1)
    return result

"""Where a background's picture lies on the frame: filling, fitting, stretched or tiled, then scaled and moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_edit.effects import Look

Rgb = NDArray[np.uint8]
Matrix = NDArray[np.float64]
MOST_SIDE_PX = 32000
"""What OpenCV's warping can read."""


@dataclass(frozen=True)
class Placement:
    """A picture's place: scale_xy: frame pixels per picture pixel; corner_xy: where its top left corner lies."""

    scale_xy: tuple[float, float]
    corner_xy: tuple[float, float]
    tiled: bool


def place(picture_wh: tuple[int, int], size_wh: tuple[int, int], look: Look) -> Placement:
    """Where a picture of this size lies on a frame of that size."""
    width, height = size_wh
    across, down = width / picture_wh[0], height / picture_wh[1]
    scales = {
        "fill": (max(across, down),) * 2,
        "fit": (min(across, down),) * 2,
        "stretch": (across, down),
        "tile": (1.0, 1.0),
    }
    scale_x, scale_y = (scale * look.scale for scale in scales[look.fit])
    if look.fit == "tile":
        corner = look.offset_px  # the first tile begins at the frame's corner
    else:
        corner = (
            (width - picture_wh[0] * scale_x) / 2 + look.offset_px[0],
            (height - picture_wh[1] * scale_y) / 2 + look.offset_px[1],
        )
    return Placement((scale_x, scale_y), corner, look.fit == "tile")


def placed(rgb: Rgb, size_wh: tuple[int, int], look: Look) -> Rgb:
    """The picture on a frame of this size, uint8 [H, W, 3]; black where it does not reach."""
    where = place((rgb.shape[1], rgb.shape[0]), size_wh, look)
    small, matrix = shrunk(rgb, where)
    height, width = small.shape[:2]
    if np.array_equal(matrix[:, :2], np.eye(2)):
        x, y = round(float(matrix[0, 2])), round(float(matrix[1, 2]))
        return _pasted(small, size_wh, x, y, where.tiled)
    frame = warped(small, matrix, size_wh, "wrap" if where.tiled else "edge")
    if not where.tiled:
        # Interpolation at the picture's edge repeats it; beyond the edge there is nothing.
        far_xy = matrix[:, :2] @ np.array([width, height]) + matrix[:, 2] + (matrix[:, :2].diagonal() - 1) / -2
        near_xy = matrix[:, 2] - (matrix[:, :2].diagonal() - 1) / 2
        x0, y0 = (max(round(float(side)), 0) for side in near_xy)
        x1, y1 = (max(round(float(side)), 0) for side in far_xy)
        frame[:y0], frame[y1:], frame[:, :x0], frame[:, x1:] = 0, 0, 0, 0
    return frame


def shrunk(rgb: Rgb, where: Placement) -> tuple[Rgb, Matrix]:
    """The picture averaged down where it is to be smaller, and the affine map [2, 3] from its pixels to the frame's."""
    import cv2

    height, width = rgb.shape[:2]
    scale_x, scale_y = where.scale_xy
    small_wh = (max(round(width * min(scale_x, 1.0)), 1), max(round(height * min(scale_y, 1.0)), 1))
    small = rgb if small_wh == (width, height) else cv2.resize(rgb, small_wh, interpolation=cv2.INTER_AREA)
    rest_x, rest_y = (width * scale_x / small_wh[0], height * scale_y / small_wh[1])
    # What is left of rounding to whole pixels is less than one: the picture's shape changes by no more than that.
    rest_x, rest_y = (1.0 if scale <= 1 else rest for scale, rest in ((scale_x, rest_x), (scale_y, rest_y)))
    corner_x = where.corner_xy[0] + (rest_x - 1) / 2
    corner_y = where.corner_xy[1] + (rest_y - 1) / 2
    matrix = np.array([[rest_x, 0.0, corner_x], [0.0, rest_y, corner_y]])
    return np.ascontiguousarray(small, dtype=np.uint8), matrix


def warped(rgb: Rgb, matrix: Matrix, size_wh: tuple[int, int], beyond: str) -> Rgb:
    """A picture under an affine map [2, 3] or a homography [3, 3], cubic.

    Beyond its edges: "wrap", "edge" (repeated) or "black".
    """
    import cv2

    borders = {"wrap": cv2.BORDER_WRAP, "edge": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}
    rgb = rgb[:MOST_SIDE_PX, :MOST_SIDE_PX]
    warp = cv2.warpAffine if len(matrix) == 2 else cv2.warpPerspective
    return np.asarray(warp(rgb, matrix, size_wh, flags=cv2.INTER_CUBIC, borderMode=borders[beyond]), dtype=np.uint8)


def _pasted(rgb: Rgb, size_wh: tuple[int, int], x: int, y: int, tiled: bool) -> Rgb:
    height, width = rgb.shape[:2]
    if tiled:
        rows, columns = (np.arange(size_wh[1]) - y) % height, (np.arange(size_wh[0]) - x) % width
        return np.ascontiguousarray(rgb[rows][:, columns])
    frame = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, size_wh[0]), min(y + height, size_wh[1])
    if x0 < x1 and y0 < y1:
        frame[y0:y1, x0:x1] = rgb[y0 - y : y1 - y, x0 - x : x1 - x]
    return frame

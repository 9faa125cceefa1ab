"""Colours of the object under its soft edge, where the picture shows a mix with what was behind."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.matting.contour import Floats

WIDE_SHARE, NARROW_SHARE = 0.06, 0.009
"""Radii of the two passes as shares of the short side: the first bridges wide edges, the second is local."""

EXACT = 254.5 / 255


def foreground(rgb: NDArray[np.uint8], alpha: Floats, short_side_px: int) -> NDArray[np.uint8]:
    """The object's own colours, uint8 [H, W, 3]: exactly the picture's where alpha is 1, estimated where it is below.

    rgb: uint8 [H, W, 3]; alpha: float32 [H, W] in 0..1; short_side_px: of the whole picture. Where alpha is 0 the
    colours go on for some pixels, so that scaling a cut-out mixes in no background; far from any edge they are the
    picture's. Source: M. Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021 (blur fusion, two passes).
    """
    picture = rgb.astype(np.float32)
    front, behind = picture, picture
    near = np.zeros(alpha.shape, bool)
    for share in (WIDE_SHARE, NARROW_SHARE):
        radius = max(1, round(share * short_side_px))
        front, behind, near = _fused(picture, front, behind, alpha, radius)
    result = np.where((near & (alpha < EXACT))[..., None], np.rint(np.clip(front, 0, 255)), picture)
    return result.astype(np.uint8)


def _fused(
    picture: Floats, front: Floats, behind: Floats, alpha: Floats, radius: int
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """One pass: means of both sides around each pixel, then what the picture adds to their mix, given to the front."""
    box = (2 * radius + 1, 2 * radius + 1)

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, box, borderType=cv2.BORDER_REPLICATE), np.float32)

    front_mass, behind_mass = mean(alpha), mean(1 - alpha)
    smooth_front = mean(front * alpha[..., None]) / np.maximum(front_mass, np.float32(1e-5))[..., None]
    smooth_behind = mean(behind * (1 - alpha)[..., None]) / np.maximum(behind_mass, np.float32(1e-5))[..., None]
    mix = alpha[..., None] * smooth_front + (1 - alpha)[..., None] * smooth_behind
    result = np.clip(smooth_front + alpha[..., None] * (picture - mix), 0, 255)
    return np.asarray(result, np.float32), np.asarray(smooth_behind, np.float32), front_mass > np.float32(1e-4)

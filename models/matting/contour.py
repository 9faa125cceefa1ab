"""Contours finer than pixels: small faults mended, signed distances, coverage, growing and shrinking."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

HOLE_SHARE = 0.001
SPECK_SHARE = 0.002
LEAST_FAULT_PX = 4
SMOOTHING_PX = 1.2
LARGEST_STEP_PX = 8


def mended(mask: Bools, free: Bools | None = None) -> Bools:
    """The mask without its small holes and specks: bool [H, W].

    A hole is filled if it is enclosed, no larger than HOLE_SHARE of the object (at least LEAST_FAULT_PX pixels), and
    `free`, bool [H, W], has all of it (another object may fill a hole). A part of at most SPECK_SHARE is left out; the
    largest part always stays.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return mask.copy()
    inner = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = mask[inner]
    area = int(part.sum())
    result = part.copy()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=8)
    if count > 2:
        sizes = stats[:, cv2.CC_STAT_AREA]
        small = sizes <= max(LEAST_FAULT_PX, SPECK_SHARE * area)
        small[[0, 1 + int(np.argmax(sizes[1:]))]] = False
        result &= ~small[labels]
    # A rim of background joins everything that reaches the part's edge: that is outside, never a hole.
    around = np.pad(~part, 1, constant_values=True).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(around, connectivity=4)
    if count > 2:
        small = stats[:, cv2.CC_STAT_AREA] <= max(LEAST_FAULT_PX, HOLE_SHARE * area)
        small[[0, labels[0, 0]]] = False
        if free is not None:
            taken = np.pad(~free[inner], 1) & (around > 0)
            small[np.unique(labels[taken])] = False
        result |= small[labels][1:-1, 1:-1]
    whole = mask.copy()
    whole[inner] = result
    return whole


def signed_distance(mask: Bools) -> Floats:
    """Distance of pixel centres from the smoothed contour: float32 [H, W] in px, positive outside.

    The steps of a pixel mask are smoothed away, yet every centre stays on its side: inside <= 0 <= outside, so that a
    coverage above one half is the mask again. Parts a pixel or two thin keep their whole strength. The border of the
    array is no contour. An empty mask is far (1e6) everywhere, a full one -1e6.
    """
    if not mask.any() or mask.all():
        return np.full(mask.shape, -1e6 if mask.any() else 1e6, np.float32)
    inside = mask.astype(np.uint8)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    deep = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    field = np.where(mask, np.float32(0.5) - deep, away - np.float32(0.5))
    smooth = cv2.GaussianBlur(field, (0, 0), SMOOTHING_PX, borderType=cv2.BORDER_REPLICATE)
    square = np.ones((3, 3), np.uint8)
    opened = cv2.morphologyEx(inside, cv2.MORPH_OPEN, square, borderType=cv2.BORDER_REPLICATE)
    thin = mask & (opened == 0)
    bounded = np.where(mask, np.minimum(smooth, 0), np.maximum(smooth, 0))
    return np.asarray(np.where(thin, np.minimum(bounded, np.float32(-0.5)), bounded), np.float32)


def coverage(distance: Floats) -> Floats:
    """How much of each pixel the region covers, 0..1, from signed distances: an edge one pixel wide."""
    return np.asarray(np.clip(np.float32(0.5) - distance, 0, 1), np.float32)


def shifted(alpha: Floats, by_px: int) -> Floats:
    """Soft alpha grown (by_px > 0) or shrunk by a disk, keeping its softness; float32 [H, W]."""
    result = alpha
    left = abs(by_px)
    work = cv2.dilate if by_px > 0 else cv2.erode
    while left > 0:
        step = min(left, LARGEST_STEP_PX)
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * step + 1, 2 * step + 1))
        result = np.asarray(work(result, disk, borderType=cv2.BORDER_REPLICATE), np.float32)
        left -= step
    return result


def softened(alpha: Floats, width_px: float) -> Floats:
    """Alpha whose edge is made `width_px` wider on the whole, half of it to each side; float32 [H, W]."""
    if width_px <= 0:
        return alpha
    # Twice a box of half the width: a ramp without corners.
    return _boxed(_boxed(alpha, width_px / 2), width_px / 2)


def _boxed(values: Floats, width_px: float) -> Floats:
    """Mean over a square of any width, 1 px added for the pixel itself: odd boxes below and above, mixed."""
    width = width_px + 1
    low = 2 * math.floor((width - 1) / 2) + 1
    share = (width - low) / 2
    narrow = values if low == 1 else cv2.blur(values, (low, low), borderType=cv2.BORDER_REPLICATE)
    if share == 0:
        return np.asarray(narrow, np.float32)
    wide = cv2.blur(values, (low + 2, low + 2), borderType=cv2.BORDER_REPLICATE)
    return np.asarray((1 - share) * narrow + share * wide, np.float32)

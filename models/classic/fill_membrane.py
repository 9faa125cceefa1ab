"""Smooth surfaces through known pixels: what a hole holds as long as nothing better is known."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_CROSS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)


def membrane(values: Floats, known: Bools, sweeps: int = 3) -> Floats:
    """Fills the unknown pixels with the smoothest surface through the known ones, coarse to fine.

    values: float32 [H, W, C], C at most 4; known: bool [H, W]. Returns float32 [H, W, C], known pixels unchanged;
    zeros where nothing at all is known. A pyramid (push-pull: Gortler et al. 1996) with Jacobi sweeps of Laplace's
    equation at every level.
    """
    if known.all():
        return values.copy()
    if not known.any():
        return np.zeros_like(values)
    weight = known.astype(np.float32)[..., None]
    levels = [(values * weight, 1 - weight)]
    while min(weight.shape[:2]) > 2 and weight.min() == 0:
        values, weight = halved(*levels[-1])
        levels.append((values, 1 - weight))
    values, free = levels[-1]
    mean = values.sum((0, 1)) / max(float((1 - free).sum()), 1e-6)
    filled = values + free * mean.astype(np.float32)
    for values, free in reversed(levels[:-1]):
        height, width = values.shape[:2]
        filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).reshape(values.shape)
        filled *= free
        filled += values
        for _ in range(sweeps):
            filled = cv2.filter2D(filled, -1, _CROSS, borderType=cv2.BORDER_REPLICATE).reshape(values.shape)
            filled *= free
            filled += values
    return np.asarray(filled, np.float32)


def halved(values: Floats, free: Floats) -> tuple[Floats, Floats]:
    """2x2 means over the known pixels; a coarse pixel is known (1) if any of its four is. Unknown values are zero.

    values: float32 [H, W, C]; free: float32 [H, W, 1], 1 where unknown. Returns values and known."""
    height, width, channels = values.shape
    weight = 1 - free[..., 0]
    if height % 2 or width % 2:
        weight = cv2.copyMakeBorder(weight, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
        values = cv2.copyMakeBorder(values, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
    size = (-(-width // 2), -(-height // 2))
    mass = cv2.resize(values, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)
    total = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)[..., None]
    return mass / np.maximum(total, 0.125), (total > 0).astype(np.float32)


def blurred(values: Floats, known: Bools, sigma_px: float) -> Floats:
    """Mean over the known pixels around each: float32 [H, W, C]; zeros where none is near."""
    weight = known.astype(np.float32)
    mass = cv2.GaussianBlur(values * weight[..., None], (0, 0), sigma_px).reshape(values.shape)
    total = cv2.GaussianBlur(weight, (0, 0), sigma_px)
    mean = mass / np.maximum(total, 1e-6)[..., None]
    return np.where(total[..., None] > 1e-4, mean, np.float32(0)).astype(np.float32)


def grown(mask: Bools, radius_px: float) -> Bools:
    """The mask and everything within radius_px of it (Euclidean)."""
    if radius_px <= 0 or not mask.any():
        return mask.copy()
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= radius_px)


def squared(vectors: Floats) -> Floats:
    """Squared lengths of vectors [..., 2]; far quicker than a sum over so short an axis."""
    x, y = vectors[..., 0], vectors[..., 1]
    return np.asarray(x * x + y * y)


def mean_size(difference: Floats) -> Floats:
    """Mean absolute value over three channels [..., 3]."""
    size = np.abs(difference)
    return np.asarray((size[..., 0] + size[..., 1] + size[..., 2]) / np.float32(3))

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
    height, width, channels = values.shape
    if known.all():
        return values.copy()
    if not known.any():
        return np.zeros_like(values)
    weight = known.astype(np.float32)
    levels = [(values * weight[..., None], weight)]
    while min(levels[-1][1].shape) > 2 and not levels[-1][1].all():
        levels.append(_halved(*levels[-1]))
    coarse, weight = levels[-1]
    mean = (coarse * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)
    filled = np.where(weight[..., None] > 0, coarse, mean.astype(np.float32))
    for fine, weight in reversed(levels[:-1]):
        height, width = weight.shape
        free = weight == 0
        filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, channels)
        keep = weight[..., None] > 0
        filled = np.where(keep, fine, filled)
        if free.any():
            for _ in range(sweeps):
                spread = cv2.filter2D(filled, -1, _CROSS, borderType=cv2.BORDER_REPLICATE)
                filled = np.where(keep, fine, spread.reshape(filled.shape))
    return filled


def _halved(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """2x2 means over the known pixels; a coarse pixel is known if any of its four is."""
    height, width = weight.shape
    pad = ((0, height % 2), (0, width % 2))
    weight = np.pad(weight, pad)
    values = np.pad(values, (*pad, (0, 0))) * weight[..., None]
    total = weight[0::2, 0::2] + weight[1::2, 0::2] + weight[0::2, 1::2] + weight[1::2, 1::2]
    mass = values[0::2, 0::2] + values[1::2, 0::2] + values[0::2, 1::2] + values[1::2, 1::2]
    return mass / np.maximum(total, 1)[..., None], np.minimum(total, 1)


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

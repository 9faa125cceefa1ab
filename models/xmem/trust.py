"""How far the last frame's masks can be trusted, and where SAM should be asked: margin, contour and affinity."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Half the width of the band around a contour, as a share of the frame's short side.
_BAND = 1 / 120
# How far outside the object a negative point may lie, as a share of the object's own width.
_OUTSIDE = 0.25


@dataclass(frozen=True)
class XMemTrust:
    """What the propagation knows of one mask, each 0 (no trust) to 1 (TAM, section 3.3; see docs/xmem.md).

    margin: how far the object's probability stands above the next best, averaged over its pixels.
    contour: how decided the pixels beside its contour are (1 - mean entropy, in bits, of object or not).
    memory: how much of the affinity of its pixels falls on memory of the object itself.
    For an absent object (no pixel) they say how clear the absence is.
    """

    margin: float
    contour: float
    memory: float


def assess(probability: Tensor, own: Tensor, index: int) -> XMemTrust:
    """Trust in plane `index` of probability [1 + K, H, W]; own [H, W] is the affinity that falls on the object."""
    plane = probability[index]
    mask = probability.argmax(0) == index
    if not mask.any():
        highest = float(plane.max())
        return XMemTrust(_unit(1 - 2 * highest), _unit(1 - float(_entropy(plane).max())), _unit(1 - float(own.max())))
    others = torch.cat([probability[:index], probability[index + 1 :]]).amax(0)
    band = _band(mask)
    decided = float(1 - _entropy(plane[band]).mean()) if band.any() else 1.0
    return XMemTrust(_unit(float((plane - others)[mask].mean())), _unit(decided), _unit(float(own[mask].mean())))


def probe_points(
    probability: Tensor, own: Tensor, index: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Up to `count` points (x, y) where the affinity is surest inside the object, and as many just outside it."""
    plane, affinity = probability[index].float().cpu().numpy(), own.float().cpu().numpy()
    mask = probability.argmax(0).cpu().numpy() == index
    if not mask.any():
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    depth = _distance(mask)
    width = 2 * float(depth.max())
    # A point on the very edge says little: prefer depth, up to a quarter of the object's width.
    inside = np.where(mask, affinity * plane * np.minimum(1, 4 * depth / max(width, 1)), 0)
    away = _distance(~mask)
    just_outside = (away > 2) & (away <= 2 + max(3.0, _OUTSIDE * width))
    outside = np.where(just_outside, (1 - affinity) * (1 - plane), 0)
    apart = max(1.0, float(np.sqrt(mask.sum() / max(count, 1))) / 2)
    return _peaks(inside, count, apart), _peaks(outside, count, apart)


def _peaks(score: NDArray[np.floating], count: int, apart: float) -> NDArray[np.int64]:
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


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pixels to the nearest one outside the mask; the frame's border does not count as outside."""
    distance: NDArray[np.float32] = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    # Without any pixel outside, OpenCV answers with its greatest number.
    return np.minimum(distance, np.float32(np.hypot(*mask.shape)))


def _band(mask: Tensor) -> Tensor:
    radius = max(2, round(min(mask.shape) * _BAND))
    plane = mask[None, None].float()
    size = 2 * radius + 1
    grown = F.max_pool2d(plane, size, 1, radius)
    shrunk = -F.max_pool2d(-plane, size, 1, radius)
    return (grown - shrunk)[0, 0] > 0


def _entropy(plane: Tensor) -> Tensor:
    plane = plane.clamp(1e-7, 1 - 1e-7)
    return -(plane * plane.log2() + (1 - plane) * (1 - plane).log2())


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))

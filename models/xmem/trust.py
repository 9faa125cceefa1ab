"""How far the last frame's masks can be trusted, and where SAM should be asked: margin, contour and affinity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tam_edit.models.probes import surest_points

# Half the width of the band around a contour, as a share of the frame's short side.
_BAND = 1 / 120


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
    mask = probability.argmax(0).cpu().numpy() == index
    return surest_points(mask, probability[index].float().cpu().numpy(), own.float().cpu().numpy(), count)


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

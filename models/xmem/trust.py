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
    mask = _won(probability, index)
    if not mask.any():
        highest = float(plane.max())
        return XMemTrust(_unit(1 - 2 * highest), _unit(1 - float(_entropy(plane).max())), _unit(1 - float(own.max())))
    inside = probability[:, mask]  # [1 + K, pixels]
    others = torch.cat([inside[:index], inside[index + 1 :]]).amax(0)
    undecided = _entropy(_beside_contour(plane, mask))
    decided = float(1 - undecided.mean()) if len(undecided) else 1.0
    return XMemTrust(_unit(float((inside[index] - others).mean())), _unit(decided), _unit(float(own[mask].mean())))


def probe_points(
    probability: Tensor, own: Tensor, index: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Up to `count` points (x, y) where the affinity is surest inside the object, and as many just outside it."""
    mask = _won(probability, index).cpu().numpy()
    return surest_points(mask, probability[index].float().cpu().numpy(), own.float().cpu().numpy(), count)


def _won(probability: Tensor, index: int) -> Tensor:
    """Where plane `index`, an object's, is the highest, bool [H, W]; as argmax, which takes fifty times as long."""
    plane = probability[index]
    mask = plane > probability[:index].amax(0)
    return mask & (plane >= probability[index + 1 :].amax(0)) if index + 1 < len(probability) else mask


def _beside_contour(plane: Tensor, mask: Tensor) -> Tensor:
    """The values of a plane in a band around the contour of a mask that is not empty: [pixels]."""
    radius = max(2, round(min(mask.shape) * _BAND))
    rows, columns = (_span(mask.any(axis), radius) for axis in (1, 0))
    share = mask[rows, columns][None].float()  # of the pixels around each that lie inside
    for size, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        share = F.avg_pool2d(share, size, 1, padding, count_include_pad=False)
    return plane[rows, columns][((share > 0) & (share < 1))[0]]


def _span(occupied: Tensor, margin: int) -> slice:
    """From the first to the last of the occupied places, and a margin."""
    places = occupied.nonzero()
    return slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin)


def _entropy(plane: Tensor) -> Tensor:
    plane = plane.clamp(1e-7, 1 - 1e-7)
    return -(plane * plane.log2() + (1 - plane) * (1 - plane).log2())


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))

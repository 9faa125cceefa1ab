"""How far to believe a propagated mask, in parts, so that a person can be shown the doubtful ones first."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TrustParts:
    """Each part 0 (doubtful) to 1; ranks within one clip mean more than absolute values."""

    margin: float  # of the probability in a band around the contour
    agreement: float  # of the appearance classifier with the mask
    flow: float  # consistency of optical flow on the object
    area: float  # against the nearest keyframes' and the frame before
    position: float  # 1 without a jump

    @property
    def combined(self) -> float:
        """Product of margin and agreement (the best pair for finding failures), lowered by the other parts."""
        return float(
            (self.margin * self.agreement) ** 0.5
            * (0.5 + 0.5 * self.area)
            * (0.5 + 0.5 * self.position)
            * (0.75 + 0.25 * self.flow)
        )

    @classmethod
    def certain(cls) -> TrustParts:
        """Of a mask that a person gave."""
        return cls(1.0, 1.0, 1.0, 1.0, 1.0)


def measure(
    probability: Floats, former: Bools | None, look: Floats | None, sure: Floats, usual_area: float
) -> TrustParts:
    """Parts of one object's trust on one frame.

    probability [h, w]; former: its mask one frame before, None across a cut; look: classifier's answer, about -1..1;
    sure: flow consistency 0..1; usual_area: share of the picture on trusted frames.
    """
    inside = probability > 0.5
    area = float(inside.mean())
    near = _band(inside) | (np.abs(probability - np.float32(0.5)) < 0.45)
    margin = float(np.abs(2 * probability[near] - 1).mean()) if near.any() else 0.0
    agreement = 0.0
    if look is not None and near.any():
        agreed = (look > 0) == inside
        agreement = float(agreed[inside | _band(inside, 12)].mean()) if inside.any() else float(agreed.mean())
    steady = float(sure[inside].mean()) if inside.any() else 0.0
    ratios = [_ratio(area, usual_area)]
    moved = 0.0
    if former is not None:
        ratios.append(_ratio(area, float(former.mean())))
        if former.any() and inside.any():
            jump = np.hypot(*(_centre(inside) - _centre(former)))
            moved = float(jump / max(1.0, np.sqrt(inside.sum())))
        elif former.any():
            moved = 1.0
    return TrustParts(margin, agreement, steady, float(np.prod(ratios)) ** 0.5, float(np.exp(-2 * moved)))


def _band(inside: Bools, width_px: int = 3) -> Bools:
    """Pixels within some px of the contour."""
    kernel = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
    mask = inside.astype(np.uint8)
    return np.asarray(cv2.dilate(mask, kernel) != cv2.erode(mask, kernel))


def _ratio(one: float, other: float) -> float:
    """1 for equal sizes, towards 0 as they differ."""
    low, high = sorted((one, other))
    return low / high if high > 0 else 1.0


def _centre(inside: Bools) -> Floats:
    y, x = np.nonzero(inside)
    return np.array([x.mean(), y.mean()], np.float32)

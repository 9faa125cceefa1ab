"""How far to believe a propagated mask, in parts, so that a person can be shown the doubtful ones first."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_WEIGHTS = (0.25, 2.0, 0.25, 0.25, 0.125)  # of margin, agreement, flow, area, position
_UNKNOWN = 0.5


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
        """Weighted product; the weights rank frames best within and across ten clips (docs/classic-engine)."""
        parts = (self.margin, self.agreement, self.flow, self.area, self.position)
        return float(np.prod([part**weight for part, weight in zip(parts, _WEIGHTS, strict=True)]))

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
    if not inside.any():
        return _of_absence(probability, former, look)
    area = float(inside.mean())
    near = _band(inside) | (np.abs(probability - np.float32(0.5)) < 0.45)
    # Without a contour or a doubtful pixel, as where the object fills the picture, nothing is in doubt.
    margin = float(np.abs(2 * probability[near] - 1).mean()) if near.any() else 1.0
    agreement = _UNKNOWN if look is None else float(((look > 0) == inside)[inside | _band(inside, 12)].mean())
    ratios = [_ratio(area, usual_area)]
    moved = 0.0
    if former is not None:
        ratios.append(_ratio(area, float(former.mean())))
        if former.any():
            moved = float(np.hypot(*(_centre(inside) - _centre(former)))) / float(np.sqrt(inside.sum()))
    steady = float(sure[inside].mean())
    return TrustParts(margin, agreement, steady, float(np.prod(ratios)) ** 0.5, float(np.exp(-2 * moved)))


def _of_absence(probability: Floats, former: Bools | None, look: Floats | None) -> TrustParts:
    """An empty mask is an answer: doubtful on the frame where the object vanishes, not while it stays away."""
    stays = former is None or not former.any()
    margin = float(np.clip(1 - 2 * probability.max(), 0, 1)) if probability.size else 1.0
    agreement = _UNKNOWN if look is None else float((look <= 0).mean())
    return TrustParts(margin, agreement, 1.0, float(stays), float(stays))


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

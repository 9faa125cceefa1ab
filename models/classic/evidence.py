"""The vote on each pixel: where flow brings the mask, what the pixel looks like, how it moves, how far away it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import flow, motion

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class VoteSettings:
    """Weights of the vote, in log odds; lengths are pixels of the working picture."""

    warp_limit: float = 3.0
    look_gain: float = 3.0
    look_limit: float = 1.5
    motion_gain: float = 1.5
    motion_noise: float = 2.0  # a background that moves unevenly (water) makes motion say less
    far_px: float = 56.0
    slope: float = 0.06
    slack_px: float = 4.0


@dataclass(frozen=True)
class Moved:
    """Motion from the frame before to this one."""

    back: Floats  # [h, w, 2] where each pixel was
    sure: Floats  # [h, w] forward-backward consistency, 0..1
    length: Floats  # [h, w]

    @classmethod
    def between(cls, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> Moved:
        """Both grey uint8 [h, w]."""
        back = flow.between(now, before)
        sure = flow.consistency(back, flow.between(before, now))
        return cls(back, sure, flow.length(back))


def vote(former: Floats, look: Floats | None, moved: Moved, s: VoteSettings) -> Floats:
    """Log odds [h, w] of one object.

    former: its log odds one frame before; look: the classifier's answer, about -1..1, None without a classifier.
    Source: specs/classic.md, Propagation 4.
    """
    carried = flow.carry(cv2.GaussianBlur(former, (0, 0), 1.0), moved.back)
    inside = carried > 0
    result = np.clip(carried, -s.warp_limit, s.warp_limit) * moved.sure
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
    if look is not None:
        clipped = np.clip(look, -s.look_limit, s.look_limit)
        clipped[distance > s.far_px] = -1
        result += np.float32(s.look_gain) * clipped
    unlike = _unlike(moved, inside, distance, s)
    if unlike is not None:
        result += np.float32(s.motion_gain) * unlike * moved.sure
    result -= np.float32(s.slope) * np.maximum(distance - np.float32(s.slack_px), 0)
    return np.asarray(result, np.float32)


def _unlike(moved: Moved, inside: Bools, distance: Floats, s: VoteSettings) -> Floats | None:
    """1 where a pixel moves with the object, -1 where it moves with the background."""
    behind = motion.fit_affine(moved.back, moved.sure * ~inside)
    body = motion.fit_affine(moved.back, moved.sure * inside)
    if behind is None or body is None:
        return None
    from_behind = motion.residual(moved.back, behind)
    around = ~inside & (distance < s.far_px) & (moved.sure > 0.5)
    noise = float(np.median(from_behind[around])) if around.any() else 0.0
    scale = 1 + np.float32(0.1) * moved.length + np.float32(s.motion_noise * noise)
    return np.clip((from_behind - motion.residual(moved.back, body)) / scale, -1, 1)

"""The vote on each pixel: where flow brings the mask, what the pixel looks like, how it moves, how far away it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import flow, motion
from tam_edit.models.classic.plate import Difference

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
    unlike_gain: float = 3.0  # of what differs from the background seen there before
    alike_gain: float = 2.0  # and of what does not
    deny: float = 2.0  # looks as much against the object as 1 over this take that away
    left_behind: float = 0.4  # mean motion vote of a part that stays behind, and of the body that leaves it


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


def carried(former: Floats, moved: Moved) -> Floats:
    """An object's log odds [h, w] of one frame before, brought to this one."""
    return flow.carry(cv2.GaussianBlur(former, (0, 0), 1.0), moved.back)


def add_seen_before(votes: list[Floats], looks: list[Floats | None], difference: Difference, s: VoteSettings) -> None:
    """Put into the votes [h, w] what the background says that was seen there before.

    What is alike speaks against all objects. What is different speaks for one only, the likeliest there, as far as its
    looks do not deny it: something else may have come.
    """
    sure = difference.fit * difference.seen
    same = np.clip(1 - difference.apart, 0, 1) * sure * np.float32(s.alike_gain)
    different = np.clip(difference.apart - 1, 0, 1) * sure * np.float32(s.unlike_gain)
    best = np.max(votes, axis=0) if len(votes) > 1 else None
    for own, look in zip(votes, looks, strict=True):
        here = different if best is None else different * (own >= best)
        if look is not None:
            here = here * np.clip(look * np.float32(s.deny) + 1, 0, 1)
        own += here - same


def vote(carried: Floats, look: Floats | None, moved: Moved, s: VoteSettings) -> tuple[Floats, Floats | None]:
    """Log odds [h, w] of one object, and what motion says: 1 with the object, -1 with the background, None unknown.

    carried: where flow brings its former log odds; look: the classifier's answer, about -1..1, None without a
    classifier. Source: specs/classic.md, Propagation 4.
    """
    inside = carried > 0
    result = np.clip(carried, -s.warp_limit, s.warp_limit) * moved.sure
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
    if look is not None:
        clipped = np.clip(look, -s.look_limit, s.look_limit)
        clipped[distance > s.far_px] = -1
        result += np.float32(s.look_gain) * clipped
    unlike = _unlike(moved, inside, distance, s)
    if unlike is not None:
        unlike *= moved.sure
        result += np.float32(s.motion_gain) * unlike
    result -= np.float32(s.slope) * np.maximum(distance - np.float32(s.slack_px), 0)
    return np.asarray(result, np.float32), unlike


def drop_left_behind(odds: Floats, unlike: Floats, s: VoteSettings) -> None:
    """Give up parts apart from the body that stay with the background while the body moves: they were uncovered."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats((odds > 0).astype(np.uint8), connectivity=8)
    if count < 3:
        return
    sizes = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    sizes[0] = 0
    means = np.bincount(parts.reshape(-1), unlike.reshape(-1), count) / np.maximum(sizes, 1)
    body = int(sizes.argmax())
    if means[body] < s.left_behind:
        return
    given_up = means < -s.left_behind
    given_up[[0, body]] = False
    if given_up.any():
        lost = given_up[parts]
        odds[lost] = np.minimum(odds[lost], np.float32(-1))


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

"""Contours that hold still: signed distances averaged with neighbours brought along the object's own motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import flow
from tam_edit.models.matting.contour import Bools, Floats

FLOW_AREA = 480 * 270
"""Pixels: motion is measured at about this size at most."""

AGREES_PX = 3.0
"""Neighbours whose contour lies this far off count half."""


@dataclass(frozen=True)
class Field:
    """Signed distances of a part of one frame: float32 [h, w] px, positive outside; at_xy: its top left pixel."""

    distance: Floats
    at_xy: tuple[int, int]


@dataclass(frozen=True)
class Motion:
    """From one frame to a neighbour, on a part of the picture that begins at at_xy.

    flow: float32 [h, w, 2] px, the object's own, continued beyond its contour; sure: float32 [h, w] in 0..1.
    """

    flow: Floats
    sure: Floats
    at_xy: tuple[int, int]


def motions(
    here: NDArray[np.uint8],
    there: NDArray[np.uint8],
    mask_here: Bools,
    mask_there: Bools,
    at_xy: tuple[int, int],
    band_px: int,
) -> tuple[Motion, Motion]:
    """The object's motion from a frame to the next, and back.

    here, there: grey uint8 [h, w] of the same part of two pictures, with their masks, bool [h, w]. The flow is trusted
    where going there and back ends where it began. Source of the flow: Kroeger et al., "Fast Optical Flow using Dense
    Inverse Search", ECCV 2016.
    """
    height, width = mask_here.shape
    factor = max(1.0, (height * width / FLOW_AREA) ** 0.5)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    first, second = (
        np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8) for grey in (here, there)
    )
    ahead, back = flow.between(first, second, fast=True), flow.between(second, first, fast=True)
    radius = max(2, round(1.5 * band_px / factor))
    return (
        _of_object(ahead, back, mask_here, radius, at_xy),
        _of_object(back, ahead, mask_there, radius, at_xy),
    )


def _of_object(flow: Floats, reverse: Floats, mask: Bools, radius: int, at_xy: tuple[int, int]) -> Motion:
    """Motion of the object's own pixels, spread over its surroundings: what lies behind moves otherwise."""
    size = (flow.shape[1], flow.shape[0])
    inside = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    x, y = _places(size, (0, 0))
    error = flow + sampled(reverse, (0, 0), x + flow[..., 0], y + flow[..., 1])
    relative = cv2.magnitude(error[..., 0], error[..., 1]) / (1 + 0.1 * cv2.magnitude(flow[..., 0], flow[..., 1]))
    sure = np.exp(-np.square(relative)).astype(np.float32)
    box = (2 * radius + 1, 2 * radius + 1)
    weight = inside * (sure + np.float32(1e-3))
    mass, share = cv2.blur(weight, box), cv2.blur(inside, box)
    own = cv2.blur(flow * weight[..., None], box) / np.maximum(mass, np.float32(1e-6))[..., None]
    certain = np.where(share > 1e-3, cv2.blur(sure * inside, box) / np.maximum(share, np.float32(1e-6)), 0)
    whole = (mask.shape[1], mask.shape[0])
    scale = np.array([whole[0] / size[0], whole[1] / size[1]], np.float32)
    return Motion(
        np.asarray(cv2.resize(own, whole) * scale, np.float32),
        np.asarray(cv2.resize(certain.astype(np.float32), whole), np.float32),
        at_xy,
    )


def steadied(
    field: Field,
    before: Sequence[tuple[Motion, Field]],
    after: Sequence[tuple[Motion, Field]],
    limit_px: float,
) -> Floats:
    """Signed distances averaged along motion: float32 [h, w] px, those of `field` where they exceed limit_px.

    before, after: the neighbours, nearest first, each with the motion that leads there from the one nearer by. Only as
    many are used as there are on both sides, and both sides count alike: an edge that moves evenly stays where it is
    (no lag), whatever the motion's errors.
    """
    size = (field.distance.shape[1], field.distance.shape[0])
    own = np.clip(field.distance, -limit_px, limit_px)
    total, weights = own.copy(), np.ones_like(own)
    for earlier, later in zip(_brought(before, size, field), _brought(after, size, field), strict=False):
        trust = np.ones_like(own)
        for values, sure in (earlier, later):
            np.clip(values, -limit_px, limit_px, out=values)
            apart = (values - own) / np.float32(AGREES_PX)
            np.minimum(trust, sure / (1 + apart * apart), out=trust)
        total += trust * (earlier[0] + later[0])
        weights += 2 * trust
    return np.asarray(np.where(np.abs(own) < limit_px, total / weights, field.distance), np.float32)


def _brought(side: Sequence[tuple[Motion, Field]], size: tuple[int, int], field: Field) -> list[tuple[Floats, Floats]]:
    """Each neighbour's distances at where this frame's pixels are there, and how sure that is."""
    x, y = _places(size, field.at_xy)
    sure = np.ones_like(field.distance)
    found = []
    for motion, other in side:
        step = sampled(motion.flow, motion.at_xy, x, y)
        sure = sure * sampled(motion.sure, motion.at_xy, x, y)
        x, y = x + step[..., 0], y + step[..., 1]
        found.append((sampled(other.distance, other.at_xy, x, y), sure))
    return found


def sampled(values: Floats, at_xy: tuple[int, int], x: Floats, y: Floats) -> Floats:
    """A part's values [h, w] or [h, w, C] at places of the picture, bilinear; beyond it its border goes on."""
    return np.asarray(
        cv2.remap(
            values,
            x - np.float32(at_xy[0]),
            y - np.float32(at_xy[1]),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )


def _places(size: tuple[int, int], at_xy: tuple[int, int]) -> tuple[Floats, Floats]:
    """x and y of every pixel of a part, float32 [h, w]."""
    columns = np.arange(size[0], dtype=np.float32) + np.float32(at_xy[0])
    rows = np.arange(size[1], dtype=np.float32) + np.float32(at_xy[1])
    x, y = np.meshgrid(columns, rows)
    return x, y

"""Candidates for a hole, how far each is trusted, and their weighted mean at source size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.fill_chain import sampled
from tam_edit.models.classic.fill_membrane import Bools, Floats, blurred, grown, membrane
from tam_edit.models.classic.fill_reference import Box
from tam_edit.models.classic.fill_scene import Rgb, Scene

RING_PX = 12
ERROR_SCALE = 20.0  # grey levels
DISTANCE_SCALE = 20.0  # frames


@dataclass(frozen=True)
class Candidate:
    """Where a box's pixels may be copied from. frame: int32 [h, w], the same everywhere for a direct reference."""

    frame: NDArray[np.int32]
    xy: Floats  # [h, w, 2], working pixels
    valid: Bools  # [h, w]
    distance: Floats  # [h, w], frames away
    dense: bool  # one frame and a smooth map: coordinates may be interpolated


@dataclass(frozen=True)
class Weighed:
    """A candidate with its say. weight: float32 [h, w]; correction: float32 [h, w, 3], added to its colours."""

    candidate: Candidate
    weight: Floats
    correction: Floats


def colours(scene: Scene, candidate: Candidate) -> Floats:
    """The candidate's colours at working size: float32 [h, w, 3]; zeros where it has none."""
    height, width = candidate.valid.shape
    if candidate.dense:
        rgb = scene.small(int(candidate.frame[0, 0])).rgb
        found = cv2.remap(rgb, candidate.xy[..., 0], candidate.xy[..., 1], cv2.INTER_LINEAR)
        return np.where(candidate.valid[..., None], found, 0).astype(np.float32)
    result = np.zeros((height, width, 3), np.float32)
    for frame in np.unique(candidate.frame[candidate.valid]):
        pick = candidate.valid & (candidate.frame == frame)
        result[pick] = sampled(scene.small(int(frame)).rgb, candidate.xy[pick])
    return result


def weighed(scene: Scene, index: int, box: Box, candidate: Candidate, guard_px: int) -> Weighed | None:
    """Exposure and trust of a candidate, read off the ring around the hole, where the truth is known."""
    here = scene.small(index)
    hole = box.cut(here.hole)
    known = ~grown(hole, guard_px)
    ring = known & candidate.valid & grown(hole, RING_PX + guard_px)
    if int(ring.sum()) < 12 or not (candidate.valid & hole).any():
        return None
    truth = box.cut(here.rgb).astype(np.float32)
    difference = np.clip(truth - colours(scene, candidate), -60, 60)
    correction = blurred(difference, ring, 3.0)
    rest = np.abs(difference - correction).mean(-1, keepdims=True)
    error = blurred(rest + 0.25 * np.abs(correction).mean(-1, keepdims=True), ring, 4.0)
    spread = membrane(np.concatenate([correction, error], -1), ring)
    exponent = -2 * spread[..., 3] / ERROR_SCALE - candidate.distance / DISTANCE_SCALE
    weight = np.where(candidate.valid, np.exp(exponent), 0).astype(np.float32)
    return Weighed(candidate, weight, np.ascontiguousarray(spread[..., :3]))


def fused(scene: Scene, box: Box, parts: list[Weighed], points: Floats) -> tuple[Floats, Floats]:
    """Weighted sum of all candidates at points of the full picture.

    points: [N, 2] picture pixels inside the hole. Returns colours' sum [N, 3] and weights' sum [N].
    """
    scale = np.array(scene.scale_xy, np.float32)
    local = (points + 0.5) / scale - 0.5 - np.array([box.x0, box.y0], np.float32)
    height, width = box.y1 - box.y0, box.x1 - box.x0
    near = np.clip(np.rint(local), 0, [width - 1, height - 1]).astype(np.int64)
    total = np.zeros((len(points), 3), np.float32)
    mass = np.zeros(len(points), np.float32)
    for part in parts:
        candidate = part.candidate
        if candidate.dense:
            weight = sampled(part.weight, local)
            xy = sampled(candidate.xy, local)
            frames = np.full(len(points), candidate.frame[0, 0], np.int32)
        else:
            at = near[:, 1], near[:, 0]
            weight = part.weight[at]
            xy = candidate.xy[at] + (local - near)
            frames = candidate.frame[at]
        source = (xy + 0.5) * scale - 0.5
        correction = sampled(part.correction, local)
        for frame in np.unique(frames[weight > 0]):
            pick = (frames == frame) & (weight > 0)
            rgb = sampled(scene.picture(int(frame))[0], source[pick].astype(np.float32), cv2.INTER_CUBIC)
            total[pick] += weight[pick, None] * (rgb + correction[pick])
            mass[pick] += weight[pick]
    return total, mass


def smooth_fill(scene: Scene, index: int, box: Box, points: Floats) -> Floats:
    """The membrane of the surroundings' colours at points of the full picture: [N, 3]."""
    here = scene.small(index)
    surface = membrane(box.cut(here.rgb).astype(np.float32), ~box.cut(here.hole))
    scale = np.array(scene.scale_xy, np.float32)
    local = (points + 0.5) / scale - 0.5 - np.array([box.x0, box.y0], np.float32)
    return sampled(surface, local.astype(np.float32))


def composed(rgb: Rgb, mask: Bools, values: Floats) -> Rgb:
    """A copy of the frame with the hole's pixels set: uint8 [H, W, 3]."""
    result = rgb.copy()
    result[mask] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return result

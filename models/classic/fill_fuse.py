"""Candidates for a hole, how far each is trusted, and their weighted mean at source size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.fill_membrane import Bools, Floats, blurred, halved, mean_size, membrane
from tam_edit.models.classic.fill_pictures import Rgb, sampled
from tam_edit.models.classic.fill_plate import plate
from tam_edit.models.classic.fill_reference import Box, registered
from tam_edit.models.classic.fill_scene import Scene, grid, moved, stands

RING_PX = 12
HOPELESS = 15.0  # grey levels: a plate that is this far off around the hole is not looked at further
LEAST_SHARE = 0.004  # of all weight at a pixel: less is left out
CHAIN_FIRST, CHAIN_LATER, REFERENCE, PLATE = range(4)


@dataclass(frozen=True)
class Say:
    """How much say evidence has: exp(-cost) of a candidate, costs linear in these.

    Fitted to the truth of ten clips with three kinds of holes each (tests/bench/fit_classic_fill.py), so that the
    mean logarithm of the squared error is least; checked on clips left out. Errors in grey levels, distances in
    frames, drift and depth in working pixels. The smooth surface competes on the same scale: where evidence is poor
    it takes over gradually.
    """

    kind: tuple[float, float, float, float] = (-0.41, 0.78, -1.32, 0.95)
    error: tuple[float, float] = (0.141, 1.25)  # per grey level, per log(error + 2)
    exposure: tuple[float, float] = (0.142, 0.015)  # the same of the correction's size
    distance: tuple[float, float] = (-0.057, 1.04)  # per frame, per log(distance + 1)
    drift: float = 0.94
    count: float = 0.04  # of the plate, per agreeing sample
    still: float = 4.0  # off the plate's cost where the camera stands still (not fitted: those clips all move)
    smooth: tuple[float, float, float, float] = (0.05, -0.016, 1.26, 1.27)  # 1, depth, log(depth + 1), log(texture + 1)


SAY = Say()


@dataclass(frozen=True)
class Candidate:
    """Where a box's pixels may be copied from. frame: int32 [h, w], the same everywhere for a direct reference."""

    frame: NDArray[np.int32]
    xy: Floats  # [h, w, 2], working pixels
    valid: Bools  # [h, w]
    distance: Floats  # [h, w], frames away
    drift: Floats  # [h, w], pixels of disagreement summed along a chain
    kind: int  # CHAIN_FIRST, CHAIN_LATER, REFERENCE or PLATE

    @property
    def dense(self) -> bool:
        """One frame and a smooth map: coordinates may be interpolated."""
        return self.kind >= REFERENCE


@dataclass(frozen=True)
class Weighed:
    """A candidate with its say. weight: float32 [h, w]; correction: float32 [h, w, 3], added to its colours."""

    candidate: Candidate
    weight: Floats
    correction: Floats


def referred(scene: Scene, index: int, frame: int, box: Box) -> Candidate:
    """One frame, registered to another directly, as a candidate."""
    xy, valid = registered(scene, index, frame, box)
    distance = np.full(valid.shape, abs(frame - index), np.float32)
    return Candidate(np.full(valid.shape, frame, np.int32), xy, valid, distance, np.zeros_like(distance), REFERENCE)


def colours(scene: Scene, candidate: Candidate, where: Bools) -> Floats:
    """The candidate's colours at working size, at the pixels of `where` in row order: float32 [N, 3]."""
    xy, frames = candidate.xy[where], candidate.frame[where]
    result = np.zeros((len(xy), 3), np.float32)
    for frame in np.unique(frames[frames >= 0]):
        pick = frames == frame
        result[pick] = sampled(scene.small(int(frame)).rgb, xy[pick])
    return result


def weighed(scene: Scene, index: int, box: Box, candidate: Candidate, guard_px: int) -> Weighed | None:
    """Exposure and trust of a candidate, read off the ring around the hole, where the truth is known."""
    ring = candidate.valid & ring_around(scene, index, box, guard_px)
    if not (candidate.valid & box.cut(scene.small(index).hole)).any():
        return None
    read = read_off(scene, index, box, colours(scene, candidate, ring), ring)
    if read is None:
        return None
    cost = read.cost() + SAY.kind[candidate.kind]
    cost = cost + SAY.distance[0] * candidate.distance + SAY.distance[1] * np.log(candidate.distance + 1)
    cost = cost + SAY.drift * candidate.drift
    weight = np.where(candidate.valid, np.exp(-cost), 0).astype(np.float32)
    return Weighed(candidate, weight, read.correction)


def weighed_plate(scene: Scene, index: int, box: Box, frames: list[int], guard_px: int) -> list[Weighed]:
    """The background plate made of `frames`, as one candidate each that share the plate's weight."""
    if not frames:
        return []
    here = scene.small(index)
    hole, ring = box.cut(here.hole), thinned_ring(scene, index, box, guard_px)
    corner = np.array([box.x0, box.y0], np.float32)
    at = np.argwhere(ring)[::3]
    glance = plate(scene, index, at[:, ::-1].astype(np.float32) + corner, frames)
    apart = mean_size(box.cut(here.rgb)[at[:, 0], at[:, 1]].astype(np.float32) - glance.colour)
    if not len(at) or float(np.median(apart)) > HOPELESS:
        return []
    wanted = hole | ring
    points = np.argwhere(wanted)[:, ::-1].astype(np.float32) + corner
    made = plate(scene, index, points, frames)
    colour = np.zeros((*hole.shape, 3), np.float32)
    colour[wanted] = made.colour
    count = np.zeros(hole.shape, np.float32)
    count[wanted] = made.count
    valid = count > 0.05
    read = read_off(scene, index, box, colour[ring & valid], ring & valid) if (valid & hole).any() else None
    if read is None:
        return []
    cost = read.cost() + SAY.kind[PLATE] + SAY.count * count
    if all(stands(scene.camera(index, frame), scene.work_wh) for frame in made.frames):
        cost = cost - SAY.still * np.minimum(count / 3, 1)
    weight = np.where(valid, np.exp(-cost), 0).astype(np.float32)
    whole = grid(*hole.shape) + np.array([box.x0, box.y0], np.float32)
    none = np.zeros(hole.shape, np.float32)
    parts = []
    for row, frame in enumerate(made.frames):
        share = np.zeros(hole.shape, np.float32)
        share[wanted] = made.share[row]
        xy = moved(scene.camera(index, frame), whole)
        candidate = Candidate(np.full(hole.shape, frame, np.int32), xy, share > 0, none, none, PLATE)
        parts.append(Weighed(candidate, weight * share, read.correction))
    return parts


@dataclass(frozen=True)
class Reading:
    """What the ring says of a candidate, continued into the hole. correction: [h, w, 3]; the others: [h, w]."""

    correction: Floats
    error: Floats  # grey levels that remain after the correction
    exposure: Floats  # size of the correction

    def cost(self) -> Floats:
        cost = SAY.error[0] * self.error + SAY.error[1] * np.log(self.error + 2)
        cost = cost + SAY.exposure[0] * self.exposure + SAY.exposure[1] * np.log(self.exposure + 2)
        return np.asarray(cost, np.float32)


def read_off(scene: Scene, index: int, box: Box, colour: Floats, ring: Bools) -> Reading | None:
    """Compares colours [N, 3] with the picture at the N pixels of a ring [h, w]; None where they are few.

    At half working size: all of it is smooth.
    """
    height, width = ring.shape
    if len(colour) < 12:
        return None
    free = 1 - ring.astype(np.float32)[..., None]
    difference = np.zeros((height, width, 3), np.float32)
    difference[ring] = np.clip(box.cut(scene.small(index).rgb)[ring].astype(np.float32) - colour, -60, 60)
    half, half_known = halved(difference, free)
    known = half_known[..., 0] > 0
    size = (width, height)
    correction = blurred(half, known, 1.5)
    apart = difference - cv2.resize(correction, size, interpolation=cv2.INTER_LINEAR)
    rest, _ = halved(mean_size(apart)[..., None] * (1 - free), free)
    errors = blurred(np.concatenate([rest, mean_size(correction)[..., None]], -1), known, 2.0)
    correction = cv2.resize(membrane(correction, known), size, interpolation=cv2.INTER_LINEAR)
    errors = cv2.resize(membrane(errors, known), size, interpolation=cv2.INTER_LINEAR)
    return Reading(correction, np.maximum(errors[..., 0], 0), np.maximum(errors[..., 1], 0))


def ring_around(scene: Scene, index: int, box: Box, guard_px: int) -> Bools:
    """The pixels around a hole that are compared: beyond the guard, within RING_PX of it."""
    away = box.cut(scene.small(index).away)
    return np.asarray((away > guard_px) & (away <= guard_px + RING_PX))


def thinned_ring(scene: Scene, index: int, box: Box, guard_px: int) -> Bools:
    """Every second pixel of the ring each way, for candidates whose pixels are dear."""
    ring = ring_around(scene, index, box, guard_px)
    ring[1::2] = False
    ring[:, 1::2] = False
    return ring


def pruned(parts: list[Weighed]) -> list[Weighed]:
    """The candidates without weights so small beside the others' that they cannot be seen; those left empty go."""
    if not parts:
        return []
    least = LEAST_SHARE * np.sum([part.weight for part in parts], axis=0, dtype=np.float32)
    kept = []
    for part in parts:
        weight = np.where(part.weight >= least, part.weight, np.float32(0))
        if weight.any():
            kept.append(Weighed(part.candidate, weight, part.correction))
    return kept


def fused(scene: Scene, box: Box, parts: list[Weighed], points: Floats) -> tuple[Floats, Floats]:
    """Weighted sum of all candidates at points of the full picture.

    points: [N, 2] picture pixels inside the hole. Returns colours' sum [N, 3] and weights' sum [N].
    """
    scale = np.array(scene.scale_xy, np.float32)
    local = (points + 0.5) / scale - 0.5 - np.array([box.x0, box.y0], np.float32)
    height, width = box.y1 - box.y0, box.x1 - box.x0
    near = np.clip(np.rint(local), 0, [width - 1, height - 1]).astype(np.int64)
    at = near[:, 1], near[:, 0]
    same_size = scene.work_wh == scene.size_wh
    total = np.zeros((len(points), 3), np.float32)
    mass = np.zeros(len(points), np.float32)
    for part in pruned(parts):
        candidate = part.candidate
        smooth = candidate.dense and not same_size
        weight = sampled(part.weight, local) if smooth else part.weight[at]
        asked = np.flatnonzero(weight > 0)
        if not len(asked):
            continue
        here, spot = local[asked], (at[0][asked], at[1][asked])
        xy = sampled(candidate.xy, here) if smooth else candidate.xy[spot] + (here - near[asked])
        source = ((xy + 0.5) * scale - 0.5).astype(np.float32)
        colour = part.correction[spot] if same_size else sampled(part.correction, here)
        if candidate.dense:
            colour = colour + scene.taken(int(candidate.frame[0, 0]), source)
        else:
            frames = candidate.frame[spot]
            for frame in np.unique(frames):
                pick = frames == frame
                colour[pick] += scene.taken(int(frame), source[pick])
        total[asked] += weight[asked, None] * colour
        mass[asked] += weight[asked]
    return total, mass


def smooth_fill(scene: Scene, index: int, box: Box, points: Floats) -> tuple[Floats, Floats]:
    """The membrane of the surroundings' colours at points of the full picture [N, 3], and its weight [N].

    Its cost grows with the depth of the hole and the texture around it.
    """
    here = scene.small(index)
    hole = box.cut(here.hole)
    rgb = box.cut(here.rgb).astype(np.float32)
    surface = membrane(rgb, ~hole)
    around = ~hole & (box.cut(here.away) <= RING_PX)
    detail = mean_size(rgb - blurred(rgb, ~hole, 4.0))[..., None]
    texture = membrane(blurred(detail, around, 4.0), around)[..., 0] if around.any() else np.zeros_like(rgb[..., 0])
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    cost = (
        SAY.smooth[0]
        + SAY.smooth[1] * depth
        + SAY.smooth[2] * np.log(depth + 1)
        + SAY.smooth[3] * np.log(np.maximum(texture, 0) + 1)
    )
    scale = np.array(scene.scale_xy, np.float32)
    local = ((points + 0.5) / scale - 0.5 - np.array([box.x0, box.y0], np.float32)).astype(np.float32)
    return sampled(surface, local), sampled(np.exp(-cost).astype(np.float32), local)


def composed(rgb: Rgb, mask: Bools, values: Floats) -> Rgb:
    """A copy of the frame with the hole's pixels set: uint8 [H, W, 3]."""
    result = rgb.copy()
    result[mask] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return result

"""Never-seen regions: texture is made once, on anchor frames, and fetched from there along the camera's motion."""

from __future__ import annotations

import cv2
import numpy as np

from tam_edit.models.classic.fill_fuse import composed
from tam_edit.models.classic.fill_membrane import Bools, Floats, grown
from tam_edit.models.classic.fill_patch import synthesised
from tam_edit.models.classic.fill_pictures import Rgb, sampled
from tam_edit.models.classic.fill_reference import box_around
from tam_edit.models.classic.fill_scene import Scene, inside, moved

ANCHOR_EVERY = 12  # frames
LEAST_PX = 60  # at working size: smaller regions stay smooth
SURROUNDINGS_PX = 64
_TAPS = np.array([[0, 0], [2, 0], [-2, 0], [0, 2], [0, -2]], np.int64)


def anchored(scene: Scene, rgb: Rgb, unseen: Bools) -> Rgb:
    """The frame with texture in its unseen pixels: uint8 [H, W, 3].

    rgb: filled smoothly; unseen: bool [H, W]. Matches are made at working size; colours come from full size, each
    the mean of what five neighbouring matches say.
    """
    small = cv2.resize(rgb, scene.work_wh, interpolation=cv2.INTER_AREA).astype(np.float32)
    unknown = cv2.resize(unseen.astype(np.float32), scene.work_wh, interpolation=cv2.INTER_AREA) > 0
    if int(unknown.sum()) < LEAST_PX:
        return rgb
    box = box_around(unknown, SURROUNDINGS_PX)
    cut = box.cut(unknown)
    offsets = synthesised(np.ascontiguousarray(small[box.y0 : box.y1, box.x0 : box.x1]), cut, ~grown(cut, 1))
    if offsets is None:
        return rgb
    number = np.full(cut.shape, -1, np.int64)
    number[cut] = np.arange(len(offsets))
    scale = np.array(scene.scale_xy, np.float32)
    points = np.argwhere(unseen)[:, ::-1].astype(np.float32)
    local = np.rint((points + 0.5) / scale - 0.5).astype(np.int64) - np.array([box.x0, box.y0])
    high = np.array([cut.shape[1] - 1, cut.shape[0] - 1])
    total = np.zeros((len(points), 3), np.float32)
    mass = np.zeros(len(points), np.float32)
    for tap in _TAPS:
        at = np.clip(local + tap, 0, high)
        match = number[at[:, 1], at[:, 0]]
        source = points + offsets[np.maximum(match, 0)] * scale
        weight = ((match >= 0) & inside(source, scene.size_wh)).astype(np.float32)
        total += weight[:, None] * sampled(rgb, source.astype(np.float32), cv2.INTER_CUBIC)
        mass += weight
    own = rgb[unseen].astype(np.float32)
    return composed(rgb, unseen, np.where(mass[:, None] > 0, total / np.maximum(mass, 1)[:, None], own))


def fetched(scene: Scene, index: int, points: Floats, anchors: list[tuple[int, float, Rgb]]) -> tuple[Floats, Floats]:
    """Colours at points of the full picture [N, 2] from (frame, weight, picture) of anchors: the weighted mean
    [N, 3], and the share of the weight that found its place in the picture [N]."""
    scale = np.array(scene.scale_xy, np.float32)
    total = np.zeros((len(points), 3), np.float32)
    mass = np.zeros(len(points), np.float32)
    for frame, weight, rgb in anchors:
        there = moved(scene.camera(index, frame), ((points + 0.5) / scale - 0.5).astype(np.float32))
        source = ((there + 0.5) * scale - 0.5).astype(np.float32)
        share = np.where(inside(source, scene.size_wh), np.float32(weight), np.float32(0))
        total += share[:, None] * sampled(rgb, source, cv2.INTER_CUBIC)
        mass += share
    return (total / np.maximum(mass, 1e-6)[:, None]).astype(np.float32), mass

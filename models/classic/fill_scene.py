"""The shot as the filler sees it: small frames, completed motion between neighbours, camera motion."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from tam_edit.models.classic.fill_membrane import Bools, Floats, grown, membrane, squared

Rgb = NDArray[np.uint8]
Read = Callable[[int], tuple[Rgb, Bools]]
Value = TypeVar("Value")

WORK_AREA = 432 * 240  # pixels: motion is measured at about this size whatever the picture's
FLOW_GUARD_PX = 5  # flow this near to a hole has seen the hole's patch and is not believed


class Recent(OrderedDict[int, Value]):
    """The last `limit` values made, by frame index: a pure cache, what it holds never changes a result."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def get_or(self, index: int, make: Callable[[int], Value]) -> Value:
        if index in self:
            self.move_to_end(index)
            return self[index]
        value = self[index] = make(index)
        while len(self) > self.limit:
            self.popitem(last=False)
        return value


@dataclass(frozen=True)
class Small:
    """One frame at working size. rgb: uint8 [h, w, 3]; grey: uint8 [h, w], holes filled smoothly."""

    rgb: Rgb
    grey: NDArray[np.uint8]
    hole: Bools  # any pixel below is in the mask
    clear: Bools  # far enough from the mask to be copied from
    calm: Bools  # far enough from the mask for flow to be believed


@dataclass(frozen=True)
class Step:
    """Motion from one frame to a neighbour, defined everywhere. flow: float32 [h, w, 2], pixels at working size."""

    flow: Floats
    camera: NDArray[np.float64]  # homography [3, 3] of the background
    measured: Bools  # where the flow was measured and held both ways; elsewhere it was completed


class Scene:
    """Frames and motion of one shot by index, made on demand and kept while recent.

    Every value is a function of the frames it names only (a step of its two frames), so the order of requests
    never changes a result.
    """

    def __init__(self, read: Read, limit: int, guard_px: int) -> None:
        self._read = read
        self._guard_px = guard_px
        self._pictures: Recent[tuple[Rgb, Bools]] = Recent(max(8, limit // 2))
        self._smalls: Recent[Small] = Recent(limit)
        self._pairs: Recent[tuple[Step, Step]] = Recent(limit)
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.size_wh = (0, 0)  # of the picture
        self.work_wh = (0, 0)  # of the small frames

    def picture(self, index: int) -> tuple[Rgb, Bools]:
        """Frame and mask as read: uint8 [H, W, 3], bool [H, W]."""
        return self._pictures.get_or(index, self._load)

    def _load(self, index: int) -> tuple[Rgb, Bools]:
        rgb, mask = self._read(index)
        if self.size_wh == (0, 0):
            height, width = mask.shape
            factor = max(1, round((height * width / WORK_AREA) ** 0.5))
            self.size_wh = (width, height)
            self.work_wh = (max(1, round(width / factor)), max(1, round(height / factor)))
        return rgb, mask

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Picture pixels per working pixel."""
        return self.size_wh[0] / self.work_wh[0], self.size_wh[1] / self.work_wh[1]

    def small(self, index: int) -> Small:
        return self._smalls.get_or(index, self._shrink)

    def _shrink(self, index: int) -> Small:
        rgb, mask = self.picture(index)
        if self.work_wh != self.size_wh:
            rgb = cv2.resize(rgb, self.work_wh, interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask.astype(np.float32), self.work_wh, interpolation=cv2.INTER_AREA) > 0
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if not mask.any():
            return Small(rgb, grey, mask, ~mask, ~mask)
        near = grown(mask, 1)
        smooth = membrane(grey[..., None].astype(np.float32), ~near)[..., 0]
        grey = np.where(near, np.clip(np.rint(smooth), 0, 255), grey).astype(np.uint8)
        return Small(rgb, grey, mask, ~grown(mask, self._guard_px), ~grown(mask, FLOW_GUARD_PX))

    def flow_between(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats:
        """Dense inverse search (Kroeger et al. 2016) from first to second: float32 [h, w, 2]."""
        if min(first.shape) < 12:
            return np.zeros((*first.shape, 2), np.float32)
        return np.asarray(self._dis.calc(first, second, None), np.float32)

    def step(self, index: int, direction: int) -> Step:
        """Motion from frame index to index + direction (1 or -1)."""
        if direction > 0:
            return self._pairs.get_or(index, self._measure)[0]
        return self._pairs.get_or(index - 1, self._measure)[1]

    def _measure(self, index: int) -> tuple[Step, Step]:
        here, there = self.small(index), self.small(index + 1)
        forward = self.flow_between(here.grey, there.grey)
        backward = self.flow_between(there.grey, here.grey)
        return _completed(forward, backward, here, there), _completed(backward, forward, there, here)

    def camera(self, start: int, stop: int) -> NDArray[np.float64]:
        """Homography [3, 3] of the background from frame start to frame stop, chained."""
        total = np.eye(3)
        direction = 1 if stop > start else -1
        for index in range(start, stop, direction):
            total = self.step(index, direction).camera @ total
        return total / total[2, 2]


def grid(height: int, width: int) -> Floats:
    """x and y of every pixel: float32 [H, W, 2]."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], -1)


def moved(camera: NDArray[np.float64], points: Floats) -> Floats:
    """Points [..., 2] under a homography, float32."""
    flat = points.reshape(-1, 1, 2)
    if not flat.size:
        return points.copy()
    return np.asarray(cv2.perspectiveTransform(flat, camera), np.float32).reshape(points.shape)


def fitted_camera(start: Floats, stop: Floats) -> NDArray[np.float64]:
    """Robust homography from points [N, 2] to points [N, 2]; a shift, or nothing, where points are few."""
    if len(start) < 12:
        shift = np.median(stop - start, axis=0) if len(start) else np.zeros(2)
        return np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
    camera, _ = cv2.findHomography(start, stop, cv2.RANSAC, 1.0, maxIters=500, confidence=0.995)
    if camera is None or not np.isfinite(camera).all() or abs(np.linalg.det(camera[:2, :2]) - 1) > 0.5:
        shift = np.median(stop - start, axis=0)
        return np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
    return np.asarray(camera, np.float64)


def _completed(flow: Floats, reverse: Floats, here: Small, there: Small) -> Step:
    height, width = here.hole.shape
    base = grid(height, width)
    end = base + flow
    back = cv2.remap(reverse, end[..., 0], end[..., 1], cv2.INTER_LINEAR)
    error = squared(flow + back)
    inside = (end[..., 0] >= 0) & (end[..., 1] >= 0) & (end[..., 0] <= width - 1) & (end[..., 1] <= height - 1)
    calm = cv2.remap(there.calm.astype(np.uint8), end[..., 0], end[..., 1], cv2.INTER_NEAREST) > 0
    holds = error < 0.25 + 0.01 * (squared(flow) + squared(back))
    measured = here.calm & calm & inside & holds
    pick = np.zeros_like(measured)
    pick[2::5, 2::5] = True
    pick &= measured
    camera = fitted_camera(base[pick], end[pick])
    rigid = moved(camera, base) - base
    residual = membrane(flow - rigid, measured)
    return Step(rigid + residual, camera, measured)

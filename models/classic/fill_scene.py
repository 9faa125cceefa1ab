"""The shot as the filler sees it: small frames, completed motion between neighbours, camera motion."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import flow
from tam_edit.models.classic.fill_membrane import Bools, Floats, membrane, squared
from tam_edit.models.classic.fill_pictures import Pictures, Read, Rgb

Matrix = NDArray[np.float64]
Value = TypeVar("Value")

WORK_AREA = 432 * 240  # pixels: motion is measured at about this size whatever the picture's
NOISE_PX = 0.25  # continued flow that differs less than this from the camera's motion follows the camera
JUMP = 12  # frames: camera motion over longer ways is measured from one multiple of this to the next
MOST_DRIFT_PX = 6.0  # what chaining over a jump may be wrong by
MOST_POINTS = 500  # a homography is fitted to about so many
STILL_PX = 0.1  # a camera motion that explains less than this is noise: the camera stands still
FLOW_GUARD_PX = 5  # flow this near to a hole has seen the hole's patch and is not believed


def work_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """The size at which motion is measured in pictures of a size."""
    width, height = size_wh
    factor = max(1, round((height * width / WORK_AREA) ** 0.5))
    return max(1, round(width / factor)), max(1, round(height / factor))


class Recent(OrderedDict[int, Value]):
    """The last `limit` values made, by frame index: a pure cache, what it holds never changes a result."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self._lock = threading.RLock()

    def get_or(self, index: int, make: Callable[[int], Value]) -> Value:
        with self._lock:
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
    away: Floats  # distance to the nearest hole pixel, working pixels; large where there is no hole
    clear: Bools  # far enough from the mask to be copied from
    calm: Bools  # far enough from the mask for flow to be believed


@dataclass(frozen=True)
class Step:
    """Motion from one frame to a neighbour, defined everywhere. flow: float32 [h, w, 2], pixels at working size."""

    flow: Floats
    camera: Matrix  # homography [3, 3] of the background


class Scene:
    """Frames and motion of one shot by index, made on demand and kept while recent.

    Every value is a function of the frames it names only (a step of its two frames), so the order of requests
    never changes a result; neither does how much of them is kept in memory (see fill_pictures.Pictures).
    """

    def __init__(
        self, read: Read, limit: int, guard_px: int, kept_bytes: int | None = None, folder: Path | None = None
    ) -> None:
        self._guard_px = guard_px
        self._pictures = Pictures(read, max(8, limit // 2), kept_bytes, folder)
        self._smalls: Recent[Small] = Recent(limit)
        self._pairs: Recent[tuple[Step, Step]] = Recent(limit)
        self._walks: Recent[Matrix] = Recent(4096)
        self._jumps: Recent[Matrix] = Recent(4096)
        self.size_wh = (0, 0)  # of the picture
        self.work_wh = (0, 0)  # of the small frames

    def picture(self, index: int) -> tuple[Rgb, Bools]:
        """Frame and mask as read: uint8 [H, W, 3], bool [H, W]."""
        rgb, mask = self._pictures.whole(index)
        if self.size_wh == (0, 0):
            self.size_wh = (mask.shape[1], mask.shape[0])
            self.work_wh = work_size(self.size_wh)
        return rgb, mask

    def taken(self, index: int, xy: Floats) -> NDArray[np.float32]:
        """Colours of a frame as read at points [N, 2] of the full picture, cubic: float32 [N, 3]."""
        return self._pictures.taken(index, xy)

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
            return Small(rgb, grey, mask, np.full(mask.shape, 1e6, np.float32), ~mask, ~mask)
        away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        near = away <= 1
        smooth = membrane(grey[..., None].astype(np.float32), ~near)[..., 0]
        grey = np.where(near, np.clip(np.rint(smooth), 0, 255), grey).astype(np.uint8)
        return Small(rgb, grey, mask, away, away > self._guard_px, away > FLOW_GUARD_PX)

    def step(self, index: int, direction: int) -> Step:
        """Motion from frame index to index + direction (1 or -1)."""
        if direction > 0:
            return self._pairs.get_or(index, self._measure)[0]
        return self._pairs.get_or(index - 1, self._measure)[1]

    def _measure(self, index: int) -> tuple[Step, Step]:
        here, there = self.small(index), self.small(index + 1)
        forward = flow.between(here.grey, there.grey)
        backward = flow.between(there.grey, here.grey)
        ahead, back = _measured(forward, backward, here, there), _measured(backward, forward, there, here)
        points = _picked(ahead, here.grey)
        camera = fitted_camera(points, points + _at(forward, points))
        if stands(camera, self.work_wh, 3.0):
            camera = self._simplest(here, there, [camera])
        inverse = np.asarray(np.linalg.inv(camera))
        return Step(completed(forward, ahead, camera), camera), Step(completed(backward, back, inverse), inverse)

    def camera(self, start: int, stop: int) -> Matrix:
        """Homography [3, 3] of the background from frame start to frame stop, chained.

        Long ways go in jumps between every JUMP-th frame of the shot, each measured directly, so that little drift
        adds up. Depends on the frames from start to stop only.
        """
        if stop < start:
            return np.asarray(np.linalg.inv(self.camera(stop, start)))
        first, last = -(-start // JUMP) * JUMP, stop // JUMP * JUMP
        total = np.eye(3)
        if first >= last:
            for index in range(start, stop):
                total = self._walk(index) @ total
            return total
        for index in range(start, first):
            total = self._walk(index) @ total
        for index in range(first, last, JUMP):
            total = self._jumps.get_or(index, self._jumped) @ total
        for index in range(last, stop):
            total = self._walk(index) @ total
        return total

    def _walk(self, index: int) -> Matrix:
        """The background's homography from a frame to the next."""
        return self._walks.get_or(index, lambda start: self.step(start, 1).camera)

    def _jumped(self, index: int) -> Matrix:
        """The background's homography from a frame to the JUMP-th after it: chained, then corrected by one flow."""
        chained = np.eye(3)
        for start in range(index, index + JUMP):
            chained = self._walk(start) @ chained
        here, there = self.small(index), self.small(index + JUMP)
        back = cv2.WARP_INVERSE_MAP
        grey = cv2.warpPerspective(there.grey, chained, self.work_wh, flags=cv2.INTER_LINEAR | back)
        calm = cv2.warpPerspective(there.calm.astype(np.uint8), chained, self.work_wh, flags=cv2.INTER_NEAREST | back)
        forward, backward = flow.between(here.grey, grey), flow.between(grey, here.grey)
        height, width = grey.shape
        base = grid(height, width)
        end = base + forward
        error = squared(forward + cv2.remap(backward, end[..., 0], end[..., 1], cv2.INTER_LINEAR))
        far = cv2.dilate((calm == 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        trusted = here.calm & ~far & (error < 0.25) & (squared(forward) < MOST_DRIFT_PX**2)
        pick = _picked(trusted, here.grey)
        found = [chained] if len(pick) < 60 else [chained, chained @ fitted_camera(pick, pick + _at(forward, pick))]
        return self._simplest(here, there, found)

    def _simplest(self, here: Small, there: Small, cameras: list[Matrix]) -> Matrix:
        """The camera motion that makes two frames agree best; none at all unless another is clearly better."""
        apart = []
        for camera in [np.eye(3), *cameras]:
            flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
            grey = cv2.warpPerspective(there.grey, camera, self.work_wh, flags=flags)
            calm = cv2.warpPerspective(there.calm.astype(np.uint8), camera, self.work_wh, flags=cv2.WARP_INVERSE_MAP)
            both = here.calm & (calm > 0)
            difference = np.minimum(cv2.absdiff(here.grey, grey)[both], 40)
            apart.append(float(difference.mean()) if difference.size > 100 else 255.0)
        best = min(range(1, len(apart)), key=lambda row: apart[row])
        return np.eye(3) if apart[0] <= 1.05 * apart[best] else cameras[best - 1]


def inside(xy: Floats, size_wh: tuple[int, int], margin: float = 0.0) -> Bools:
    width, height = size_wh
    x, y = xy[..., 0], xy[..., 1]
    result = (x >= margin) & (y >= margin) & (x <= width - 1 - margin) & (y <= height - 1 - margin)
    return np.asarray(result)


def grid(height: int, width: int) -> Floats:
    """x and y of every pixel: float32 [H, W, 2]."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], -1)


def moved(camera: Matrix, points: Floats) -> Floats:
    """Points [..., 2] under a homography, float32."""
    flat = points.reshape(-1, 1, 2)
    if not flat.size:
        return points.copy()
    return np.asarray(cv2.perspectiveTransform(flat, camera), np.float32).reshape(points.shape)


def stands(camera: Matrix, size_wh: tuple[int, int], most_px: float = 0.5) -> bool:
    """Whether a camera motion moves no corner of the picture by as much as most_px."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32) * np.array(size_wh, np.float32)
    return float(np.abs(moved(camera, corners) - corners).max()) < most_px


def _picked(trusted: Bools, grey: NDArray[np.uint8]) -> Floats:
    """Some of the trusted pixels, as points [N, 2]: every fourth each way, those with texture if they are enough."""
    pick = np.zeros_like(trusted)
    pick[2::4, 2::4] = True
    pick &= trusted
    textured = pick & (cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 10)
    if int(textured.sum()) >= 120:
        pick = textured
    return np.argwhere(pick)[:, ::-1].astype(np.float32)


def _at(flow: Floats, points: Floats) -> Floats:
    """The flow at whole pixels [N, 2]."""
    return flow[points[:, 1].astype(np.int64), points[:, 0].astype(np.int64)]


def fitted_camera(start: Floats, stop: Floats) -> Matrix:
    """Robust homography from points [N, 2] to points [N, 2]; a shift, or nothing, where points are few."""
    if len(start) < 12:
        shift = np.median(stop - start, axis=0) if len(start) else np.zeros(2)
        return np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
    every = max(1, len(start) // MOST_POINTS)
    start, stop = np.ascontiguousarray(start[::every]), np.ascontiguousarray(stop[::every])
    camera, _ = cv2.findHomography(start, stop, cv2.RANSAC, 1.0, maxIters=500, confidence=0.995)
    if camera is None or not np.isfinite(camera).all() or abs(np.linalg.det(camera[:2, :2]) - 1) > 0.5:
        shift = np.median(stop - start, axis=0)
        return np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
    still = float(np.median(squared(stop - start))) ** 0.5
    left = float(np.median(squared(stop - moved(camera, start)))) ** 0.5
    if still - left < STILL_PX:
        return np.eye(3)
    return np.asarray(camera, np.float64)


def _measured(flow: Floats, reverse: Floats, here: Small, there: Small) -> Bools:
    """Where flow runs between calm pixels and comes back to where it started."""
    height, width = here.hole.shape
    end = grid(height, width) + flow
    back = cv2.remap(reverse, end[..., 0], end[..., 1], cv2.INTER_LINEAR)
    error = squared(flow + back)
    calm = cv2.remap(there.calm.astype(np.uint8), end[..., 0], end[..., 1], cv2.INTER_NEAREST) > 0
    holds = error < 0.25 + 0.01 * (squared(flow) + squared(back))
    return np.asarray(here.calm & calm & inside(end, (width, height)) & holds)


def completed(flow: Floats, measured: Bools, camera: Matrix) -> Floats:
    """Flow where measured, elsewhere the camera's motion and the membrane of what the flow adds to it."""
    base = grid(*measured.shape)
    rigid = moved(camera, base) - base
    return rigid + shrunk(membrane(flow - rigid, measured), measured)


def shrunk(residual: Floats, measured: Bools) -> Floats:
    """Continued residuals with the small ones, mostly noise, drawn to zero; measured ones stay."""
    keep = np.maximum(1 - NOISE_PX**2 / np.maximum(squared(residual), 1e-6), 0)
    return np.asarray(residual * np.where(measured, np.float32(1), keep)[..., None], np.float32)

"""Direct references: single frames that show what the hole hides, registered to the frame in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.fill_membrane import Bools, Floats, membrane, squared
from tam_edit.models.classic.fill_scene import Scene, fitted_camera, grid, inside, moved, shrunk
from tam_edit.models.classic.flow import between

Pixel = TypeVar("Pixel", bound=np.generic)

DISTANCES = (1, 2, 3, 4, 6, 8, 11, 14, 18, 22, 27, 32, 37, 42, 48)
SMALL_RESIDUAL_PX = 3.0
PHOTOMETRIC = 18.0  # grey levels


@dataclass(frozen=True)
class Box:
    """A rectangle of the working picture, half-open."""

    x0: int
    y0: int
    x1: int
    y1: int

    def cut(self, image: NDArray[Pixel]) -> NDArray[Pixel]:
        return image[self.y0 : self.y1, self.x0 : self.x1]


def box_around(mask: Bools, margin: int) -> Box:
    """The bounding box of a mask with a margin, clipped to the picture."""
    height, width = mask.shape
    rows = np.flatnonzero(mask.any(1))
    columns = np.flatnonzero(mask.any(0))
    return Box(
        max(0, int(columns[0]) - margin),
        max(0, int(rows[0]) - margin),
        min(width, int(columns[-1]) + 1 + margin),
        min(height, int(rows[-1]) + 1 + margin),
    )


def chosen(scene: Scene, index: int, points: Floats, low: int, high: int, limit: int) -> list[int]:
    """Up to `limit` frames in [low, high), greedily by what each adds: near ones first, revealed pixels counted
    less the more often they are shown already. points: [N, 2], the hole at frame index."""
    offers: dict[int, Floats] = {}
    for distance in DISTANCES:
        for frame in (index - distance, index + distance):
            if not low <= frame < high:
                continue
            there = moved(scene.camera(index, frame), points)
            valid = inside(there, scene.work_wh, 1.0)
            near = np.rint(np.where(valid[:, None], there, 0)).astype(np.int64)
            shown = valid & scene.small(frame).clear[near[:, 1], near[:, 0]]
            offers[frame] = shown.astype(np.float32) * np.float32(np.exp(-distance / 30))
    need = np.ones(len(points), np.float32)
    picked: list[int] = []
    while offers and len(picked) < limit:
        gains = {frame: float((need * offer).sum()) for frame, offer in offers.items()}
        best = max(gains, key=lambda frame: (gains[frame], -abs(frame - index)))
        if gains[best] < 0.004 * len(points):
            break
        offer = offers.pop(best)
        need = need * np.where(offer > 0, np.float32(0.6), np.float32(1))
        picked.append(best)
    return picked


def registered(scene: Scene, index: int, frame: int, box: Box) -> tuple[Floats, Bools]:
    """Where each pixel of the box at frame index lies in another frame: [h, w, 2], and where that may be copied.

    By the camera's homography, one flow on the box, a local homography of it near the hole and the membrane of what
    small residual remains (motions that are not the background's stay out).
    """
    here, there = scene.small(index), scene.small(frame)
    height, width = box.y1 - box.y0, box.x1 - box.x0
    base = grid(height, width) + np.array([box.x0, box.y0], np.float32)
    far = moved(scene.camera(index, frame), base)
    seen = inside(far, scene.work_wh)
    grey = cv2.remap(there.grey, far[..., 0], far[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    calm_there = cv2.remap(there.calm.astype(np.uint8), far[..., 0], far[..., 1], cv2.INTER_NEAREST) > 0
    away = box.cut(here.away)
    target = np.where(away <= 1, grey, box.cut(here.grey))
    flow = between(target, grey)
    end = base - np.array([box.x0, box.y0], np.float32) + flow
    fetched = cv2.remap(grey, end[..., 0], end[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    difference = cv2.absdiff(fetched, target).astype(np.float32)
    difference = cv2.blur(difference, (3, 3))
    trusted = box.cut(here.calm) & calm_there & seen & (difference < PHOTOMETRIC)
    near = trusted & (away <= 24)
    pick = near & ((np.add.outer(np.arange(height), np.arange(width)) % 3) == 0)
    local = fitted_camera(base[pick], (base + flow)[pick]) if int(pick.sum()) >= 40 else np.eye(3)
    rigid = moved(local, base) - base
    residual = flow - rigid
    small = trusted & (squared(residual) < SMALL_RESIDUAL_PX**2)
    residual = shrunk(membrane(residual, small), small)
    xy = moved(scene.camera(index, frame), base + rigid + residual)
    valid = inside(xy, scene.work_wh, 0.5)
    clear = cv2.remap(there.clear.astype(np.uint8), xy[..., 0], xy[..., 1], cv2.INTER_NEAREST) > 0
    return xy, np.asarray(valid & clear)

"""The plate: what a still or turning camera sees behind whatever moves, a robust mean of many registered frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tam_edit.models.classic.fill_membrane import Bools, Floats, mean_size
from tam_edit.models.classic.fill_pictures import sampled
from tam_edit.models.classic.fill_scene import Scene, inside, moved

SPREAD = 10.0  # grey levels: samples much farther from the others than this are other things passing by


@dataclass(frozen=True)
class Plate:
    """Robust mean at points [N]. colour: float32 [N, 3]; count: float32 [N], how many samples agree (0: never seen);
    frames: S frame indices; xy: [S, N, 2]; share: [S, N], each sample's part in the mean, summing to 1 or 0."""

    colour: Floats
    count: Floats
    frames: list[int]
    xy: list[Floats]
    share: Floats


def plate_frames(index: int, near: range, samples: int) -> list[int]:
    """Frames evenly spread over a range, index itself left out."""
    spread = np.unique(np.linspace(near.start, near.stop - 1, min(samples, len(near))).round().astype(int))
    return [int(frame) for frame in spread if frame != index]


def plate(scene: Scene, index: int, points: Floats, frames: list[int]) -> Plate:
    """The background at points [N, 2] of a frame, from other frames registered by the camera's motion alone.

    Median of the samples' luma first, then two rounds of reweighted means (Geman-McClure) about it.
    """
    count, samples = len(points), len(frames)
    colours = np.zeros((samples, count, 3), np.float32)
    seen = np.zeros((samples, count), bool)
    places: list[Floats] = []
    for row, frame in enumerate(frames):
        xy = moved(scene.camera(index, frame), points)
        small = scene.small(frame)
        near = np.clip(np.rint(xy), 0, np.array(scene.work_wh) - 1).astype(np.int64)
        seen[row] = inside(xy, scene.work_wh, 0.5) & small.clear[near[:, 1], near[:, 0]]
        colours[row] = sampled(small.rgb, xy)
        places.append(xy)
    near_in_time = np.exp(-np.abs(np.array(frames) - index) / 30).astype(np.float32)[:, None]
    centre = _median(colours, seen)
    weight = np.zeros_like(seen, dtype=np.float32)
    for _ in range(2):
        apart = np.stack([mean_size(colours[row] - centre) for row in range(samples)]) / np.float32(SPREAD)
        weight = seen * near_in_time / (1 + apart * apart) ** 2
        total = np.maximum(weight.sum(0), 1e-6)
        centre = np.einsum("sn,snc->nc", weight, colours) / total[:, None]
    agreeing = (weight / near_in_time).sum(0)
    share = weight / np.maximum(weight.sum(0), 1e-6)
    return Plate(centre.astype(np.float32), agreeing.astype(np.float32), frames, places, share)


def _median(colours: Floats, seen: Bools) -> Floats:
    """The colour of the sample whose luma is the median of those seen: [N, 3]."""
    luma = (colours[..., 0] + 2 * colours[..., 1] + colours[..., 2]) / 4
    order = np.argsort(np.where(seen, luma, np.float32(1e6)), axis=0, kind="stable")
    middle = np.maximum(seen.sum(0) - 1, 0) // 2
    pick = np.take_along_axis(order, middle[None], 0)[0]
    return np.asarray(colours[pick, np.arange(colours.shape[1])])

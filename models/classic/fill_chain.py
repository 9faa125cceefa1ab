"""Chains: follow a hidden pixel from neighbour to neighbour until a frame shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.fill_membrane import Floats, squared
from tam_edit.models.classic.fill_pictures import sampled
from tam_edit.models.classic.fill_scene import Scene, inside

DRIFT_PX = 3.0  # beyond this forward-backward disagreement, summed along the way, a chain has lost its pixel


@dataclass(frozen=True)
class Origin:
    """Where pixels come from, never colours. All [N]; frame is -1 where nothing was found; xy in working pixels."""

    frame: NDArray[np.int32]
    xy: Floats  # [N, 2]
    drift_px: Floats


def chains(scene: Scene, index: int, points: Floats, direction: int, stop: int, sightings: int) -> list[Origin]:
    """The first `sightings` frames that show each point, going one way.

    points: [N, 2] at frame index; direction: 1 or -1; stop: the last frame that may be looked at. Each pixel is
    followed on its own through completed flow, so a result depends on the frames passed and nothing else.
    """
    count = len(points)
    origins = [
        Origin(np.full(count, -1, np.int32), np.zeros((count, 2), np.float32), np.zeros(count, np.float32))
        for _ in range(sightings)
    ]
    alive = np.arange(count)
    xy = points.astype(np.float32)
    drift = np.zeros(count, np.float32)
    seen = np.zeros(count, np.int32)
    for frame in range(index, stop, direction):
        if not len(alive):
            break
        there = frame + direction
        flow = sampled(scene.step(frame, direction).flow, xy)
        xy = xy + flow
        back = sampled(scene.step(there, -direction).flow, xy)
        drift = drift + np.sqrt(squared(flow + back))
        keep = inside(xy, scene.work_wh, 0.5) & (drift < DRIFT_PX)
        alive, xy, drift = alive[keep], xy[keep], drift[keep]
        if not len(alive):
            break
        small = scene.small(there)
        near = np.rint(xy).astype(np.int64)
        shown = small.clear[near[:, 1], near[:, 0]]
        if shown.any():
            for rank in range(sightings):
                now = shown & (seen[alive] == rank)
                origin = origins[rank]
                origin.frame[alive[now]] = there
                origin.xy[alive[now]] = xy[now]
                origin.drift_px[alive[now]] = drift[now]
            seen[alive[shown]] += 1
            keep = seen[alive] < sightings
            alive, xy, drift = alive[keep], xy[keep], drift[keep]
    return origins

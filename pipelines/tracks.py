"""Where an object is from frame to frame, as a box that does not tremble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.matte import Mattes

SMOOTH_S = 0.12
"""Seconds: the width (sigma) of the Gaussian over which boxes are averaged, to both sides so that they do not lag."""


@dataclass(frozen=True)
class Box:
    """Centre and size in pixels, to a sixteenth; `largest`: the greatest short and long side in the shot."""

    centre_xy: tuple[float, float]
    size_wh: tuple[float, float]
    largest: tuple[float, float]


@dataclass(frozen=True)
class Track:
    """Boxes by frame where the object is seen; `known` is False while planning what has not run."""

    boxes: Mapping[int, Box]
    known: bool

    def box(self, frame: int) -> Box | None:
        return self.boxes.get(frame)


def track(context: Context, mattes: Mattes) -> Track:
    """The boxes of what a matte shows, smoothed inside each shot over the frames that have one."""
    if None in mattes.series.digests.values():
        return Track({}, False)
    width_s = float(context.source.time_base) * SMOOTH_S**-1
    boxes: dict[int, Box] = {}
    for shot in context.shots:
        seen = {frame: box for frame in shot.indices() if (box := mattes.boxes.get(frame)) is not None}
        if seen:
            places = np.array([context.source.pts[frame] for frame in seen], np.float64) * width_s
            boxes.update(zip(seen, _smoothed(places, np.array(list(seen.values()), np.float64)), strict=True))
    return Track(boxes, True)


def _smoothed(places: NDArray[np.float64], sides: NDArray[np.float64]) -> Iterable[Box]:
    """Boxes [N, 4] at places in units of the smoothing's sigma."""
    centres = (sides[:, :2] + sides[:, 2:]) / 2
    sizes = sides[:, 2:] - sides[:, :2]
    largest = (float(sizes.min(axis=1).max()), float(sizes.max(axis=1).max()))
    for place in places:
        near = np.abs(places - place) < 4
        weight = _line_weights(places[near] - place)
        centre = np.round(weight @ centres[near] * 16) / 16
        size = np.maximum(np.round(weight @ sizes[near] * 16) / 16, 1)
        yield Box((float(centre[0]), float(centre[1])), (float(size[0]), float(size[1])), largest)


def _line_weights(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each value counts in a straight line fitted with Gaussian weights, read off at 0.

    A plain mean would trail behind what moves wherever one side has fewer frames, as at a shot's ends.
    """
    weight = np.exp(-(away**2) / 2)
    total, first, second = weight.sum(), (weight * away).sum(), (weight * away**2).sum()
    spread = total * second - first**2
    if spread < 1e-9 * total**2:
        return np.asarray(weight / total)
    return np.asarray(weight * (second - first * away) / spread)


def shots_with(context: Context, mattes: Mattes) -> list[FrameSpan]:
    """The shots in which something was marked."""
    return [shot for shot in context.shots if any(frame in mattes.series.digests for frame in shot.indices())]

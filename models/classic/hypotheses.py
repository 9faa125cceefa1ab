"""First guesses of different extent from prompts, and what the prompts themselves say of each pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import flow
from tam_edit.models.classic.prompts import Prompts
from tam_edit.models.classic.regions import IMPOSSIBLE, Paths, Scene

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

EXTENTS = (0.004, 0.01, 0.025, 0.06, 0.12, 0.2)  # first guesses, as shares of the picture
BOX_FILLS = (0.25, 0.4, 0.55, 0.7, 0.85)  # first guesses, as shares of a box
# log odds that the prompts themselves give
BOX_GAIN = 0.25
APART_FILLS = (0.3, 0.45, 0.6, 0.75)  # and of what cannot be reached from outside it without crossing edges
SPACE_GAIN = 1.0  # beside the points
MOTION_GAIN = 2.0  # of what moves like the points
LEAST_MOTION = 0.7  # of the points against the background, over the mean
GEO_GAIN = 0.5  # beside the points, along paths
PIN_PX = 3  # around points: what classifiers must heed
PIN_WEIGHT = 0.3  # against 1 for all other pixels
SURE = 8.0  # at the points themselves


def hypotheses(scene: Scene, prompts: Prompts) -> tuple[list[Bools], list[Floats]]:
    """First guesses of different extent, and what the prompts themselves say of each pixel."""
    height, width = scene.shape
    grid = flow.grid(height, width)
    guesses, priors = [], []
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        middle = np.array([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2], np.float32)
        half = np.array([max(1, (x1 - x0) / 2), max(1, (y1 - y0) / 2)], np.float32)
        radius = np.sqrt(np.square((grid - middle) / half).sum(axis=2))
        beyond = (np.abs(grid - middle) > half).any(axis=2)
        apart = _apart(scene, beyond)
        for fill in BOX_FILLS:
            size = np.float32(np.sqrt(fill * 4 / np.pi))
            prior = np.float32(BOX_GAIN) * np.clip(size - radius, -1, 1)
            prior[beyond] = IMPOSSIBLE
            guesses.append((radius < size) & ~beyond)
            priors.append(pinned(prior, prompts))
        if apart is not None:
            nowhere = np.where(beyond, np.float32(IMPOSSIBLE), np.float32(0))
            for fill in APART_FILLS:
                guesses.append((apart > np.quantile(apart[~beyond], 1 - fill)) & ~beyond)
                priors.append(pinned(nowhere.copy(), prompts))
        return guesses, priors
    reach = Paths(scene).reach(prompts.positive)
    away = np.min([np.sqrt(np.square(grid - np.array(p, np.float32)).sum(axis=2)) for p in prompts.positive], axis=0)
    for extent in EXTENTS:
        radius_px = np.float32(np.sqrt(extent * height * width / np.pi))
        prior = np.float32(SPACE_GAIN) * np.clip(1 - away / (2 * radius_px), -2, 1)
        far = np.quantile(reach, min(1.0, 2 * extent))
        prior += np.float32(GEO_GAIN) * np.clip(1 - reach / (far + np.float32(1e-3)), -2, 1)
        guesses.append(reach <= np.quantile(reach, extent))
        priors.append(pinned(prior.astype(np.float32), prompts))
    moving = _moving(scene, prompts)
    if moving is not None:
        guesses.append(moving > 0)
        priors.append(pinned(np.float32(MOTION_GAIN) * moving, prompts))
    return guesses, priors


def _apart(scene: Scene, beyond: Bools) -> Floats | None:
    """How long the way from outside the box is: short for what goes on beyond it, like a wall or the ground."""
    rim = beyond & (cv2.dilate((~beyond).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
    if not rim.any():
        return None
    y, x = np.nonzero(rim)
    return Paths(scene, flat=True).reach(list(zip(x.tolist(), y.tolist(), strict=True)))


def _moving(scene: Scene, prompts: Prompts) -> Floats | None:
    """-1..1: what moves like the positive points and unlike the background; None where they stand still."""
    if scene.moved is None or not prompts.positive:
        return None
    grown = cv2.blur(scene.moved, (5, 5))
    own = np.mean([grown[y, x] for x, y in prompts.positive], axis=0)
    length = float(np.hypot(own[0], own[1]))
    if length < LEAST_MOTION:
        return None
    # nearer to the points' motion than to none at all
    still, like = flow.length(scene.moved), flow.length(scene.moved - own.astype(np.float32))
    return np.asarray(np.clip((still - like) / length * 1.5, -1, 1), np.float32)


def pinned(prior: Floats, prompts: Prompts) -> Floats:
    """The prior with the points themselves beyond doubt."""
    for places, value in ((prompts.positive, SURE), (prompts.negative, -SURE)):
        for x, y in places:
            prior[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = value
    return prior


def pins(prompts: Prompts, shape: tuple[int, ...]) -> Floats:
    """What a classifier must heed besides: pixels around the points, their weights shared: [h, w], negative outside."""
    result = np.zeros(shape, np.float32)
    if len(prompts.positive) + len(prompts.negative) < 2:
        return result
    for places, sign in ((prompts.positive, 1), (prompts.negative, -1)):
        disc = np.zeros(shape, np.uint8)
        for place in places:
            cv2.circle(disc, place, PIN_PX, 1, -1)
        result += sign * np.float32(PIN_WEIGHT) * disc / max(1, int(disc.sum()))
    return result

"""Which of several regions is an object: a linear score of how regions of real objects look."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.regions import Scene

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

RING_PX = 15
# fitted by ridge regression of the IoU on frames of ten real clips (left out one by one: docs/classic-engine); means,
# spreads and weights in the order of `measures`
MEAN = (1.334, 0.754, 0.700, 0.884, 0.629, -2.457, 7.054, 0.026, 0.098, 0.539)
SPREAD = (0.179, 0.097, 0.098, 0.102, 0.180, 1.009, 6.014, 0.075, 0.047, 0.655)
WEIGHT = (0.022, 0.024, 0.061, 0.001, 0.078, -0.106, -0.151, -0.100, 0.019, 0.004)
BIAS = 0.449


def measures(scene: Scene, logits: Floats, answers: Floats) -> NDArray[np.float64]:
    """Ten numbers for each region : [G, 10].

    Edge contrast, looks inside, just outside and far away, stability (the two other regions most alike), size (twice),
    share of the picture's border, compactness, motion against the surroundings.
    """
    slope = _slope(scene.lab)
    ordinary = float(np.minimum(slope, 1).mean()) + 0.05
    masks = logits > 0
    return np.array([_measure(scene, masks, g, answers[g], slope, ordinary) for g in range(len(masks))])


def predicted(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Predicted IoU 0..1 of each region from its measures."""
    return np.asarray(np.clip(((values - np.array(MEAN)) / np.array(SPREAD)) @ np.array(WEIGHT) + BIAS, 0, 1))


def _measure(scene: Scene, masks: Bools, index: int, answer: Floats, slope: Floats, ordinary: float) -> list[float]:
    mask = masks[index]
    if not mask.any() or mask.all():
        return [0.0] * 4 + [0.5, -7.0, 49.0, 1.0, 0.0, 0.0]
    band = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    ring, far = (distance > 0) & (distance < RING_PX), distance >= RING_PX
    clipped = np.clip(answer, -1.5, 1.5)
    size = float(np.log(mask.mean() + 1e-4))
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    moving = 0.0
    if scene.unlike is not None:
        moving = float(np.clip(scene.unlike[mask].mean() - scene.unlike[ring].mean(), -2, 2))
    return [
        float(np.minimum(slope[band], 1).mean()) / ordinary,
        float(clipped[mask].mean()),
        -float(clipped[ring].mean()),
        -float(clipped[far].mean()) if far.any() else 0.0,
        float(np.mean(sorted(_iou(masks, index, other) for other in range(len(masks)) if other != index)[-2:])),
        size,
        size * size,
        float(border),
        float(mask.sum()) / float(band.sum()) ** 2 * 16,
        moving,
    ]


def _iou(masks: Bools, one: int, other: int) -> float:
    return float((masks[one] & masks[other]).sum() / max(1, (masks[one] | masks[other]).sum()))


def _slope(lab: Floats) -> Floats:
    """Length of the colour gradient, 1 for a strong edge: [h, w]."""
    square = np.zeros(lab.shape[:2], np.float32)
    for channel in range(3):
        plane = np.ascontiguousarray(lab[..., channel])
        for dx, dy in ((1, 0), (0, 1)):
            square += np.square(cv2.Sobel(plane, cv2.CV_32F, dx, dy, scale=1 / 64))
    return np.sqrt(square)

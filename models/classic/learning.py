"""Turning a frame and its masks into what a classifier remembers."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic.classifier import Basis, Sums
from tam_edit.models.classic.features import Scaling

Floats = NDArray[np.float32]

_NEAR_PX = 56.0  # background this far from an object counts 1/e of the one beside it
_FAR_SHARE = 0.15  # what the farthest background still counts
_ENOUGH = 30  # pixels of an object that are worth learning from


def enough(probability: Floats) -> bool:
    """Whether an object's probabilities [h, w] hold enough of it to learn from."""
    return bool((probability > 0.5).sum() >= _ENOUGH)


def sums(
    basis: Basis,
    looks: Floats,
    scaling: Scaling,
    probability: Floats,
    *,
    samples: int,
    seed: tuple[int, int],
    weighted: bool,
) -> Sums:
    """Normal equations of a random sample of pixels inside an object and outside, both sides counting the same.

    looks [h * w, 13], not scaled; probability [h, w]; samples of each side; weighted: doubtful pixels count less.
    """
    random = np.random.default_rng(seed)
    inside = probability > 0.5
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3).reshape(-1)
    ones, zeros = np.flatnonzero(inside), np.flatnonzero(~inside)
    ones = random.choice(ones, min(samples, len(ones)), replace=False)
    zeros = random.choice(zeros, min(samples, len(zeros)), replace=False)
    of_ones = np.ones(len(ones), np.float32)
    of_zeros = np.exp(-distance[zeros] / np.float32(_NEAR_PX)) + np.float32(_FAR_SHARE)
    if weighted:
        sure = np.abs(2 * probability.reshape(-1) - 1)
        of_ones, of_zeros = of_ones * sure[ones], of_zeros * sure[zeros]
    of_ones /= of_ones.sum() + np.float32(1e-6)
    of_zeros /= of_zeros.sum() + np.float32(1e-6)
    target = np.concatenate([np.ones(len(ones), np.float32), np.full(len(zeros), -1, np.float32)])
    expanded = basis.expand(scaling.apply(looks[np.concatenate([ones, zeros])]))
    return Sums.of(expanded, target, np.concatenate([of_ones, of_zeros]))

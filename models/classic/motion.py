"""Which pixels move with the object and which with what lies behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import flow

Floats = NDArray[np.float32]

_SAMPLES = 3000
_MIN_SAMPLES = 24


def fit_affine(field: Floats, weight: Floats) -> Floats | None:
    """Affine motion (3 x 2, of [x, y, 1]) of a weighted region, robustly; None where the region is too small.

    field [H, W, 2]; weight [H, W] in 0..1. Iteratively reweighted least squares with Geman-McClure weights.
    """
    chosen = np.flatnonzero(weight.reshape(-1) > 0.2)
    if len(chosen) < _MIN_SAMPLES:
        return None
    chosen = chosen[:: max(1, len(chosen) // _SAMPLES)]
    height, width = weight.shape
    places = np.ones((len(chosen), 3), np.float32)
    places[:, :2] = _centred(height, width).reshape(-1, 2)[chosen]
    moved = field.reshape(-1, 2)[chosen]
    base = weight.reshape(-1)[chosen]
    current = base
    model = np.zeros((3, 2), np.float32)
    for scale in (8.0, 4.0, 2.0, 1.5, 1.5):
        weighted = places * current[:, None]
        gram = (weighted.T @ places).astype(np.float64) + 1e-3 * np.eye(3)
        model = np.linalg.solve(gram, (weighted.T @ moved).astype(np.float64)).astype(np.float32)
        error = np.square(moved - places @ model).sum(axis=1)
        current = base / np.square(1 + error * np.float32(1 / scale**2))
    return model


def residual(field: Floats, model: Floats) -> Floats:
    """How far each pixel's flow is from an affine motion, in px: [H, W]."""
    return flow.length(field - predicted(field.shape[:2], model))


def predicted(shape: tuple[int, ...], model: Floats) -> Floats:
    """The flow of an affine motion: [H, W, 2]."""
    half = np.float32(max(shape[0], shape[1]) / 2)
    x = (np.arange(shape[1], dtype=np.float32) - np.float32(shape[1] / 2)) / half
    y = (np.arange(shape[0], dtype=np.float32) - np.float32(shape[0] / 2)) / half
    result = np.empty((shape[0], shape[1], 2), np.float32)
    for axis in range(2):  # a plane is the sum of a row and a column
        result[..., axis] = (x * model[0, axis])[None, :] + (y * model[1, axis] + model[2, axis])[:, None]
    return result


def _centred(height: int, width: int) -> Floats:
    """Places from -1 to 1 over the picture's longer half, which keeps the fit well conditioned."""
    half = np.float32(max(height, width) / 2)
    middle = np.array([width / 2, height / 2], np.float32)
    return (flow.grid(height, width) - middle) / half


def matrix(model: Floats, shape: tuple[int, int], corner_xy: tuple[int, int]) -> NDArray[np.float64]:
    """An affine motion of a window [H, W] at some corner of a picture, as places there: [2, 3] of [x, y, 1]."""
    half = max(shape[0], shape[1]) / 2
    linear = model[:2].T.astype(np.float64) / half
    centre = np.array([corner_xy[0] + shape[1] / 2, corner_xy[1] + shape[0] / 2])
    return np.column_stack([np.eye(2) + linear, model[2].astype(np.float64) - linear @ centre])

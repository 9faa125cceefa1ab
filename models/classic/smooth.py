"""Edge-aware smoothing: a fast global smoother made of tridiagonal solves.

Min et al., "Fast Global Image Smoothing Based on Weighted Least Squares", IEEE TIP 2014: a two-dimensional
weighted least squares problem is replaced by alternating one-dimensional ones, each solved exactly in linear time.
OpenCV has it only in its contrib wheel, which cannot be installed beside the one the project needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.models.classic import threads
from tam_edit.models.classic.tridiagonal import solve_tridiagonal

Floats = NDArray[np.float32]

_ROUNDS = 3


def smooth(values: Floats, guide: NDArray[Any], *, strength: float, sigma: float) -> Floats:
    """Smooth values along a guide picture but not across its edges.

    values float32 [H, W] or [H, W, C]; guide [H, W] or [H, W, 3] in grey levels; sigma in the guide's units;
    strength is the weight of smoothness against fidelity. Returns the shape of values. Source: Min et al. 2014,
    section III.
    """
    return along(values, affinities(guide, sigma), strength=strength)


def along(values: Floats, alike: tuple[Floats, Floats], *, strength: float, rounds: int = _ROUNDS) -> Floats:
    """As `smooth`, with the guide's affinities at hand."""
    flat = values.ndim == 2
    channels = np.ascontiguousarray(values[..., None] if flat else values, dtype=np.float32)  # [H, W, C]
    across, down = alike
    current = channels
    for index in range(rounds):
        share = np.float32(1.5 * 4.0 ** (rounds - 1 - index) / (4.0**rounds - 1.0) * strength)
        current = _rows(current, across * share)
        turned = _rows(current.transpose(1, 0, 2), down * share)
        current = turned.transpose(1, 0, 2)
    result = np.ascontiguousarray(current)
    return result[..., 0] if flat else result


def affinities(guide: NDArray[Any], sigma: float) -> tuple[Floats, Floats]:
    """How alike neighbours are, exp(-distance / sigma): to the right [H, W], and downwards [W, H] (transposed).

    The last column (of the transposed one: the last row's) is 0: nothing lies beyond it.
    """
    planes = guide[..., None] if guide.ndim == 2 else guide
    height, width = planes.shape[:2]
    across = np.zeros((height, width), np.float32)
    down = np.zeros((width, height), np.float32)
    step = np.float32(-1.0 / sigma)
    # plane by plane: numpy sums over a short last axis many times slower
    for channel in range(planes.shape[2]):
        plane = planes[..., channel].astype(np.float32)
        across[:, :-1] += np.square(plane[:, 1:] - plane[:, :-1])
        turned = np.ascontiguousarray(plane.T)
        down[:, :-1] += np.square(turned[:, 1:] - turned[:, :-1])
    for weights in (across, down):
        weights[:, :-1] = np.exp(np.sqrt(weights[:, :-1]) * step)
    return across, down


def _rows(values: Floats, weights: Floats) -> Floats:
    """Solve (I + weighted Laplacian) x = values along each row at once: [H, W, C] to a view of that shape."""
    height, width, count = values.shape
    right = np.empty((count, height, width), np.float32)
    pieces = threads.workers()

    def piece(index: int) -> None:
        # The rows of a piece form one block-diagonal system: the weight is 0 at every row's end.
        rows = slice(height * index // pieces, height * (index + 1) // pieces)
        off = weights[rows].reshape(-1)
        if not len(off):
            return
        diagonal = 1.0 + off
        diagonal[1:] += off[:-1]
        right[:, rows] = values[rows].transpose(2, 0, 1)
        solve_tridiagonal(diagonal, -off, right.reshape(count, -1), rows.start * width)

    threads.share(piece, pieces)
    return right.transpose(1, 2, 0)

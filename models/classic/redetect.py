"""Finding an object again after an occlusion or a cut, by what it looks like."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

_BINS = (6, 10, 10)
_PARTS = 6  # how many pieces of the picture are looked at


def histogram(picture: Bytes, inside: Bools) -> Floats:
    """Share of each colour (L, a, b) among the pixels inside, softened so that neighbouring colours meet."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    table = cv2.calcHist([lab], [0, 1, 2], inside.astype(np.uint8), list(_BINS), [0, 256, 68, 188, 68, 188])
    soft = table.astype(np.float32)
    for axis in range(3):
        moved = np.moveaxis(soft, axis, 0)
        padded = np.concatenate([moved[:1], moved, moved[-1:]])
        soft = np.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 0, axis)
    flat = soft.reshape(-1)
    return np.asarray(flat / max(float(flat.sum()), 1e-6), np.float32)


def likeness(one: Floats, other: Floats) -> float:
    """Bhattacharyya coefficient of two histograms: 1 for the same colours."""
    return float(np.sqrt(one * other).sum())


def find(
    picture: Bytes, look: Floats, colours: Floats, usual_area: float, *, least_look: float, least_likeness: float
) -> Bools | None:
    """The one part of the picture that looks like a lost object, None if there is none or it is ambiguous.

    look [h, w] smoothed classifier answer, about -1..1; usual_area: share of the picture on trusted frames.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats((look > 0).astype(np.uint8), connectivity=8)
    if count < 2:
        return None
    sizes = stats[1:, cv2.CC_STAT_AREA]
    usual = max(usual_area * look.size, 1.0)
    scored: list[tuple[float, int]] = []
    for index in np.argsort(-sizes, kind="stable")[:_PARTS]:
        ratio = float(sizes[index]) / usual
        if not 0.15 < ratio < 3.5 or sizes[index] < 40:
            continue
        inside = parts == index + 1
        strength = float(look[inside].mean())
        alike = likeness(histogram(picture, inside), colours)
        if strength >= least_look and alike >= least_likeness:
            scored.append((strength * alike * min(ratio, 1 / ratio) ** 0.25, int(index) + 1))
    if not scored:
        return None
    scored.sort(reverse=True)
    if len(scored) > 1 and scored[1][0] > 0.85 * scored[0][0]:
        return None
    return np.asarray(parts == scored[0][1])

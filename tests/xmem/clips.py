"""Small moving pictures for the tests: textured discs over a textured ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Masks = dict[int, NDArray[np.bool_]]


def moving_discs(
    frames: int, height: int, width: int, objects: int, seed: int = 0
) -> tuple[NDArray[np.uint8], list[Masks]]:
    """uint8 [T, H, W, 3] and for each frame the masks of all objects, labels 1 to `objects`."""
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 215, (height // 6 + 2, width // 6 + 2, 3))
    ground = np.kron(coarse, np.ones((6, 6, 1)))[:height, :width]
    start = random.uniform(0.15, 0.85, (objects, 2)) * (height, width)
    speed = random.uniform(-1.5, 1.5, (objects, 2))
    colours = random.integers(0, 255, (objects, 3))
    radius = max(2.0, min(height, width) / (4 + objects / 3))
    y, x = np.mgrid[:height, :width]
    clip, truth = np.empty((frames, height, width, 3), dtype=np.uint8), []
    for t in range(frames):
        picture, label_map = ground.copy(), np.zeros((height, width), dtype=int)
        for k in range(objects):
            row, column = (start[k] + t * speed[k]) % (height, width)
            disc = (y - row) ** 2 + (x - column) ** 2 < radius**2
            picture[disc] = colours[k] * (0.7 + 0.3 * ((x + y)[disc, None] // 3 % 2))
            label_map[disc] = k + 1
        clip[t] = picture.clip(0, 255)
        truth.append({k + 1: label_map == k + 1 for k in range(objects)})
    return clip, truth

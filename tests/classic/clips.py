"""Made clips with known masks: textured shapes that move over a textured ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]


def texture(seed: int, size_wh: tuple[int, int], colour: tuple[int, int, int], spread: float = 25.0) -> Bytes:
    """Blurred noise around a colour: something that flow can follow."""
    noise = np.random.default_rng(seed).standard_normal((size_wh[1], size_wh[0], 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.asarray(np.clip(noise / noise.std() * spread + np.array(colour, np.float32), 0, 255), np.uint8)


def moving(
    count: int,
    size_wh: tuple[int, int] = (160, 96),
    colours: tuple[tuple[int, int, int], ...] = ((190, 60, 60),),
    ground: tuple[int, int, int] = (70, 120, 80),
    step_px: float = 2.0,
) -> tuple[list[Bytes], list[Bytes]]:
    """Frames and label maps: one disc of each colour, side by side, moving to the right over still ground."""
    width, height = size_wh
    behind = texture(1, size_wh, ground)
    coats = [texture(10 + i, size_wh, colour) for i, colour in enumerate(colours)]
    frames, maps = [], []
    for number in range(count):
        frame, label_map = behind.copy(), np.zeros((height, width), np.uint8)
        for index, coat in enumerate(coats):
            centre = (round(30 + number * step_px), round(height * (index + 1) / (len(coats) + 1)))
            radius = height // (3 * len(coats) + 1)
            disc = np.zeros((height, width), np.uint8)
            cv2.circle(disc, centre, radius, 1, -1)
            shifted = np.roll(coat, round(number * step_px), axis=1)
            frame[disc > 0] = shifted[disc > 0]
            label_map[disc > 0] = index + 1
        frames.append(frame)
        maps.append(label_map)
    return frames, maps


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0

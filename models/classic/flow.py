"""Optical flow between neighbours, how far to trust it, and carrying things along it."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


# OpenCV's search reads beyond pictures that are smaller than its pyramid, and takes the process with it.
_LEAST_SIDE_PX = 40


def between(source: Bytes, target: Bytes, *, fast: bool = False) -> Floats:
    """Flow that says where each pixel of source lies in target: float32 [H, W, 2] in px, x first.

    Both grey uint8 [H, W], of any size; fast: OpenCV's preset of that name, else the medium one.
    Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    """
    height, width = source.shape
    below, beside = max(0, _LEAST_SIDE_PX - height), max(0, _LEAST_SIDE_PX - width)
    if below or beside:
        source, target = (
            np.asarray(cv2.copyMakeBorder(grey, 0, below, 0, beside, cv2.BORDER_REPLICATE), np.uint8)
            for grey in (source, target)
        )
    # A new one each time: one that has seen pictures of another size answers differently, and making it costs nothing.
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST if fast else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = engine.calc(np.ascontiguousarray(source), np.ascontiguousarray(target), None)
    return np.asarray(found[:height, :width], np.float32)


@lru_cache(maxsize=8)
def grid(height: int, width: int) -> Floats:
    """Each pixel's own place, x first: [H, W, 2]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([x, y], axis=2)


def carry(values: Floats, backward: Floats) -> Floats:
    """Fetch values [H, W] or [H, W, C] of the former picture along the backward flow; edges are repeated."""
    places = grid(*backward.shape[:2]) + backward
    return np.asarray(cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def consistency(backward: Floats, forward: Floats) -> Floats:
    """How well going back and forth again ends where it began: 0..1 [H, W]."""
    error = backward + carry(forward, backward)
    relative = length(error) / (1 + np.float32(0.1) * length(backward))
    return np.asarray(np.exp(-np.square(relative)), np.float32)


def length(field: Floats) -> Floats:
    """Of each vector [H, W, 2]: [H, W]."""
    return np.asarray(cv2.magnitude(field[..., 0], field[..., 1]), np.float32)

"""Alpha along a contour from the picture's colours: locally linear in colour, where colours tell the sides apart."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.matting.contour import Floats, coverage

NOISE = 1e-4
"""Variance of colours (0..1) below which differences are taken for noise: the filter's epsilon."""

MOST_WRONG = 0.04
"""Mean error about clear pixels at which the fit counts for a third."""

LOW, HIGH = 0.2, 0.8
"""What the linear fit gives for pure background and pure foreground: it never quite reaches 0 and 1."""

FAINT_BEYOND = 0.35
"""Alpha that counts as nothing at the band's outer edge: strands reach there, ghosts of the background do too."""

TELLS_LITTLE, TELLS_MUCH = 0.2, 0.5
"""Shares of alpha's variance around that colours explain, from which on they begin to count and count fully."""

TRUST_IN_BAND = 0.05
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def refined(distance: Floats, rgb: NDArray[np.uint8], band_px: int) -> Floats:
    """Alpha float32 [H, W] from signed distances to a contour and the picture, within band_px of the contour.

    distance: float32 [H, W] px, positive outside; rgb: uint8 [H, W, 3]. Around every pixel alpha is taken as a linear
    function of colour, fitted to the pixels that lie clearly inside or outside. It counts as far as it is right about
    those: where colours do not tell the sides apart, and beyond the band, the contour's own coverage stays.
    Deterministic, frame by frame.

    Source: K. He, J. Sun, X. Tang, "Guided Image Filtering", TPAMI 2013, section 3.5 (colour guide), and K. He,
    J. Sun, "Fast Guided Filter", 2015 (coefficients at lower resolution); weights and trust are our own.
    """
    plain = coverage(distance)
    if not (np.abs(distance) < band_px).any():
        return plain
    height, width = distance.shape
    factor = max(1, band_px // 4)
    size = (max(1, width // factor), max(1, height // factor))
    guide = rgb.astype(np.float32) * np.float32(1 / 255)
    small_guide, small_distance = guide, distance
    if factor > 1:
        small_guide = np.asarray(cv2.resize(guide, size, interpolation=cv2.INTER_AREA), np.float32)
        small_distance = np.asarray(cv2.resize(distance, size, interpolation=cv2.INTER_AREA), np.float32)
    lines = _local_lines(small_guide, small_distance, band_px, 2 * band_px // factor)
    wrong = _wrong(_applied(lines, small_guide), small_distance, band_px, max(1, band_px // factor))
    if factor > 1:
        lines = np.asarray(cv2.resize(lines, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        wrong = np.asarray(cv2.resize(wrong, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    floor = np.float32(FAINT_BEYOND) * np.clip(distance / np.float32(band_px), 0, 1)
    change = np.clip((_applied(lines, guide) - floor) / (1 - floor), 0, 1) - plain
    # What is added must not be found in the background around, what is taken away not in the object.
    mistaken = np.where(change > 0, wrong[..., 0], wrong[..., 1])
    trust = np.exp(-np.square(mistaken / np.float32(MOST_WRONG)))
    trust *= np.clip((lines[..., 4] - np.float32(TELLS_LITTLE)) / np.float32(TELLS_MUCH - TELLS_LITTLE), 0, 1)
    # Full weight near the contour, none at the band's edge.
    trust *= np.clip(2 - np.abs(distance) / np.float32(band_px / 2), 0, 1)
    return np.asarray(plain + trust * change, np.float32)


def _applied(lines: Floats, guide: Floats) -> Floats:
    """Alpha from colours [h, w, 3] by slopes and offsets, stretched to 0..1."""
    fitted = lines[..., 3].copy()
    for channel in range(3):
        fitted += lines[..., channel] * guide[..., channel]
    return np.asarray(np.clip((fitted - np.float32(LOW)) / np.float32(HIGH - LOW), 0, 1), np.float32)


def _wrong(fitted: Floats, distance: Floats, band_px: int, radius: int) -> Floats:
    """How wrong the fit is about clear background and clear object around each pixel: [h, w, 2], mean 0..1."""
    box = (2 * radius + 1, 2 * radius + 1)
    found = []
    for side, sign in ((fitted, 1), (1 - fitted, -1)):
        clear = np.clip(sign * distance / np.float32(band_px / 2) - 1, 0, 1)
        mass = cv2.blur(clear, box)
        # Where no clear pixel is near there is nothing to go by.
        mean = (cv2.blur(clear * side, box) + np.float32(0.001)) / (mass + np.float32(0.001))
        found.append(mean)
    return np.stack(found, axis=2).astype(np.float32)


def _local_lines(guide: Floats, distance: Floats, band_px: int, radius: int) -> Floats:
    """Alpha as a linear function of the colours around, [h, w, 5]: three slopes, offset, share of variance told."""
    target = coverage(distance)
    # Pixels near the contour may be on either side or a mix of both: they hardly count.
    sure = np.clip(np.abs(distance) / np.float32(band_px / 2), 0, 1)
    weight = np.float32(TRUST_IN_BAND) + np.float32(1 - TRUST_IN_BAND) * sure * sure
    box = 2 * radius + 1

    def mean(values: NDArray[Any]) -> Floats:
        return np.asarray(cv2.blur(values, (box, box), borderType=cv2.BORDER_REFLECT), np.float32)

    total = mean(weight)
    weighted = guide * weight[..., None]
    centre = mean(weighted) / total[..., None]
    level = mean(weight * target) / total
    products = [mean(weighted[..., i] * guide[..., j]) / total - centre[..., i] * centre[..., j] for i, j in _PAIRS]
    joint = mean(weighted * target[..., None]) / total[..., None] - centre * level[..., None]
    spread = mean(weight * target * target) / total - level * level
    slope = _solved(products, joint)
    explained = slope[..., 0] * joint[..., 0] + slope[..., 1] * joint[..., 1] + slope[..., 2] * joint[..., 2]
    share = np.clip(explained / np.maximum(spread, np.float32(1e-4)), 0, 1)
    offset = level - (slope * centre).sum(axis=2, dtype=np.float32)
    # Windows in which colours tell more have more to say about the pixels that they share.
    vote = share * share * np.sqrt(np.maximum(spread, 0)) + np.float32(1e-4)
    # blur takes any number of channels.
    lines = np.concatenate([slope, offset[..., None], share[..., None]], axis=2)
    return np.asarray(mean(lines * vote[..., None]) / mean(vote)[..., None], np.float32)


def _solved(products: list[Floats], joint: Floats) -> Floats:
    """(covariance + NOISE)^-1 times a vector, for every pixel at once: [h, w, 3]."""
    xx, xy, xz, yy, yz, zz = products
    xx, yy, zz = xx + np.float32(NOISE), yy + np.float32(NOISE), zz + np.float32(NOISE)
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    x, y, z = joint[..., 0], joint[..., 1], joint[..., 2]
    scale = 1 / np.maximum(xx * a + xy * b + xz * c, np.float32(1e-12))
    return np.stack(
        [(a * x + b * y + c * z) * scale, (b * x + d * y + e * z) * scale, (c * x + e * y + f * z) * scale], 2
    )

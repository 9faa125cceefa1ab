"""Scenes whose alpha is known: DAVIS objects with strands or motion blur over other clips, and shapes that move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tam_edit.models.matting import coverage, foreground, signed_distance
from tests.support import FOOTAGE

DAVIS = FOOTAGE / "davis"
SEQUENCES = sorted(path.name for path in (DAVIS / "JPEGImages/480p").glob("*"))
BAND_PX = 14


@dataclass(frozen=True)
class Known:
    """A picture made of alpha, object and background: rgb uint8, alpha float32, front and behind float32."""

    name: str
    kind: str
    rgb: np.ndarray
    alpha: np.ndarray
    front: np.ndarray
    behind: np.ndarray


def davis(sequence: str, start: int, stop: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures uint8 [H, W, 3] and masks bool [H, W]."""
    pictures = sorted((DAVIS / "JPEGImages/480p" / sequence).glob("*.jpg"))[start:stop]
    masks = sorted((DAVIS / "Annotations/480p" / sequence).glob("*.png"))[start:stop]
    return [read(path) for path in pictures], [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in masks]


def read(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def known(frame: int, kinds: tuple[str, ...] = ("edge", "hair", "blur")) -> Iterator[Known]:
    """One picture of each sequence and kind: the object cut out by its annotation, put over another sequence."""
    for index, name in enumerate(SEQUENCES):
        (rgb,), (mask,) = davis(name, frame, frame + 1)
        (behind,), _ = davis(SEQUENCES[(index + 3) % len(SEQUENCES)], frame, frame + 1)
        rng = np.random.default_rng(100 * index + frame)
        if not mask.any():
            continue
        inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        front = foreground(rgb, inner.astype(np.float32) * np.float32(0.999), min(mask.shape)).astype(np.float32)
        for kind in kinds:
            alpha = {"edge": plain, "hair": strands, "blur": blurred}[kind](mask, rng)
            yield composed(name, kind, alpha, front, behind.astype(np.float32), rng)


def composed(
    name: str, kind: str, alpha: np.ndarray, front: np.ndarray, behind: np.ndarray, rng: np.random.Generator
) -> Known:
    noise = rng.normal(0, 2, behind.shape)
    mixed = alpha[..., None] * front + (1 - alpha[..., None]) * behind + noise
    return Known(name, kind, np.rint(mixed).clip(0, 255).astype(np.uint8), alpha, front, behind)


def plain(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return coverage(signed_distance(mask))


def strands(mask: np.ndarray, rng: np.random.Generator, count: int = 250, longest_px: float = 12) -> np.ndarray:
    """Hairs across the contour, half a pixel to a pixel thick."""
    height, width = mask.shape
    distance = signed_distance(mask)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(np.clip(distance, -20, 20), (0, 0), 3))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    places = np.concatenate(contours)[:, 0, :]
    drawn = np.zeros((2 * height, 2 * width), np.uint8)
    for x, y in places[rng.integers(0, len(places), count)]:
        angle = np.arctan2(slope_y[y, x], slope_x[y, x]) + rng.normal(0, 0.5)
        out = np.array([np.cos(angle), np.sin(angle)])
        start, stop = (np.array([x, y]) - 2 * out) * 2, (np.array([x, y]) + rng.uniform(3, longest_px) * out) * 2
        ends = [(round(float(end[0])), round(float(end[1]))) for end in (start, stop)]
        cv2.line(drawn, ends[0], ends[1], 255, 1, cv2.LINE_AA)
    hair = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    return np.maximum(coverage(distance), hair)


def blurred(mask: np.ndarray, rng: np.random.Generator, length_px: int = 11) -> np.ndarray:
    """Motion blur in some direction."""
    angle, middle = rng.uniform(0, np.pi), length_px // 2
    across, down = round(middle * np.cos(angle)), round(middle * np.sin(angle))
    kernel = np.zeros((length_px, length_px), np.float32)
    cv2.line(kernel, (middle - across, middle - down), (middle + across, middle + down), 1.0)
    return cv2.filter2D(coverage(signed_distance(mask)), -1, kernel / kernel.sum())


# Masks as trackers give them


def coarse(mask: np.ndarray) -> np.ndarray:
    """As from a network that decides at a quarter of the size."""
    height, width = mask.shape
    small = cv2.resize(mask.astype(np.float32), (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def wobbled(mask: np.ndarray, rng: np.random.Generator, by_px: float = 2.0) -> np.ndarray:
    """The contour moved in and out by waves of some pixels."""
    waves = rng.normal(0, 1, (mask.shape[0] // 12 + 2, mask.shape[1] // 12 + 2)).astype(np.float32)
    smooth = cv2.resize(waves, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return signed_distance(mask) + np.float32(by_px) * smooth < 0


# Shapes that move


@dataclass(frozen=True)
class Moving:
    """A clip of a textured shape over a still texture, moving evenly; masks wobble from frame to frame."""

    pictures: list[np.ndarray]
    alphas: list[np.ndarray]
    masks: list[np.ndarray]
    step_px: float


def moving(step_px: float, frames: int = 16, wobble_px: float = 1.5, seed: int = 7) -> Moving:
    """A blob of about 100 px that moves right by step_px a frame."""
    rng = np.random.default_rng(seed)
    height, width = 240, 432
    behind = texture(rng, height, width, (60, 90, 70), 45)
    front = texture(rng, height, width, (170, 140, 110), 45)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pictures, alphas, masks = [], [], []
    for frame in range(frames):
        centre = 110 + step_px * frame
        angle = np.arctan2(y - 120, x - centre)
        radius = 52 + 9 * np.sin(5 * angle) + 5 * np.sin(2 * angle)
        alpha = np.clip(radius - np.hypot(x - centre, y - 120) + 0.5, 0, 1).astype(np.float32)
        moved = cv2.remap(front, x - np.float32(step_px * frame), y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        rgb = alpha[..., None] * moved + (1 - alpha[..., None]) * behind + rng.normal(0, 2, behind.shape)
        pictures.append(np.rint(rgb).clip(0, 255).astype(np.uint8))
        alphas.append(alpha)
        masks.append(wobbled(alpha > 0.5, rng, wobble_px))
    return Moving(pictures, alphas, masks, step_px)


def texture(
    rng: np.random.Generator, height: int, width: int, colour: tuple[int, int, int], strength: float
) -> np.ndarray:
    """Colours around one, with waves of several sizes, float32 [height, width, 3]."""
    total = np.zeros((height, width, 3), np.float32)
    for size in (6, 16, 48):
        noise = rng.normal(0, 1, (height // size + 2, width // size + 2, 3)).astype(np.float32)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.array(colour, np.float32) + np.float32(strength / 3) * total, 0, 255)

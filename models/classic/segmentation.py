"""A mask from points, a box or a rough mask on one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from tam_edit.models.classic import features, flow
from tam_edit.models.classic.classifier import Basis, fitted
from tam_edit.models.classic.smooth import smooth

from tam_edit.errors import EngineError, MaskEmpty, MaskSizeMismatch, PromptError

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Point = tuple[float, float]
Box = tuple[float, float, float, float]

WORK_AREA = 427 * 240
NAMES = ("part", "whole", "group")
_EXTENTS = (0.006, 0.03, 0.12)  # first guesses, as shares of the picture
_ROUNDS = 3


@dataclass(frozen=True)
class Candidate:
    """One reading of the prompts."""

    mask: Bools  # [H, W]
    score: float  # 0..1, the engine's own opinion
    name: str  # part, whole or group


@dataclass(frozen=True)
class _Prompts:
    """Points and box in pixels of the working picture."""

    positive: list[tuple[int, int]]
    negative: list[tuple[int, int]]
    box: tuple[int, int, int, int] | None


def segment(
    frame: Bytes,
    points: Sequence[Point] = (),
    labels: Sequence[int] | None = None,
    box: Box | None = None,
    *,
    previous: Bytes | None = None,
    next_frame: Bytes | None = None,
) -> Bools:
    """The likeliest mask [H, W] of what some prompts mean; see `candidates`."""
    return candidates(frame, points, labels, box, previous=previous, next_frame=next_frame)[0].mask


def candidates(
    frame: Bytes,
    points: Sequence[Point] = (),
    labels: Sequence[int] | None = None,
    box: Box | None = None,
    *,
    previous: Bytes | None = None,
    next_frame: Bytes | None = None,
) -> tuple[Candidate, ...]:
    """Three readings of the prompts of different extent, best first.

    frame RGB uint8 [H, W, 3]; points (x, y) in its pixels; labels 1 (inside) or 0 (outside) for each point, all 1 by
    default; box (x0, y0, x1, y1); previous and next_frame: neighbours in time, whose motion helps.
    Positive points lie inside every mask, negative ones outside. Raises PromptError for prompts that cannot be meant.
    """
    _check_frame(frame)
    small = _shrink(frame)
    prompts = _prompts(frame, small, points, labels, box)
    looks = features.describe(small)
    scaled = features.Scaling.of(looks).apply(looks)
    motion = _motion(small, previous, next_frame)
    if motion is not None:
        scaled = np.concatenate([scaled, motion], axis=2)
    view = Basis(inputs=scaled.shape[2]).expand(scaled.reshape(-1, scaled.shape[2]))
    reach = geodesic(small, prompts.positive or [_centre(prompts.box)])
    found = []
    for name, extent in zip(NAMES, _EXTENTS, strict=True):
        logits = _grown(small, view, reach, prompts, extent)
        mask = _enlarged(logits, frame, points, labels)
        found.append(Candidate(mask, _score(small, logits), name))
    return tuple(sorted(found, key=lambda c: -c.score))


def polish(frame: Bytes, mask: Bools) -> Bools:
    """Snap a rough mask [H, W] to the edges of the picture nearby."""
    _check_frame(frame)
    if mask.shape != frame.shape[:2]:
        raise MaskSizeMismatch(f"the mask is {mask.shape}, the frame {frame.shape[:2]}: resize the mask to the frame")
    if not mask.any():
        raise MaskEmpty("the mask to polish has no pixel: mark the object first")
    signed = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    signed -= cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    logits = np.clip(signed, -6, 6)
    return np.asarray(smooth(logits, frame, strength=100, sigma=8) > 0)


def geodesic(picture: Bytes, seeds: Sequence[tuple[int, int]]) -> Floats:
    """Length of the shortest way from some seeds (x, y) where steps over edges are long: [h, w]."""
    height, width = picture.shape[:2]
    lab = cv2.cvtColor(picture.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    lab = cv2.GaussianBlur(lab, (0, 0), 1.0)
    number = np.arange(height * width).reshape(height, width)
    pairs, costs = [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
        there = (slice(dy, height), slice(max(0, dx), width + min(0, dx)))
        apart = np.sqrt(np.square(lab[here] - lab[there]).sum(axis=2))
        costs.append((apart + np.float32(0.2) * np.float32(np.hypot(dx, dy))).reshape(-1))
        pairs.append((number[here].reshape(-1), number[there].reshape(-1)))
    rows = np.concatenate([p[0] for p in pairs])
    columns = np.concatenate([p[1] for p in pairs])
    graph = coo_array((np.concatenate(costs), (rows, columns)), shape=(number.size, number.size)).tocsr()
    starts = [y * width + x for x, y in seeds]
    result = dijkstra(graph, directed=False, indices=starts, min_only=True)
    return np.asarray(result, np.float32).reshape(height, width)


def _grown(small: Bytes, view: Floats, reach: Floats, prompts: _Prompts, extent: float) -> Floats:
    """Log odds of the object that a first guess of some extent grows or shrinks to."""
    allowed = np.ones(reach.shape, bool)
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        allowed[:] = False
        allowed[y0:y1, x0:x1] = True
        inside = allowed.copy()
    else:
        inside = reach <= np.quantile(reach, extent)
    prior = np.zeros(reach.shape, np.float32)
    for x, y in prompts.positive:
        prior += _bump(reach.shape, x, y)
    for x, y in prompts.negative:
        prior -= _bump(reach.shape, x, y)
    logits = np.where(inside, np.float32(1), np.float32(-1))
    for _ in range(_ROUNDS):
        inside = logits > 0
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
        weights = fitted(view, inside.reshape(-1), distance.reshape(-1))
        look = np.clip((view @ weights).reshape(reach.shape), -1.5, 1.5)
        vote = 3 * look - np.float32(0.08) * np.maximum(distance - 3, 0) + prior
        vote[~allowed] = -6
        logits = smooth(vote, small, strength=100, sigma=8)
        logits = _connected(logits, prompts)
    return logits


def _bump(shape: tuple[int, ...], x: int, y: int, sigma: float = 6.0) -> Floats:
    grid = flow.grid(shape[0], shape[1])
    square = np.square(grid - np.array([x, y], np.float32)).sum(axis=2)
    return 12 * np.exp(-square / np.float32(2 * sigma**2))


def _connected(logits: Floats, prompts: _Prompts) -> Floats:
    """Only the parts that a positive point lies in, if there are points."""
    if not prompts.positive:
        return logits
    _, parts = cv2.connectedComponents((logits > 0).astype(np.uint8), connectivity=8)
    touched = {int(parts[y, x]) for x, y in prompts.positive} - {0}
    if not touched:
        return logits
    return np.where(np.isin(parts, list(touched)), logits, np.minimum(logits, -0.5))


def _score(small: Bytes, logits: Floats) -> float:
    """How sharply the picture changes along the contour."""
    inside = (logits > 0).astype(np.uint8)
    if not inside.any() or inside.all():
        return 0.0
    band = cv2.dilate(inside, np.ones((3, 3), np.uint8)) != inside
    lab = cv2.cvtColor(small.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
    slope = np.zeros(inside.shape, np.float32)
    for channel in range(3):
        plane = np.ascontiguousarray(lab[..., channel])
        dx, dy = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
        slope += np.square(dx) + np.square(dy)
    edge = float(np.minimum(np.sqrt(slope[band]) / 40, 1).mean())
    size = float(inside.mean())
    return edge * float(np.exp(-0.5 * (np.log(size / 0.06) / 1.5) ** 2))


def _enlarged(logits: Floats, frame: Bytes, points: Sequence[Point], labels: Sequence[int] | None) -> Bools:
    height, width = frame.shape[:2]
    large = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
    mask = np.asarray(large > 0)
    for (x, y), label in zip(points, labels or [1] * len(points), strict=True):
        disc = np.zeros(mask.shape, np.uint8)
        cv2.circle(disc, (int(x), int(y)), 2, 1, -1)
        mask[disc > 0] = bool(label)
    for (x, y), label in zip(points, labels or [1] * len(points), strict=True):
        mask[int(y), int(x)] = bool(label)
    return mask


def _motion(small: Bytes, previous: Bytes | None, next_frame: Bytes | None) -> Floats | None:
    """Flow to a neighbour in time as two more features, scaled to unit spread."""
    other = next_frame if next_frame is not None else previous
    if other is None:
        return None
    neighbour = cv2.resize(other, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    moved = flow.between(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.cvtColor(neighbour, cv2.COLOR_RGB2GRAY))
    moved = cv2.GaussianBlur(moved, (0, 0), 1.5)
    spread = moved.reshape(-1, 2).std(axis=0) + np.float32(0.3)
    return np.asarray((moved - moved.reshape(-1, 2).mean(axis=0)) / spread * np.float32(2), np.float32)


def _prompts(
    frame: Bytes, small: Bytes, points: Sequence[Point], labels: Sequence[int] | None, box: Box | None
) -> _Prompts:
    height, width = frame.shape[:2]
    given = [1] * len(points) if labels is None else [int(v) for v in labels]
    if len(given) != len(points):
        raise PromptError(f"{len(points)} points but {len(given)} labels: give one label, 1 or 0, for each point")
    if set(given) - {0, 1}:
        raise PromptError(f"point labels {sorted(set(given))}: 1 marks the object, 0 what is not the object")
    if 1 not in given and box is None:
        raise PromptError("nothing says where the object is: give at least one positive point or a box")
    fx, fy = small.shape[1] / width, small.shape[0] / height
    placed: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
    for (x, y), label in zip(points, given, strict=True):
        if not (0 <= x < width and 0 <= y < height):
            raise PromptError(f"point {x:g},{y:g} lies outside the {width}x{height} picture")
        placed[label].append((min(small.shape[1] - 1, int(x * fx)), min(small.shape[0] - 1, int(y * fy))))
    shrunk = None
    if box is not None:
        x0, y0, x1, y1 = (
            max(0.0, min(box[0], box[2])),
            max(0.0, min(box[1], box[3])),
            min(float(width), max(box[0], box[2])),
            min(float(height), max(box[1], box[3])),
        )
        if x1 - x0 < 1 or y1 - y0 < 1:
            raise PromptError(f"box {box} holds no pixel of the {width}x{height} picture")
        shrunk = (
            int(x0 * fx),
            int(y0 * fy),
            max(int(x0 * fx) + 1, int(np.ceil(x1 * fx))),
            max(int(y0 * fy) + 1, int(np.ceil(y1 * fy))),
        )
    return _Prompts(placed[1], placed[0], shrunk)


def _centre(box: tuple[int, int, int, int] | None) -> tuple[int, int]:
    if box is None:
        return (0, 0)
    return ((box[0] + box[2] - 1) // 2, (box[1] + box[3] - 1) // 2)


def _check_frame(frame: Bytes) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise EngineError(f"a frame of shape {frame.shape} and type {frame.dtype}: give RGB uint8 [H, W, 3]")


def _shrink(frame: Bytes) -> Bytes:
    height, width = frame.shape[:2]
    scale = min(1.0, (WORK_AREA / (height * width)) ** 0.5)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA))

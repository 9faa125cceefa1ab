"""A mask from points, a box or a rough mask on one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, MaskEmpty, MaskSizeMismatch, PromptError
from tam_edit.models.classic import features, flow, scoring
from tam_edit.models.classic.classifier import Basis, Sums, solved
from tam_edit.models.classic.edges import enlarge
from tam_edit.models.classic.regions import IMPOSSIBLE, Paths, Place, Scene, connected, grow
from tam_edit.models.classic.smooth import smooth

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Point = tuple[float, float]
Box = tuple[float, float, float, float]

GROW_AREA = 214 * 120  # pixels at which regions grow
WORK_AREA = 427 * 240  # pixels at which the result is refined
EXTENTS = (0.004, 0.01, 0.025, 0.06, 0.12, 0.2)  # first guesses, as shares of the picture
BOX_FILLS = (0.25, 0.4, 0.55, 0.7, 0.85)  # first guesses, as shares of a box
# log odds that the prompts themselves give
NEG_GAIN = 3.0  # nearer to a negative point than to a positive one, along paths
RIM_GAIN = 2.0  # objects seldom touch the picture's rim
BOX_GAIN = 1.5
SPACE_GAIN = 1.0  # beside the points
GEO_GAIN = 0.5  # beside the points, along paths
# what a region's score loses
TIGHT_GAIN = 0.5  # where its own box is smaller than the given one
OBEY_GAIN = 0.5  # where the surroundings of points are on the wrong side
PIN_PX = 3  # around points: what classifiers must heed
PIN_WEIGHT = 0.3  # against 1 for all other pixels
CONSENSUS = 0.1  # regions this far below the best score count 1/e
FINE = (2.0, 3.0, 100.0)  # gain of the coarse result, of the fine classifier, strength of smoothing
_NAMES = ("part", "whole", "group")
_SURE = 8.0


@dataclass(frozen=True)
class Candidate:
    """One reading of the prompts."""

    mask: Bools  # [H, W]
    score: float  # 0..1, the engine's own opinion
    name: str  # part, whole or group


@dataclass(frozen=True)
class _Prompts:
    """Points (x, y) and box in pixels of some size of the picture."""

    positive: list[Place]
    negative: list[Place]
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
    other = next_frame if next_frame is not None else previous
    return _read(frame, points, labels, box, other, 1)[0].mask


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
    return _read(frame, points, labels, box, next_frame if next_frame is not None else previous, len(_NAMES))


def _read(
    frame: Bytes,
    points: Sequence[Point],
    labels: Sequence[int] | None,
    box: Box | None,
    other: Bytes | None,
    count: int,
) -> tuple[Candidate, ...]:
    """The best `count` readings; only those are refined."""
    check_frame(frame)
    prompts = _prompts(frame, frame.shape[:2], points, labels, box)
    small = shrink(frame, GROW_AREA)
    near = _prompts(frame, small.shape[:2], points, labels, box)
    if other is not None:
        other = np.asarray(cv2.resize(other, small.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
    scene = Scene.of(small, other)
    guesses, priors = _hypotheses(scene, near)
    logits, answers = grow(scene, guesses, priors, near.positive, _pins(near, scene.shape))
    scores = scoring.predicted(scoring.measures(scene, logits, answers))
    scores = scores - OBEY_GAIN * _disobedience(logits > 0, near)
    if near.box is not None:
        scores = scores + _tightness(logits > 0, near.box)
    work = shrink(frame, WORK_AREA)
    fine = _prompts(frame, work.shape[:2], points, labels, box)
    view = _View.of(work)
    found = []
    for chosen, score in _readings(logits, scores)[:count]:
        refined = _refined(view, chosen, fine)
        found.append((_obeyed(_at_full_size(refined, frame), prompts), score))
    order = np.argsort([mask.sum() for mask, _ in found], kind="stable").tolist()
    names = dict(zip(order, _NAMES if count == len(_NAMES) else ["whole"], strict=True))
    return tuple(
        Candidate(mask, float(np.clip(score, 0, 1)), names[index]) for index, (mask, score) in enumerate(found)
    )


def _hypotheses(scene: Scene, prompts: _Prompts) -> tuple[list[Bools], list[Floats]]:
    """First guesses of different extent, and what the prompts themselves say of each pixel."""
    height, width = scene.shape
    grid = flow.grid(height, width)
    paths = Paths(scene)
    said = np.zeros(scene.shape, np.float32)
    if prompts.negative and prompts.positive:
        to, fro = paths.reach(prompts.positive), paths.reach(prompts.negative)
        said += np.float32(NEG_GAIN) * (fro - to) / (fro + to + np.float32(1))
    x, y = grid[..., 0], grid[..., 1]
    rim = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    said -= np.float32(RIM_GAIN) * np.exp(-rim / 4)
    guesses, priors = [], []
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        middle = np.array([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2], np.float32)
        half = np.array([max(1, (x1 - x0) / 2), max(1, (y1 - y0) / 2)], np.float32)
        radius = np.sqrt(np.square((grid - middle) / half).sum(axis=2))
        beyond = (np.abs(grid - middle) > half).any(axis=2)
        for fill in BOX_FILLS:
            size = np.float32(np.sqrt(fill * 4 / np.pi))
            prior = said + np.float32(BOX_GAIN) * np.clip(size - radius, -1, 1)
            prior[beyond] = IMPOSSIBLE
            guesses.append((radius < size) & ~beyond)
            priors.append(_pinned(prior, prompts))
        return guesses, priors
    reach = paths.reach(prompts.positive)
    away = np.min([np.sqrt(np.square(grid - np.array(p, np.float32)).sum(axis=2)) for p in prompts.positive], axis=0)
    for extent in EXTENTS:
        radius_px = np.float32(np.sqrt(extent * height * width / np.pi))
        prior = said + np.float32(SPACE_GAIN) * np.clip(1 - away / (2 * radius_px), -2, 1)
        if GEO_GAIN:
            far = np.quantile(reach, min(1.0, 2 * extent))
            prior += np.float32(GEO_GAIN) * np.clip(1 - reach / (far + np.float32(1e-3)), -2, 1)
        guesses.append(reach <= np.quantile(reach, extent))
        priors.append(_pinned(prior.astype(np.float32), prompts))
    return guesses, priors


def _pinned(prior: Floats, prompts: _Prompts) -> Floats:
    """The prior with the points themselves beyond doubt."""
    for places, value in ((prompts.positive, _SURE), (prompts.negative, -_SURE)):
        for x, y in places:
            prior[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = value
    return prior


def _pins(prompts: _Prompts, shape: tuple[int, ...]) -> Floats:
    """What a classifier must heed besides: pixels around the points, their weights shared: [h, w], negative outside."""
    result = np.zeros(shape, np.float32)
    if len(prompts.positive) + len(prompts.negative) < 2:
        return result
    for places, sign in ((prompts.positive, 1), (prompts.negative, -1)):
        disc = np.zeros(shape, np.uint8)
        for place in places:
            cv2.circle(disc, place, PIN_PX, 1, -1)
        result += sign * np.float32(PIN_WEIGHT) * disc / max(1, int(disc.sum()))
    return result


def _disobedience(masks: Bools, prompts: _Prompts) -> NDArray[np.float64]:
    """Share of the pixels around each point that lie on the wrong side: [G]."""
    wrong = np.zeros(len(masks))
    for places, value in ((prompts.positive, True), (prompts.negative, False)):
        for x, y in places:
            around = masks[:, max(0, y - 5) : y + 6, max(0, x - 5) : x + 6]
            wrong += (around != value).mean(axis=(1, 2))
    return wrong / max(1, len(prompts.positive) + len(prompts.negative))


def _tightness(masks: Bools, box: tuple[int, int, int, int]) -> NDArray[np.float64]:
    """How well each region's own box fits the given one: [G], less than 0 where it does not."""
    result = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            result.append(-1.0)
            continue
        own = (columns[-1] + 1 - columns[0]) * (rows[-1] + 1 - rows[0])
        result.append(float(own) / ((box[2] - box[0]) * (box[3] - box[1])) - 1)
    return TIGHT_GAIN * np.array(result)


def _readings(logits: Floats, scores: NDArray[np.float64]) -> list[tuple[Floats, float]]:
    """The consensus of all regions, weighted by score, and the two best ones that differ from it."""
    trust = np.exp((scores - scores.max()) / CONSENSUS)
    probability = 1 / (1 + np.exp(-2 * np.clip(logits, -20, 20)))
    mean = np.tensordot(trust / trust.sum(), probability, axes=1)
    mean = np.clip(mean, 0.01, 0.99)
    consensus = np.asarray(np.log(mean / (1 - mean)) / 2, np.float32)
    kept = [(consensus, float(scores.max()))]
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    apart = [i for i in order if _overlap(logits[i], consensus) < 0.8]
    pool = apart + [i for i in order if i not in apart]
    second = pool[0]
    kept.append((logits[second], float(scores[second])))
    # the third one on the other side of the consensus in extent, where there is one
    larger = (logits[second] > 0).sum() > (consensus > 0).sum()
    rest = [i for i in pool if i != second]
    other = [i for i in rest if ((logits[i] > 0).sum() > (consensus > 0).sum()) != larger]
    third = (other or rest)[0]
    kept.append((logits[third], float(scores[third])))
    return kept


def _overlap(one: Floats, other: Floats) -> float:
    return float(((one > 0) & (other > 0)).sum() / max(1, ((one > 0) | (other > 0)).sum()))


@dataclass(frozen=True)
class _View:
    """The frame at working size, for the last, finer look."""

    picture: Bytes
    scaled: Floats  # [h*w, 13]

    @classmethod
    def of(cls, picture: Bytes) -> _View:
        looks = features.describe(picture)
        return cls(picture, features.Scaling.of(looks).apply(looks).reshape(-1, features.COUNT))


def _refined(view: _View, coarse: Floats, prompts: _Prompts) -> Floats:
    """Log odds at working size from those at growing size: one more classifier, near the contour."""
    height, width = view.picture.shape[:2]
    start = np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), -3, 3)
    inside = start > 0
    if not inside.any() or inside.all():
        return _pinned(start, prompts)
    basis = Basis(count=128)
    random = np.random.default_rng(11)
    to_inside = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
    to_outside = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    around = np.flatnonzero(to_inside.reshape(-1) < 60)
    sample = random.choice(around, min(5000, len(around)), replace=False)
    chosen = inside.reshape(-1)[sample]
    weight = np.abs(np.tanh(start.reshape(-1)[sample] / 2))
    weight = np.where(chosen, weight / (weight * chosen).sum(), weight / (weight * ~chosen).sum()).astype(np.float32)
    target = np.where(chosen, np.float32(1), np.float32(-1))
    weights = solved(Sums.of(basis.expand(view.scaled[sample]), target, weight), 0.003)
    vote = np.float32(FINE[0]) * start
    near = np.flatnonzero(np.maximum(to_inside, to_outside).reshape(-1) < 24)
    answer = np.clip(basis.answer(view.scaled[near], weights), -1.5, 1.5)
    vote.reshape(-1)[near] += np.float32(FINE[1]) * answer
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        beyond = np.ones(vote.shape, np.bool_)
        beyond[y0:y1, x0:x1] = False
        vote[beyond] = IMPOSSIBLE
    result = smooth(_pinned(vote, prompts), view.picture, strength=FINE[2], sigma=8.0)
    return _pinned(connected(result, prompts.positive), prompts)


def polish(frame: Bytes, mask: Bools) -> Bools:
    """Snap a rough mask [H, W] to the edges of the picture nearby."""
    check_frame(frame)
    if mask.shape != frame.shape[:2]:
        raise MaskSizeMismatch(f"the mask is {mask.shape}, the frame {frame.shape[:2]}: resize the mask to the frame")
    if not mask.any():
        raise MaskEmpty("the mask to polish has no pixel: mark the object first")
    work = shrink(frame, WORK_AREA)
    inside = cv2.resize(mask.astype(np.uint8), work.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    coarse = np.clip(depth * np.float32(0.35), -3, 3)  # looks decide within some px of the contour
    refined = _refined(_View.of(work), np.asarray(coarse, np.float32), _Prompts([], [], None))
    return _at_full_size(refined, frame)


def _at_full_size(logits: Floats, frame: Bytes) -> Bools:
    edge = enlarge(logits[None], frame, strength=30.0, sigma=8.0)
    return np.zeros(frame.shape[:2], np.bool_) if edge is None else edge.mask(frame.shape)


def _obeyed(mask: Bools, prompts: _Prompts) -> Bools:
    """The mask with every point on its right side and nothing outside the box."""
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        kept = np.zeros_like(mask)
        kept[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
        mask = kept
    for places, value in ((prompts.positive, True), (prompts.negative, False)):
        for x, y in places:
            if mask[y, x] != value:
                disc = np.zeros(mask.shape, np.uint8)
                cv2.circle(disc, (x, y), 3, 1, -1)
                mask = np.where(disc > 0, value, mask)
    for places, value in ((prompts.positive, True), (prompts.negative, False)):
        for x, y in places:
            mask[y, x] = value
    return mask


def _prompts(
    frame: Bytes, size: tuple[int, ...], points: Sequence[Point], labels: Sequence[int] | None, box: Box | None
) -> _Prompts:
    height, width = frame.shape[:2]
    given = [1] * len(points) if labels is None else [int(v) for v in labels]
    if len(given) != len(points):
        raise PromptError(f"{len(points)} points but {len(given)} labels: give one label, 1 or 0, for each point")
    if set(given) - {0, 1}:
        raise PromptError(f"point labels {sorted(set(given))}: 1 marks the object, 0 what is not the object")
    if 1 not in given and box is None:
        raise PromptError("nothing says where the object is: give at least one positive point or a box")
    fx, fy = size[1] / width, size[0] / height
    placed: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
    for (x, y), label in zip(points, given, strict=True):
        if not (0 <= x < width and 0 <= y < height):
            raise PromptError(f"point {x:g},{y:g} lies outside the {width}x{height} picture")
        placed[label].append((min(size[1] - 1, int(x * fx)), min(size[0] - 1, int(y * fy))))
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


def check_frame(frame: Bytes) -> None:
    """Raise EngineError for anything but RGB uint8 [H, W, 3]."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise EngineError(f"a frame of shape {frame.shape} and type {frame.dtype}: give RGB uint8 [H, W, 3]")


def shrink(frame: Bytes, area: int) -> Bytes:
    """The frame at no more than some area in pixels."""
    height, width = frame.shape[:2]
    scale = min(1.0, (area / (height * width)) ** 0.5)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA))

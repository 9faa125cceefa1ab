"""A mask from points, a box or a rough mask on one frame."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import MaskEmpty, MaskSizeMismatch
from tam_edit.models.classic import features, scoring
from tam_edit.models.classic.classifier import Basis, Sums, solved
from tam_edit.models.classic.edges import enlarge
from tam_edit.models.classic.hypotheses import hypotheses, pinned, pins
from tam_edit.models.classic.prompts import Box, Point, Prompts, check_frame, read, shrink
from tam_edit.models.classic.regions import IMPOSSIBLE, Scene, connected, grow
from tam_edit.models.classic.smooth import smooth
from tam_edit.models.classic.threads import single_blas

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

GROW_AREA = 214 * 120  # pixels at which regions grow
WORK_AREA = 427 * 240  # pixels at which the result is refined
BOX_MARGIN = 0.2  # of its size, looked at around a box
# what a region's score loses
TIGHT_GAIN = 0.5  # where its own box is smaller than the given one
OBEY_GAIN = 0.5  # where, with a box, the surroundings of points are on the wrong side
CONSENSUS = 0.1  # regions this far below the best score count 1/e
FINE_ROUNDS = 2  # at working size
FINE = (2.0, 3.0, 100.0)  # gain of the coarse result, of the fine classifier, strength of smoothing
_NAMES = ("part", "whole", "group")


@dataclass(frozen=True)
class Candidate:
    """One reading of the prompts."""

    mask: Bools  # [H, W]
    score: float  # 0..1, the engine's own opinion
    name: str  # part, whole or group


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
    most: int = len(_NAMES),
) -> tuple[Candidate, ...]:
    """Three readings of the prompts of different extent, best first; `most`: 1 to 3, the fewer the sooner.

    frame RGB uint8 [H, W, 3]; points (x, y) in its pixels; labels 1 (inside) or 0 (outside) for each point, all 1 by
    default; box (x0, y0, x1, y1); previous and next_frame: neighbours in time, whose motion helps.
    Positive points lie inside every mask, negative ones outside. Raises PromptError for prompts that cannot be meant.
    """
    return _read(frame, points, labels, box, next_frame if next_frame is not None else previous, most)


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
    prompts = read(frame, frame.shape[:2], points, labels, box)
    with single_blas():
        around = _surroundings(frame, prompts)
        if around is None:
            return _found(frame, prompts, (points, labels, box), other, count)
        # a box says where to look: the same work on a part of the picture shows more detail
        top, left = around[0].start, around[1].start
        near = [(x - left, y - top) for x, y in points]
        assert box is not None
        inner = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        part = np.ascontiguousarray(frame[around])
        shifted = read(part, part.shape[:2], near, labels, inner)
        beside = None if other is None else np.ascontiguousarray(other[around])
        found = _found(part, shifted, (near, labels, inner), beside, count)
    return tuple(replace(each, mask=_pasted(each.mask, frame.shape, around)) for each in found)


def _surroundings(frame: Bytes, prompts: Prompts) -> tuple[slice, slice] | None:
    """The box with a margin; None without a box, where points lie beyond, or where little would be gained."""
    if prompts.box is None:
        return None
    x0, y0, x1, y1 = prompts.box
    wide, high = int(BOX_MARGIN * (x1 - x0)) + 8, int(BOX_MARGIN * (y1 - y0)) + 8
    rows = slice(max(0, y0 - high), min(frame.shape[0], y1 + high))
    columns = slice(max(0, x0 - wide), min(frame.shape[1], x1 + wide))
    held = all(
        columns.start <= x < columns.stop and rows.start <= y < rows.stop
        for x, y in (*prompts.positive, *prompts.negative)
    )
    size = (rows.stop - rows.start) * (columns.stop - columns.start)
    return (rows, columns) if held and size < 0.8 * frame.shape[0] * frame.shape[1] else None


def _pasted(mask: Bools, shape: tuple[int, ...], around: tuple[slice, slice]) -> Bools:
    result = np.zeros(shape[:2], np.bool_)
    result[around] = mask
    return result


def _found(
    frame: Bytes,
    prompts: Prompts,
    said: tuple[Sequence[Point], Sequence[int] | None, Box | None],
    other: Bytes | None,
    count: int,
) -> tuple[Candidate, ...]:
    points, labels, box = said
    seen = _look(frame, other)
    scene, view = seen.scene, seen.view
    near = read(frame, scene.shape, points, labels, box)
    guesses, priors = hypotheses(scene, near)
    logits, answers = grow(scene, guesses, priors, near.positive, pins(near, scene.shape))
    scores = scoring.predicted(scoring.measures(scene, logits, answers))
    if near.box is not None:
        scores = scores - OBEY_GAIN * _disobedience(logits > 0, near) + _tightness(logits > 0, near.box)
    fine = read(frame, view.picture.shape[:2], points, labels, box)
    found = []
    for reading, score in _readings(logits, scores)[:count]:
        chosen = reading
        for _ in range(FINE_ROUNDS):
            chosen = _refined(view, chosen, fine)
        found.append((_obeyed(_at_full_size(chosen, frame), prompts), score))
    order = np.argsort([mask.sum() for mask, _ in found], kind="stable").tolist()
    names = dict(zip(order, _NAMES if count == len(_NAMES) else ("whole", "group")[:count], strict=True))
    return tuple(
        Candidate(mask, float(np.clip(score, 0, 1)), names[index]) for index, (mask, score) in enumerate(found)
    )


def _disobedience(masks: Bools, prompts: Prompts) -> NDArray[np.float64]:
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
    return kept[:1] + sorted(kept[1:], key=lambda item: -item[1])


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


@dataclass(frozen=True)
class _Seen:
    """What does not depend on prompts: a picture (with its neighbour in time) at both sizes."""

    scene: Scene
    view: _View

    @classmethod
    def of(cls, frame: Bytes, other: Bytes | None) -> _Seen:
        work = shrink(frame, WORK_AREA)
        pair = None
        if other is not None:
            pair = (work, np.asarray(cv2.resize(other, work.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8))
        return cls(Scene.of(shrink(frame, GROW_AREA), pair), _View.of(work))


# A person clicks several times on one picture; boxes look at parts of it.
MOST_SEEN = 3
_seen: OrderedDict[bytes, _Seen] = OrderedDict()
_seeing = threading.Lock()


def _look(frame: Bytes, other: Bytes | None) -> _Seen:
    """What is seen in a picture; that of the last few is kept."""
    name = hashlib.blake2b(repr((frame.shape, other is None)).encode(), digest_size=16)
    for picture in (frame, other):
        if picture is not None:
            name.update(np.ascontiguousarray(picture).data)
    key = name.digest()
    with _seeing:
        found = _seen.get(key)
    found = found or _Seen.of(frame, other)
    with _seeing:
        _seen[key] = found
        _seen.move_to_end(key)
        while len(_seen) > MOST_SEEN:
            _seen.popitem(last=False)
    return found


def look(frame: Bytes, *, next_frame: Bytes | None = None) -> None:
    """See ahead what prompts on this picture will need, so that their answers come sooner; no answer changes."""
    check_frame(frame)
    with single_blas():
        _look(frame, next_frame)


def _refined(view: _View, coarse: Floats, prompts: Prompts) -> Floats:
    """Log odds at working size from those at growing size: one more classifier, near the contour."""
    height, width = view.picture.shape[:2]
    start = np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), -3, 3)
    inside = start > 0
    if not inside.any() or inside.all():
        return pinned(start, prompts)
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
    result = smooth(pinned(vote, prompts), view.picture, strength=FINE[2], sigma=8.0)
    return pinned(connected(result, prompts.positive), prompts)


def polish(frame: Bytes, mask: Bools) -> Bools:
    """Snap a rough mask [H, W], non-zero inside, to the edges of the picture nearby."""
    check_frame(frame)
    mask = np.asarray(mask, np.bool_)
    if mask.shape != frame.shape[:2]:
        raise MaskSizeMismatch(f"the mask is {mask.shape}, the frame {frame.shape[:2]}: resize the mask to the frame")
    if not mask.any():
        raise MaskEmpty("the mask to polish has no pixel: mark the object first")
    with single_blas():
        return _polished(frame, mask)


def _polished(frame: Bytes, mask: Bools) -> Bools:
    work = shrink(frame, WORK_AREA)
    inside = cv2.resize(mask.astype(np.uint8), work.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    coarse = np.clip(depth * np.float32(0.35), -3, 3)  # looks decide within some px of the contour
    refined = _refined(_View.of(work), np.asarray(coarse, np.float32), Prompts([], [], None))
    return _at_full_size(refined, frame)


def _at_full_size(logits: Floats, frame: Bytes) -> Bools:
    edge = enlarge(logits[None], frame, strength=30.0, sigma=8.0)
    return np.zeros(frame.shape[:2], np.bool_) if edge is None else edge.mask(frame.shape)


def _obeyed(mask: Bools, prompts: Prompts) -> Bools:
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

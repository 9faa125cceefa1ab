"""Growing several first guesses into regions: looks inside against looks outside, round after round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from tam_edit.models.classic import features, flow, motion, threads
from tam_edit.models.classic.classifier import Basis, Sums, solved
from tam_edit.models.classic.smooth import affinities, along

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Place = tuple[int, int]

LOOK_GAIN = 5.0
LOOK_LIMIT = 1.5
STRENGTH = 300.0
SIGMA = 8.0
NEAR_PX = 20.0
RIDGE = 0.02
ROUNDS = 6
FEATURES = 96
SAMPLES = 2000
STEP_COST = 0.2  # of a way that crosses no edge, per px, in units of colour difference
FLAT_STEP_COST = 0.03  # where textures are smoothed away
FLATTENING = 100.0
IMPOSSIBLE = -8.0


@dataclass(frozen=True)
class Scene:
    """One frame at a small size, with all that growing needs."""

    picture: Bytes  # [h, w, 3]
    lab: Floats  # [h, w, 3]
    view: Floats  # [h*w, D] expanded features
    sample: NDArray[np.int64]  # of pixels that classifiers learn from
    unlike: Floats | None  # [h, w] how far motion is from the background's, 1 on average
    moved: Floats | None  # [h, w, 2] motion beyond the background's, same unit

    @classmethod
    def of(cls, picture: Bytes, pair: tuple[Bytes, Bytes] | None = None) -> Scene:
        """picture RGB uint8 [h, w, 3]; pair: it and its neighbour in time, if there is one, at a larger size."""
        looks = features.describe(picture)
        scaled = features.Scaling.of(looks).apply(looks)
        unlike = moved = None
        if pair is not None:
            moved, unlike = _motion(*pair, picture.shape)
            scaled = np.concatenate([scaled, moved, unlike[..., None]], axis=2)
        view = Basis(count=FEATURES, inputs=scaled.shape[2]).expand(scaled.reshape(-1, scaled.shape[2]))
        lab = cv2.cvtColor(picture.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
        random = np.random.default_rng(5)
        sample = np.sort(random.choice(len(view), min(SAMPLES, len(view)), replace=False))
        return cls(picture, np.asarray(lab, np.float32), view, sample, unlike, moved)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.picture.shape[0], self.picture.shape[1])


def _motion(picture: Bytes, neighbour: Bytes, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Motion beyond the background's affine one at a smaller shape: [h, w, 2], and its length, both over their mean."""
    one, two = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.cvtColor(neighbour, cv2.COLOR_RGB2GRAY)
    moved = flow.between(one, two)
    sure = flow.consistency(moved, flow.between(two, one))
    model = motion.fit_affine(moved, np.maximum(sure, np.float32(0.3)))
    rest = moved if model is None else moved - motion.predicted(moved.shape[:2], model)
    rest = np.asarray(cv2.resize(rest, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.float32)
    length = flow.length(rest)
    unit = np.float32(np.sqrt(np.mean(np.square(length))) + 0.25)
    return rest / unit, length / unit


class Paths:
    """Shortest ways over a picture where steps over edges are long."""

    def __init__(self, scene: Scene, *, flat: bool = False) -> None:
        """flat: only edges between surfaces count, not the texture of each."""
        height, width = self._shape = scene.shape
        step = np.float32(FLAT_STEP_COST if flat else STEP_COST)
        if flat:
            lab = along(scene.lab, affinities(scene.picture, SIGMA), strength=FLATTENING)
        else:
            lab = cv2.GaussianBlur(scene.lab, (0, 0), 0.7)
        number = np.arange(height * width).reshape(height, width)
        rows, columns, costs = [], [], []
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            here = (slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
            there = (slice(dy, height), slice(max(0, dx), width + min(0, dx)))
            apart = _norm(lab[here] - lab[there])
            costs.append((apart + step * np.float32(np.hypot(dx, dy))).reshape(-1))
            rows.append(number[here].reshape(-1))
            columns.append(number[there].reshape(-1))
        ends = (np.concatenate(rows), np.concatenate(columns))
        self._graph = coo_array((np.concatenate(costs), ends), shape=(number.size, number.size)).tocsr()

    def reach(self, seeds: Sequence[Place]) -> Floats:
        """Length of the shortest way from some places (x, y): [h, w]."""
        starts = [y * self._shape[1] + x for x, y in seeds]
        result = dijkstra(self._graph, directed=False, indices=starts, min_only=True)
        return np.asarray(result, np.float32).reshape(self._shape)


def _norm(colours: Floats) -> Floats:
    """Length of each colour [h, w, 3]: [h, w]."""
    return np.asarray(np.sqrt(colours[..., 0] ** 2 + colours[..., 1] ** 2 + colours[..., 2] ** 2), np.float32)


def grow(
    scene: Scene, guesses: Sequence[Bools], priors: Sequence[Floats], seeds: Sequence[Place], pins: Floats
) -> tuple[Floats, Floats]:
    """Log odds [G, h, w] that each guess grows or shrinks to, and the last classifiers' answers.

    guesses bool [h, w], each with its prior log odds; pixels with a prior of IMPOSSIBLE or less stay outside; of
    each region only the parts with a seed stay, if there are seeds; pins [h, w]: weights, negative outside, of pixels
    that the prompts name. Source: specs/classic.md, Segmentation.
    """
    prior = np.stack(priors, axis=2)  # [h, w, G]
    never = prior <= IMPOSSIBLE
    logits = np.where(np.stack(guesses, axis=2), np.float32(1), np.float32(-1))
    answers = logits
    alike = affinities(scene.picture, SIGMA)
    for _ in range(ROUNDS):
        answers = _answers(scene, logits, pins)
        vote = np.float32(LOOK_GAIN) * np.clip(answers, -LOOK_LIMIT, LOOK_LIMIT) + prior
        vote[never] = IMPOSSIBLE
        logits = along(vote, alike, strength=STRENGTH, rounds=2)
        logits[never] = IMPOSSIBLE
        for g in range(logits.shape[2]):
            logits[..., g] = connected(logits[..., g], seeds)
    return np.ascontiguousarray(logits.transpose(2, 0, 1)), np.ascontiguousarray(answers.transpose(2, 0, 1))


def _answers(scene: Scene, logits: Floats, pins: Floats) -> Floats:
    """What a classifier of each region says of every pixel: [h, w, G]."""
    count = logits.shape[2]
    weights = np.empty((scene.view.shape[1], count), np.float32)

    def fit(g: int) -> None:
        weights[:, g] = _fit(scene, logits[..., g] > 0, pins)

    threads.share(fit, count)
    return (scene.view @ weights).reshape(logits.shape)


def _fit(scene: Scene, inside: Bools, pins: Floats) -> Floats:
    """Classifier weights [D] of a region against the rest, what is near counting most."""
    if not inside.any() or inside.all():
        return np.zeros(scene.view.shape[1], np.float32)
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3).reshape(-1)[scene.sample]
    chosen = inside.reshape(-1)[scene.sample]
    near = (np.exp(-distance / np.float32(NEAR_PX)) + np.float32(0.15)) * ~chosen
    weight = chosen / max(1.0, float(chosen.sum())) + near / (near.sum() + np.float32(1e-6))
    target = np.where(chosen, np.float32(1), np.float32(-1))
    rows, weight = scene.view[scene.sample], weight.astype(np.float32)
    pinned = np.flatnonzero(pins)
    if len(pinned):
        told = pins.reshape(-1)[pinned]
        rows, target = np.concatenate([rows, scene.view[pinned]]), np.concatenate([target, np.sign(told)])
        weight = np.concatenate([weight, np.abs(told)])
    return solved(Sums.of(rows, target, weight), RIDGE)


def connected(logits: Floats, seeds: Sequence[Place]) -> Floats:
    """Only the parts that hold a seed; everything where there are no seeds or none lies inside."""
    if not seeds:
        return logits
    _, parts = cv2.connectedComponents((logits > 0).astype(np.uint8), connectivity=8)
    touched = {int(parts[y, x]) for x, y in seeds} - {0}
    if not touched:
        return logits
    return np.where(np.isin(parts, list(touched)), logits, np.minimum(logits, np.float32(-0.5)))

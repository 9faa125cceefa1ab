"""Carrying masks from frame to frame: flow, what the object looks like, how it moves, and edges, in one vote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, MaskSizeMismatch
from tam_edit.models.classic import features, redetect
from tam_edit.models.classic.classifier import Basis, Sums
from tam_edit.models.classic.edges import enlarge
from tam_edit.models.classic.evidence import Moved, VoteSettings, vote
from tam_edit.models.classic.smooth import smooth
from tam_edit.models.classic.trust import TrustParts, measure
from tam_edit.models.classic.tube import Tube

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

NEVER = -8.0  # log odds of a pixel that certainly is not the object
_WHOLE = (slice(None), slice(None))


@dataclass(frozen=True)
class TrackerSettings:
    """What a tracker may be told; lengths are pixels of the working picture."""

    work_area: int = 604 * 340  # pixels of the working picture
    margin_px: int = 60  # around the objects; nothing further away is looked at
    seed: int = 7
    random_features: int = 256
    samples: int = 4000  # of each class and frame
    ridge: float = 0.001
    lasting_weight: float = 4.0  # of all trusted frames together, against 1 of the others
    mix_share: float = 0.15
    mix_every: int = 2
    least_trust: float = 0.4  # a mask below it teaches nothing
    vote: VoteSettings = field(default_factory=VoteSettings)
    smooth_strength: float = 100.0
    smooth_sigma: float = 8.0
    edge_strength: float = 30.0
    edge_sigma: float = 8.0
    lost_share: float = 0.08  # of the usual area: below it an object counts as lost
    found_look: float = 0.4
    found_likeness: float = 0.965  # of colours, for an object to be found again


class Tracker:
    """Follows several objects through a clip, one frame at a time; backward too, if frames are fed so."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self._basis = Basis(self.settings.seed, self.settings.random_features)
        self._tubes: dict[int, Tube] = {}
        self._scaling: features.Scaling | None = None
        self._grey: Bytes | None = None  # [h, w] of the frame before
        self._logits: Floats | None = None  # [K, h, w] of the frame before, half precision
        self._count = 0

    @property
    def labels(self) -> tuple[int, ...]:
        """Of the objects, in the order of the channels that `step` gives."""
        return tuple(sorted(self._tubes))

    def trust(self) -> dict[int, TrustParts]:
        """Of the last step's masks, by label."""
        return {label: self._tubes[label].trust for label in self.labels}

    def teach(self, frame: Bytes, masks: Mapping[int, Bools]) -> None:
        """Learn the looks of objects from a trusted frame elsewhere in the clip, without stepping."""
        checked = _checked(frame, masks)
        small = self._shrink(frame)
        looks = self._looks(small)
        for label, mask in checked.items():
            self._learn_for_good(self._tubes.setdefault(label, Tube()), small, looks, _cover(mask, small))

    def step(
        self, frame: Bytes, masks: Mapping[int, Bools] | None = None, *, last: bool = False, cut: bool = False
    ) -> Floats:
        """Masks of the next frame: float32 [1 + K, H, W], background first, then labels in ascending order.

        frame RGB uint8 [H, W, 3]; masks bool [H, W] by label, only where given: locked exactly (all False: the
        object is absent); cut: the frame begins a new shot, so nothing moves over from the one before; last: nothing
        need be learnt any more. Raises MaskSizeMismatch for a mask of another size than the frame's.
        """
        given = _checked(frame, masks or {})
        former = dict(zip(self.labels, [] if self._logits is None else self._logits, strict=False))
        for label in given:
            self._tubes.setdefault(label, Tube())
        small = self._shrink(frame)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        logits = np.full((len(self._tubes), *grey.shape), np.float32(NEVER))
        if cut or self._grey is None or self._grey.shape != grey.shape:
            former = {}
        asked = [label for label in self.labels if label not in given]
        for label in asked:
            self._tubes[label].lost |= label not in former
        seen = [label for label in asked if not self._tubes[label].lost]
        gone = [k for k in asked if self._tubes[k].lost and self._tubes[k].classifier.weights is not None]
        whole = bool(given) or bool(gone)
        window = _WHOLE if whole else self._window([former[label] for label in seen], grey.shape)
        part = np.ascontiguousarray(small[window])
        looks = self._looks(part)
        answers = self._answers(looks, seen + gone, part.shape[:2])
        sure = np.ones(part.shape[:2], np.float32)
        if seen:
            assert self._grey is not None
            moved = Moved.between(self._grey[window], grey[window])
            sure = moved.sure
            before = {k: former[k][window].astype(np.float32) for k in seen}
            votes = [vote(before[k], answers.get(k), moved, self.settings.vote) for k in seen]
            self._place(logits, seen, votes, window, part)
        for label in gone:
            self._search(label, logits, answers[label], part, window)
        for label, mask in given.items():
            logits[self._index(label)] = (_cover(mask, small) - np.float32(0.5)) * np.float32(12)
        logits = logits.astype(np.float16)  # the state's own precision, so that a restored run cannot differ
        wide = logits.astype(np.float32)
        probability = softmax(wide[:, window[0], window[1]])[1:]
        for label, p in zip(self.labels, probability, strict=True):
            tube = self._tubes[label]
            if label in given:
                tube.trust, tube.lost = TrustParts.certain(), not given[label].any()
                self._learn_for_good(tube, part, looks, p)
                continue
            mask_before = former[label][window] > 0 if label in former else None
            share = p.size / grey.size
            tube.trust = measure(p, mask_before, answers.get(label), sure, tube.area / share)
            tube.lost = float((p > 0.5).mean()) * share < self.settings.lost_share * tube.area
            if self._count % self.settings.mix_every == 0 and not last and not tube.lost:
                self._learn_a_little(tube, looks, p)
        self._grey, self._logits = grey, logits
        self._count += 1
        return self._finish(wide, frame, given)

    def snapshot(self) -> dict[str, Any]:
        """All that the next step depends on, as flat arrays: a restored tracker goes on bit for bit."""
        state: dict[str, Any] = {"labels": np.array(self.labels, np.uint8), "count": np.array(self._count, np.int64)}
        if self._scaling is not None:
            state |= {"scaling.mean": self._scaling.mean.copy(), "scaling.gain": self._scaling.gain.copy()}
        if self._grey is not None and self._logits is not None:
            state |= {"grey": self._grey.copy(), "logits": self._logits.copy()}
        for label in self.labels:
            state |= {f"{label}.{name}": values for name, values in self._tubes[label].arrays().items()}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot of a tracker with the same settings."""
        try:
            self._count = int(state["count"])
            self._scaling = None
            if "scaling.mean" in state:
                self._scaling = features.Scaling(state["scaling.mean"].copy(), state["scaling.gain"].copy())
            self._grey = state["grey"].copy() if "grey" in state else None
            self._logits = state["logits"].copy() if "logits" in state else None
            self._tubes = {}
            for label in state["labels"].tolist():
                prefix = f"{label}."
                own = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
                self._tubes[label] = Tube.of(own)
        except KeyError as error:
            message = f"not a snapshot of the classic tracker: it lacks {error}; track the span again"
            raise EngineError(message) from error

    def _index(self, label: int) -> int:
        return self.labels.index(label)

    def _looks(self, part: Bytes) -> Floats:
        """Scaled features of each pixel [h * w, 13]."""
        looks = features.describe(part)
        if self._scaling is None:
            self._scaling = features.Scaling.of(looks)
        return self._scaling.apply(looks).reshape(-1, features.COUNT)

    def _answers(self, looks: Floats, labels: list[int], shape: tuple[int, ...]) -> dict[int, Floats]:
        """Each classifier's answer for each pixel of the window [h, w]."""
        weights = {k: w for k in labels if (w := self._tubes[k].classifier.weights) is not None}
        if not weights:
            return {}
        answers = self._basis.answer(looks, np.stack(list(weights.values()), axis=1)).T.reshape(-1, *shape)
        return {k: np.ascontiguousarray(answers[i]) for i, k in enumerate(weights)}

    def _place(
        self, logits: Floats, labels: list[int], votes: list[Floats], window: tuple[slice, slice], part: Bytes
    ) -> None:
        s = self.settings
        smoothed = smooth(np.stack(votes, axis=2), part, strength=s.smooth_strength, sigma=s.smooth_sigma)
        for index, label in enumerate(labels):
            logits[self._index(label)][window] = smoothed[..., index]

    def _search(self, label: int, logits: Floats, answer: Floats, part: Bytes, window: tuple[slice, slice]) -> None:
        """Put a lost object where it is found again, if it is."""
        s, tube = self.settings, self._tubes[label]
        if tube.colours is None:
            return
        look = smooth(np.clip(answer, -1.5, 1.5), part, strength=s.smooth_strength, sigma=s.smooth_sigma)
        inside = redetect.find(
            part, look, tube.colours, tube.area, least_look=s.found_look, least_likeness=s.found_likeness
        )
        if inside is not None:
            logits[self._index(label)][window] = np.where(inside, 3 * look, np.float32(NEVER))

    def _window(self, former: list[Floats], shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Rows and columns around all objects."""
        inside = np.zeros(shape, np.bool_)
        for values in former:
            inside |= values > 0
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return _WHOLE
        margin = self.settings.margin_px
        return (
            slice(max(0, int(rows[0]) - margin), min(shape[0], int(rows[-1]) + 1 + margin)),
            slice(max(0, int(columns[0]) - margin), min(shape[1], int(columns[-1]) + 1 + margin)),
        )

    def _learn_for_good(self, tube: Tube, part: Bytes, looks: Floats, probability: Floats) -> None:
        if not (probability > 0.5).any():
            return
        tube.classifier.keep(self._sums(looks, probability, None))
        tube.classifier.solve(lasting_weight=self.settings.lasting_weight, ridge=self.settings.ridge)
        tube.meet(float((probability > 0.5).mean()), redetect.histogram(part, probability > 0.5))

    def _learn_a_little(self, tube: Tube, looks: Floats, probability: Floats) -> None:
        s = self.settings
        if (probability > 0.5).sum() < 30 or tube.trust.combined < s.least_trust:
            return
        tube.classifier.mix(self._sums(looks, probability, np.abs(2 * probability - 1)), s.mix_share)
        tube.classifier.solve(lasting_weight=s.lasting_weight, ridge=s.ridge)

    def _sums(self, looks: Floats, probability: Floats, weight: Floats | None) -> Sums:
        """Normal equations of a sample of pixels inside and outside; near ones outside count most."""
        s = self.settings
        random = np.random.default_rng((s.seed, self._count))
        inside = probability > 0.5
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3).reshape(-1)
        ones, zeros = np.flatnonzero(inside), np.flatnonzero(~inside)
        ones = random.choice(ones, min(s.samples, len(ones)), replace=False)
        zeros = random.choice(zeros, min(s.samples, len(zeros)), replace=False)
        of_ones = np.ones(len(ones), np.float32)
        of_zeros = np.exp(-distance[zeros] / np.float32(56)) + np.float32(0.15)
        if weight is not None:
            of_ones = of_ones * weight.reshape(-1)[ones]
            of_zeros = of_zeros * weight.reshape(-1)[zeros]
        of_ones /= of_ones.sum() + np.float32(1e-6)
        of_zeros /= of_zeros.sum() + np.float32(1e-6)
        target = np.concatenate([np.ones(len(ones), np.float32), np.full(len(zeros), -1, np.float32)])
        expanded = self._basis.expand(looks[np.concatenate([ones, zeros])])
        return Sums.of(expanded, target, np.concatenate([of_ones, of_zeros]))

    def _shrink(self, frame: Bytes) -> Bytes:
        height, width = frame.shape[:2]
        scale = min(1.0, (self.settings.work_area / (height * width)) ** 0.5)
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA))

    def _finish(self, logits: Floats, frame: Bytes, given: Mapping[int, Bools]) -> Floats:
        """Probabilities at the frame's size, given masks locked."""
        s = self.settings
        if not self._tubes:
            return np.ones((1, *frame.shape[:2]), np.float32)
        large = enlarge(logits, frame, far=NEVER, strength=s.edge_strength, sigma=s.edge_sigma)
        return _locked(softmax(large), given, self.labels)


def softmax(logits: Floats) -> Floats:
    """Log odds against the background [K, H, W] to probabilities [1 + K, H, W], background first."""
    result = np.empty((1 + len(logits), *logits.shape[1:]), np.float32)
    peak = np.maximum(logits.max(axis=0), 0) if len(logits) else np.zeros(logits.shape[1:], np.float32)
    result[0] = np.exp(-peak)
    result[1:] = np.exp(logits - peak)
    result /= result.sum(axis=0)
    return result


def _locked(probability: Floats, given: Mapping[int, Bools], labels: tuple[int, ...]) -> Floats:
    """Given masks exactly; what is left is shared among the background and the other objects."""
    if not given:
        return probability
    for label in given:
        probability[1 + labels.index(label)] = 0
    probability[0] = np.maximum(probability[0], np.float32(1e-6))
    probability /= probability.sum(axis=0)
    for label, mask in given.items():
        probability[:, mask] = 0
        probability[1 + labels.index(label)][mask] = 1
    return probability


def _cover(mask: Bools, small: Bytes) -> Floats:
    """How much of each working pixel the mask covers: 0..1 [h, w]."""
    size_wh = (small.shape[1], small.shape[0])
    return np.asarray(cv2.resize(mask.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA), np.float32)


def _checked(frame: Bytes, masks: Mapping[int, Bools]) -> dict[int, Bools]:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise EngineError(f"a frame of shape {frame.shape} and type {frame.dtype}: give RGB uint8 [H, W, 3]")
    for label, mask in masks.items():
        if mask.shape != frame.shape[:2]:
            raise MaskSizeMismatch(
                f"the mask of object {label} is {mask.shape[1]}x{mask.shape[0]}, the frame"
                f" {frame.shape[1]}x{frame.shape[0]}: resize the mask to the frame"
            )
    return {label: np.asarray(masks[label], np.bool_) for label in sorted(masks)}

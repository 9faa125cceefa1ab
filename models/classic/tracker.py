"""Carrying masks from frame to frame: flow, what the object looks like, how it moves, and edges, in one vote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, MaskSizeMismatch
from tam_edit.models.classic import features, learning, motion, redetect, scale
from tam_edit.models.classic.classifier import Basis, Sums
from tam_edit.models.classic.edges import enlarge
from tam_edit.models.classic.evidence import Moved, VoteSettings, add_seen_before, carried, drop_left_behind, vote
from tam_edit.models.classic.plate import Difference, Plate
from tam_edit.models.classic.smooth import smooth
from tam_edit.models.classic.threads import single_blas
from tam_edit.models.classic.trust import TrustParts, measure
from tam_edit.models.classic.tube import Tube

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

NEVER = -8.0  # log odds of a pixel that certainly is not the object


_CERTAIN = 100.0  # log odds beyond which nothing is told apart


@dataclass(frozen=True)
class TrackerSettings:
    """What a tracker may be told; lengths are pixels of the working picture."""

    work_area: int = 604 * 340  # pixels of the window around the objects, about
    margin_px: int = 60  # around the objects; nothing further away is looked at
    seed: int = 7
    random_features: int = 256
    samples: int = 4000  # of each class and trusted frame
    later_samples: int = 2000  # and of other frames
    ridge: float = 0.001
    given_share: float = 0.7  # of a mask given while stepping, among all trusted frames
    taught_share: float = 0.1  # of one taught from elsewhere in the clip
    lasting_weight: float = 4.0  # of all trusted frames together, against 1 of the others
    mix_share: float = 0.15
    mix_every: int = 2
    least_trust: float = 0.4  # a mask below it teaches nothing
    vote: VoteSettings = field(default_factory=VoteSettings)
    smooth_strength: float = 200.0
    smooth_sigma: float = 8.0
    edge_strength: float = 30.0
    edge_sigma: float = 8.0
    search_every: int = 3  # frames, once a cut has come
    lost_share: float = 0.08  # of the usual area: below it an object counts as lost
    found_look: float = 0.4
    found_likeness: float = 0.9  # of colours, for an object to be found again within a shot
    found_elsewhere: float = 0.965  # and after a cut, where another object is likelier


class Tracker:
    """Follows several objects through a clip, one frame at a time; backward too, if frames are fed so."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self._basis = Basis(self.settings.seed, self.settings.random_features)
        self._tubes: dict[int, Tube] = {}
        self._scaling: features.Scaling | None = None
        self._grey: Bytes | None = None  # [h, w] of the frame before
        self._logits: Floats | None = None  # [K, h, w] of the frame before, half precision
        self._plate: Plate | None = None
        self._scale = 0.0  # of the working picture against the frame; 0 before the first one
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
        with single_blas():
            self._teach(frame, checked)

    def _teach(self, frame: Bytes, checked: Mapping[int, Bools]) -> None:
        self._rescale(frame.shape, checked)
        small = scale.shrink(frame, self._scale)
        looks = self._looks(small)
        for label, mask in checked.items():
            tube = self._tubes.setdefault(label, Tube())
            self._learn_for_good(tube, small, looks, _cover(mask, small.shape), self.settings.taught_share)

    def step(
        self, frame: Bytes, masks: Mapping[int, Bools] | None = None, *, last: bool = False, cut: bool = False
    ) -> Floats:
        """Masks of the next frame: float32 [1 + K, H, W], background first, then labels in ascending order.

        frame RGB uint8 [H, W, 3]; masks bool [H, W] by label, only where given: locked exactly (all False: the
        object is absent); cut: the frame begins a new shot, so nothing moves over from the one before; last: nothing
        need be learnt any more. Raises MaskSizeMismatch for a mask of another size than the frame's.
        """
        given = _checked(frame, masks or {})
        with single_blas():
            return self._step(frame, given, last, cut)

    def _step(self, frame: Bytes, given: Mapping[int, Bools], last: bool, cut: bool) -> Floats:
        if cut:
            self._grey = self._logits = self._plate = None
        self._rescale(frame.shape, given)
        former = dict(zip(self.labels, [] if self._logits is None else self._logits, strict=False))
        for label in given:
            self._tubes.setdefault(label, Tube())
        small = scale.shrink(frame, self._scale)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        logits = np.full((len(self._tubes), *grey.shape), np.float32(NEVER))
        for label in self.labels:
            self._tubes[label].lost |= label not in former
            self._tubes[label].crossed |= cut
        seen = [label for label in self.labels if label not in given and not self._tubes[label].lost]
        area = scale.box_of(former[label] > 0 for label in seen)
        window = scale.WHOLE if given else scale.window(area, grey.shape, self.settings.margin_px)
        part = np.ascontiguousarray(small[window])
        looks = self._looks(part) if seen or given else None
        answers = {} if looks is None else self._answers(looks, seen, part.shape[:2])
        sure, difference = np.ones(part.shape[:2], np.float32), None
        if seen:
            assert self._grey is not None
            moved = Moved.between(self._grey[window], grey[window])
            sure = moved.sure
            brought = [carried(former[label][window].astype(np.float32), moved) for label in seen]
            told = [
                vote(each, answers.get(k), moved, self.settings.vote) for k, each in zip(seen, brought, strict=True)
            ]
            difference = self._compare(moved, np.all([each < 0 for each in brought], axis=0), part, window)
            if difference is not None:
                found = [answers.get(k) for k in seen]
                add_seen_before([votes for votes, _ in told], found, difference, self.settings.vote)
            self._place(logits, seen, told, window, part)
        self._search(frame, [label for label in self.labels if label not in given and label not in seen], logits, cut)
        for label, mask in given.items():
            logits[self._index(label)] = (_cover(mask, grey.shape) - np.float32(0.5)) * np.float32(12)
        # Far beyond certainty half precision would overflow to infinity, and infinities meet as NaN.
        logits = np.clip(logits, -_CERTAIN, _CERTAIN)
        logits = logits.astype(np.float16)  # the state's own precision, so that a restored run cannot differ
        wide = logits.astype(np.float32)
        probability = softmax(wide[:, window[0], window[1]])[1:]
        for label, p in zip(self.labels, probability, strict=True):
            tube = self._tubes[label]
            if label in given:
                tube.trust, tube.lost, tube.crossed = TrustParts.certain(), not given[label].any(), False
                if looks is not None:
                    self._learn_for_good(tube, part, looks, p, self.settings.given_share)
                continue
            mask_before = former[label][window] > 0 if label in former else None
            share = p.size / grey.size
            tube.trust = measure(p, mask_before, answers.get(label), sure, tube.area / share)
            tube.lost = float((p > 0.5).mean()) * share < self.settings.lost_share * tube.area
            tube.crossed &= tube.lost
            if looks is not None and self._count % self.settings.mix_every == 0 and not last and not tube.lost:
                self._learn_a_little(tube, looks, p)
        outside = np.all(wide < 0, axis=0)
        if self._plate is not None and seen:
            self._plate.renew(part, window, outside[window], difference)
        else:
            self._plate = Plate.of(small, outside)
        self._grey, self._logits = grey, logits
        self._count += 1
        return self._finish(wide, frame, given)

    def snapshot(self) -> dict[str, Any]:
        """All that the next step depends on, as flat arrays: a restored tracker goes on bit for bit."""
        state: dict[str, Any] = {"labels": np.array(self.labels, np.uint8), "count": np.array(self._count, np.int64)}
        state["scale"] = np.array(self._scale, np.float64)
        if self._scaling is not None:
            state |= {"scaling.mean": self._scaling.mean.copy(), "scaling.gain": self._scaling.gain.copy()}
        if self._grey is not None and self._logits is not None:
            state |= {"grey": self._grey.copy(), "logits": self._logits.copy()}
        if self._plate is not None:
            state |= {f"plate.{name}": values for name, values in self._plate.arrays().items()}
        for label in self.labels:
            state |= {f"{label}.{name}": values for name, values in self._tubes[label].arrays().items()}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot of a tracker with the same settings."""
        try:
            self._count, self._scale = int(state["count"]), float(state["scale"])
            self._scaling = None
            if "scaling.mean" in state:
                self._scaling = features.Scaling(state["scaling.mean"].copy(), state["scaling.gain"].copy())
            self._grey = state["grey"].copy() if "grey" in state else None
            self._logits = state["logits"].copy() if "logits" in state else None
            self._plate = None
            if "plate.colour" in state:
                plate = {name.removeprefix("plate."): state[name] for name in state if name.startswith("plate.")}
                self._plate = Plate.from_arrays(plate)
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
        """Features of each pixel [h * w, 13]; the first picture's give the scaling."""
        looks = features.describe(part)
        if self._scaling is None:
            self._scaling = features.Scaling.of(looks)
        return looks.reshape(-1, features.COUNT)

    def _answers(self, looks: Floats, labels: list[int], shape: tuple[int, ...]) -> dict[int, Floats]:
        """Each classifier's answer for each pixel of the window [h, w]."""
        weights = {k: w for k in labels if (w := self._tubes[k].classifier.weights) is not None}
        if not weights:
            return {}
        answers = self._basis.answer(looks, np.stack(list(weights.values()), axis=1), self._scaling).T.reshape(
            -1, *shape
        )
        return {k: np.ascontiguousarray(answers[i]) for i, k in enumerate(weights)}

    def _compare(self, moved: Moved, outside: Bools, part: Bytes, window: scale.Window) -> Difference | None:
        """Move the plate on with the background, and see what differs from it; outside [h, w]: no object brought."""
        if self._plate is None:
            return None
        model = motion.fit_affine(moved.back, moved.sure * outside)
        if model is None:
            self._plate = None
            return None
        self._plate.move(model, window, (part.shape[0], part.shape[1]))
        return self._plate.against(part, window, outside)

    def _place(
        self,
        logits: Floats,
        labels: list[int],
        told: list[tuple[Floats, Floats | None]],
        window: scale.Window,
        part: Bytes,
    ) -> None:
        """Write the votes, smoothed along edges, into the log odds."""
        s = self.settings
        votes = np.stack([votes for votes, _ in told], axis=2)
        smoothed = smooth(votes, part, strength=s.smooth_strength, sigma=s.smooth_sigma)
        for index, (label, (_, unlike)) in enumerate(zip(labels, told, strict=True)):
            odds = smoothed[..., index]
            if unlike is not None:
                drop_left_behind(odds, unlike, s.vote)
            logits[self._index(label)][window] = odds

    def _search(self, frame: Bytes, labels: list[int], logits: Floats, cut: bool) -> None:
        """Look for lost objects in the whole picture, and put them where they are found again."""
        s = self.settings
        due = cut or self._count % s.search_every == 0
        labels = [label for label in labels if due or not self._tubes[label].crossed]
        able = [label for label in labels if self._tubes[label].classifier.weights is not None]
        if not able:
            return
        coarse = scale.shrink(frame, scale.scales(frame.shape, s.work_area)[0])
        answers = self._answers(self._looks(coarse), able, coarse.shape[:2])
        for label in able:
            tube = self._tubes[label]
            assert tube.colours is not None
            look = smooth(np.clip(answers[label], -1.5, 1.5), coarse, strength=s.smooth_strength, sigma=s.smooth_sigma)
            alike = s.found_elsewhere if tube.crossed else s.found_likeness
            inside = redetect.find(coarse, look, tube.colours, tube.area, least_look=s.found_look, least_likeness=alike)
            if inside is not None:
                found = np.where(inside, 3 * look, np.float32(NEVER))
                logits[self._index(label)] = cv2.resize(found, logits.shape[:0:-1], interpolation=cv2.INTER_LINEAR)

    def _rescale(self, shape: tuple[int, ...], given: Mapping[int, Bools]) -> None:
        """Choose the scale for where the objects were or are said to be, and bring the former frame to it."""
        s = self.settings
        box = scale.box_of(given.values())
        if self._logits is not None and (former := scale.box_of(np.asarray(self._logits > 0))) is not None:
            by = 1 / self._scale
            former = (int(former[0] * by), int(former[1] * by), int(former[2] * by), int(former[3] * by))
            box = former if box is None else scale.around(box, former)
        if box is None:
            chosen = self._scale or scale.scales(shape, s.work_area)[0]
        else:
            chosen = scale.choose(shape, box, s.work_area, s.margin_px, self._scale or None)
        if chosen != self._scale and self._grey is not None and self._logits is not None:
            size_wh = scale.size_wh(shape, chosen)
            self._grey = np.asarray(cv2.resize(self._grey, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
            layers = [cv2.resize(layer.astype(np.float32), size_wh) for layer in self._logits]
            self._logits = np.stack(layers).astype(np.float16) if layers else np.zeros((0, *size_wh[::-1]), np.float16)
            self._plate = None if self._plate is None else self._plate.resized(size_wh)
        self._scale = chosen

    def _learn_for_good(self, tube: Tube, part: Bytes, looks: Floats, probability: Floats, share: float) -> None:
        if not (probability > 0.5).any():
            return
        tube.classifier.keep(self._sums(looks, probability, weighted=False), share)
        tube.classifier.solve(lasting_weight=self.settings.lasting_weight, ridge=self.settings.ridge)
        tube.meet(float((probability > 0.5).mean()), redetect.histogram(part, probability > 0.5))

    def _learn_a_little(self, tube: Tube, looks: Floats, probability: Floats) -> None:
        s = self.settings
        if not learning.enough(probability) or tube.trust.combined < s.least_trust:
            return
        tube.classifier.mix(self._sums(looks, probability, weighted=True), s.mix_share)
        tube.classifier.solve(lasting_weight=s.lasting_weight, ridge=s.ridge)

    def _sums(self, looks: Floats, probability: Floats, *, weighted: bool) -> Sums:
        s = self.settings
        seed, samples = (s.seed, self._count), s.later_samples if weighted else s.samples
        assert self._scaling is not None
        return learning.sums(
            self._basis, looks, self._scaling, probability, samples=samples, seed=seed, weighted=weighted
        )

    def _finish(self, logits: Floats, frame: Bytes, given: Mapping[int, Bools]) -> Floats:
        """Probabilities at the frame's size, given masks locked."""
        s = self.settings
        if not self._tubes:
            return np.ones((1, *frame.shape[:2]), np.float32)
        edge = enlarge(logits, frame, strength=s.edge_strength, sigma=s.edge_sigma)
        result = np.zeros((1 + len(self._tubes), *frame.shape[:2]), np.float32)
        result[0] = 1
        if edge is not None:
            result[:, edge.rows, edge.columns] = softmax(edge.logits)
        return _locked(result, given, self.labels)


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


def _cover(mask: Bools, shape: tuple[int, ...]) -> Floats:
    """How much of each working pixel the mask covers: 0..1 [h, w]."""
    size_wh = (shape[1], shape[0])
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

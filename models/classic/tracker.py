"""Carrying masks from frame to frame: flow, what the object looks like, how it moves, and edges, in one vote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tam_edit.models.classic import features, flow, motion
from tam_edit.models.classic.classifier import Basis, Classifier, Sums
from tam_edit.models.classic.smooth import smooth
from tam_edit.models.classic.trust import TrustParts, measure

from tam_edit.errors import EngineError, MaskSizeMismatch

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]


_NEVER = -8.0  # log odds of a pixel that certainly is not the object


@dataclass(frozen=True)
class TrackerSettings:
    """What a tracker may be told; lengths are pixels of the working picture."""

    work_area: int = 427 * 240
    seed: int = 7
    random_features: int = 128
    samples: int = 2000
    ridge: float = 0.01
    lasting_weight: float = 4.0
    mix_share: float = 0.15
    mix_every: int = 2
    warp_limit: float = 3.0
    look_gain: float = 3.0
    look_limit: float = 1.5
    motion_gain: float = 1.5
    far_px: float = 60.0
    slope: float = 0.08
    slack_px: float = 3.0
    smooth_strength: float = 100.0
    smooth_sigma: float = 8.0


@dataclass
class _Tube:
    """What is known of one object."""

    classifier: Classifier = field(default_factory=Classifier)
    area: float = 0.0  # share of the picture, mean over the trusted frames
    trust: TrustParts = field(default_factory=TrustParts.certain)

    def arrays(self) -> dict[str, Any]:
        """Everything as flat arrays."""
        result: dict[str, Any] = {
            "area": np.array(self.area, np.float64),
            "trust": np.array(astuple(self.trust), np.float64),
            "count": np.array(self.classifier.lasting_count, np.int64),
        }
        for name, sums in (("lasting", self.classifier.lasting), ("fading", self.classifier.fading)):
            if sums is not None:
                result |= {f"{name}.gram": sums.gram.copy(), f"{name}.moment": sums.moment.copy()}
        if self.classifier.weights is not None:
            result["weights"] = self.classifier.weights.copy()
        return result

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> _Tube:
        sums = {
            name: Sums(arrays[f"{name}.gram"].copy(), arrays[f"{name}.moment"].copy())
            for name in ("lasting", "fading")
            if f"{name}.gram" in arrays
        }
        weights = arrays["weights"].copy() if "weights" in arrays else None
        classifier = Classifier(sums.get("lasting"), int(arrays["count"]), sums.get("fading"), weights)
        return cls(classifier, float(arrays["area"]), TrustParts(*arrays["trust"].tolist()))


class Tracker:
    """Follows several objects through a clip, one frame at a time."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self._basis = Basis(self.settings.seed, self.settings.random_features)
        self._tubes: dict[int, _Tube] = {}
        self._scaling: features.Scaling | None = None
        self._grey: Bytes | None = None
        self._logits: Floats | None = None  # [K, h, w]
        self._count = 0

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(sorted(self._tubes))

    def snapshot(self) -> dict[str, Any]:
        """All that the next step depends on, as flat arrays: a restored tracker goes on bit for bit."""
        state: dict[str, Any] = {
            "labels": np.array(self.labels, np.uint8),
            "count": np.array(self._count, np.int64),
        }
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
                self._tubes[label] = _Tube.of(own)
        except KeyError as error:
            raise EngineError(
                f"not a snapshot of the classic tracker: it lacks {error}; track the span again"
            ) from error

    def trust(self) -> dict[int, TrustParts]:
        """Of the last step's masks, by label."""
        return {label: self._tubes[label].trust for label in self.labels}

    def teach(self, frame: Bytes, masks: Mapping[int, Bools]) -> None:
        """Learn the looks of objects from a trusted frame elsewhere in the clip, without stepping."""
        masks = self._checked(frame, masks)
        small = self._shrink(frame)
        view = self._look(small)
        for label, mask in masks.items():
            tube = self._tubes.setdefault(label, _Tube())
            self._learn_for_good(tube, view, _shrunk(mask, small))

    def step(
        self, frame: Bytes, masks: Mapping[int, Bools] | None = None, *, last: bool = False, cut: bool = False
    ) -> Floats:
        """Masks of the next frame: float32 [1 + K, H, W], background first, then labels in ascending order.

        frame RGB uint8 [H, W, 3]; masks bool [H, W] by label, only where given: locked exactly (all False: the
        object is absent); cut: the frame begins a new shot, so nothing moves over from the one before; last: nothing
        need be learnt any more.
        Raises MaskSizeMismatch for a mask of another size than the frame's.
        """
        s = self.settings
        masks = self._checked(frame, masks or {})
        known = self.labels
        small = self._shrink(frame)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        view = self._look(small)
        for label in masks:
            self._tubes.setdefault(label, _Tube())
        labels = self.labels
        logits = np.full((len(labels), *grey.shape), np.float32(_NEVER))
        predicted = [label for label in known if label not in masks]
        if predicted and self._grey is not None and self._logits is not None and not cut:
            former = {label: self._logits[known.index(label)] for label in predicted}
            back = flow.between(grey, self._grey)
            sure = flow.consistency(back, flow.between(self._grey, grey))
            votes = [self._vote(former[label], self._tubes[label], back, sure, view) for label in predicted]
            smoothed = smooth(np.stack(votes, axis=2), small, strength=s.smooth_strength, sigma=s.smooth_sigma)
            for index, label in enumerate(predicted):
                logits[labels.index(label)] = smoothed[..., index]
        else:
            sure = np.ones(grey.shape, np.float32)
        for label, mask in masks.items():
            logits[labels.index(label)] = (_shrunk(mask, small) - np.float32(0.5)) * np.float32(12)
        probability = softmax(logits)  # [1 + K, h, w]
        for label in masks:
            self._learn_for_good(self._tubes[label], view, probability[1 + labels.index(label)])
        if self._count % s.mix_every == 0 and not last:
            for label in predicted:
                self._learn_a_little(self._tubes[label], view, probability[1 + labels.index(label)])
        for label in labels:
            tube = self._tubes[label]
            if label in masks:
                tube.trust = TrustParts.certain()
                continue
            former_mask = None if self._logits is None or cut else self._logits[known.index(label)] > 0
            look = None if tube.classifier.weights is None else (view @ tube.classifier.weights).reshape(grey.shape)
            tube.trust = measure(probability[1 + labels.index(label)], former_mask, look, sure, tube.area)
        self._grey, self._logits = grey, logits
        self._count += 1
        return self._enlarge(logits, frame, masks, labels)

    def _look(self, small: Bytes) -> Floats:
        """Expanded features of each pixel [h * w, D]."""
        looks = features.describe(small)
        if self._scaling is None:
            self._scaling = features.Scaling.of(looks)
        return self._basis.expand(self._scaling.apply(looks).reshape(-1, features.COUNT))

    def _learn_for_good(self, tube: _Tube, view: Floats, probability: Floats) -> None:
        s = self.settings
        if not (probability > 0.5).any():
            return
        tube.classifier.keep(self._sums(view, probability, None))
        tube.classifier.solve(lasting_weight=s.lasting_weight, ridge=s.ridge)
        count = tube.classifier.lasting_count
        tube.area += (float(probability.mean()) - tube.area) / count

    def _learn_a_little(self, tube: _Tube, view: Floats, probability: Floats) -> None:
        s = self.settings
        if (probability > 0.5).sum() < 30:
            return
        tube.classifier.mix(self._sums(view, probability, np.abs(2 * probability - 1)), s.mix_share)
        tube.classifier.solve(lasting_weight=s.lasting_weight, ridge=s.ridge)

    def _checked(self, frame: Bytes, masks: Mapping[int, Bools]) -> dict[int, Bools]:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise EngineError(f"a frame of shape {frame.shape} and type {frame.dtype}: give RGB uint8 [H, W, 3]")
        for label, mask in masks.items():
            if mask.shape != frame.shape[:2]:
                raise MaskSizeMismatch(
                    f"the mask of object {label} is {mask.shape[1]}x{mask.shape[0]}, the frame"
                    f" {frame.shape[1]}x{frame.shape[0]}: resize the mask to the frame"
                )
        return {label: np.asarray(masks[label], np.bool_) for label in sorted(masks)}

    def _enlarge(self, logits: Floats, frame: Bytes, masks: Mapping[int, Bools], labels: tuple[int, ...]) -> Floats:
        height, width = frame.shape[:2]
        if not labels:
            return np.ones((1, height, width), np.float32)
        large = cv2.resize(logits.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_LINEAR)
        result = softmax(large.reshape(height, width, -1).transpose(2, 0, 1))
        return self._lock(result, masks, labels)

    def _vote(self, former: Floats, tube: _Tube, back: Floats, sure: Floats, view: Floats) -> Floats:
        s = self.settings
        carried = flow.carry(cv2.GaussianBlur(former, (0, 0), 1.0), back)
        inside = carried > 0
        vote = np.clip(carried, -s.warp_limit, s.warp_limit) * sure
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
        if tube.classifier.weights is not None:
            look = (view @ tube.classifier.weights).reshape(carried.shape)
            look = np.clip(look, -s.look_limit, s.look_limit)
            look[distance > s.far_px] = -1
            vote += np.float32(s.look_gain) * look
        behind = motion.fit_affine(back, sure * ~inside)
        object_ = motion.fit_affine(back, sure * inside)
        if behind is not None and object_ is not None:
            length = np.sqrt(np.square(back).sum(axis=2))
            unlike = (motion.residual(back, behind) - motion.residual(back, object_)) / (1 + np.float32(0.1) * length)
            vote += np.float32(s.motion_gain) * np.clip(unlike, -1, 1) * sure
        vote -= np.float32(s.slope) * np.maximum(distance - np.float32(s.slack_px), 0)
        return vote

    def _sums(self, view: Floats, probability: Floats, weight: Floats | None) -> Sums:
        s = self.settings
        random = np.random.default_rng((s.seed, self._count))
        inside = probability > 0.5
        distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3).reshape(-1)
        flat = inside.reshape(-1)
        ones, zeros = np.flatnonzero(flat), np.flatnonzero(~flat)
        ones = random.choice(ones, min(s.samples, len(ones)), replace=False)
        zeros = random.choice(zeros, min(s.samples, len(zeros)), replace=False)
        w1 = np.ones(len(ones), np.float32)
        w0 = np.exp(-distance[zeros] / np.float32(40)) + np.float32(0.15)
        if weight is not None:
            w1 = w1 * weight.reshape(-1)[ones]
            w0 = w0 * weight.reshape(-1)[zeros]
        w1 /= w1.sum() + np.float32(1e-6)
        w0 /= w0.sum() + np.float32(1e-6)
        chosen = np.concatenate([ones, zeros])
        target = np.concatenate([np.ones(len(ones), np.float32), -np.ones(len(zeros), np.float32)])
        return Sums.of(view[chosen], target, np.concatenate([w1, w0]))

    def _shrink(self, frame: Bytes) -> Bytes:
        height, width = frame.shape[:2]
        scale = min(1.0, (self.settings.work_area / (height * width)) ** 0.5)
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA))

    @staticmethod
    def _lock(probability: Floats, masks: Mapping[int, Bools], labels: tuple[int, ...]) -> Floats:
        if not masks:
            return probability
        for k in masks:
            probability[1 + labels.index(k)] = 0
        probability[0] = np.maximum(probability[0], np.float32(1e-6))
        probability /= probability.sum(axis=0)
        for k, mask in masks.items():
            probability[:, mask] = 0
            probability[1 + labels.index(k)][mask] = 1
        return probability


def _shrunk(mask: Bools, small: Bytes) -> Floats:
    """How much of each working pixel the mask covers: 0..1 [h, w]."""
    size_wh = (small.shape[1], small.shape[0])
    return np.asarray(cv2.resize(mask.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA), np.float32)


def softmax(logits: Floats) -> Floats:
    """Log odds against the background [K, H, W] to probabilities [1 + K, H, W], background first."""
    peak = np.maximum(logits.max(axis=0), 0)
    result = np.empty((1 + len(logits), *logits.shape[1:]), np.float32)
    result[0] = np.exp(-peak)
    result[1:] = np.exp(logits - peak)
    result /= result.sum(axis=0)
    return result

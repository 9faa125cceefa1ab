"""Trackers on annotated sequences: one pass from frame 0, simulated corrections, simulated clicks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, MaskEmpty, UsageError
from tam_edit.masks import LabelMap, Mask, box_of, pack_planes, unpack_planes
from tam_edit.pipelines.evaluate_clock import Clock
from tam_edit.pipelines.evaluate_dataset import AnnotatedSequence
from tam_edit.pipelines.evaluate_scores import Scorer, SequenceScore, scored_frames, summary
from tam_edit.pipelines.export.palette import write_label_png
from tam_edit.pipelines.metrics import jaccard
from tam_edit.pipelines.review import propose

Picture = NDArray[np.uint8]
Probability = NDArray[np.float32]
Pictures = Callable[[int], Picture]
Segment = Callable[..., Mask]


class StepTracker(Protocol):
    """What every tracking engine of the project offers: frames go in one by one, in the order of the run."""

    def step(self, frame: Picture, masks: Mapping[int, Mask] | None = None, *, last: bool = False) -> Probability: ...


@dataclass(frozen=True)
class TrackingEngine:
    """A tracker by name: `make` starts a fresh one for each run."""

    name: str
    version: str
    make: Callable[[], StepTracker]


@dataclass(frozen=True)
class SegmentingEngine:
    """A segmenter by name: `segment(frame, points=, labels=, box=, next_frame=)` gives a mask, bool [H, W]."""

    name: str
    version: str
    segment: Segment


@dataclass(frozen=True)
class Tracked:
    """A clip's label maps, and how far the engine itself trusts each (1 at keyframes; only ranks mean something)."""

    label_maps: tuple[LabelMap, ...]
    trust: tuple[float, ...]


def track(
    engine: TrackingEngine,
    pictures: Pictures,
    count: int,
    keyframes: Mapping[int, LabelMap],
    clock: Clock | None = None,
) -> Tracked:
    """Masks for frames 0..count-1 from one or more keyframes, keyframes exact.

    Before the first keyframe a run goes backwards only, after the last one forwards only, between two keyframes
    both, fused by nearness and confidence (tam_edit.models.fusion). Engines that can be taught learn the far
    keyframe of a gap before they run through it. Raises UsageError without keyframes.
    """
    if not keyframes or not all(0 <= index < count for index in keyframes):
        raise UsageError(f"keyframes {sorted(keyframes)} for {count} frames: give at least one, all of them inside")
    from tam_edit.models.fusion import fuse

    clock = clock or Clock()
    spoken = _spoken(keyframes)
    labels = sorted({label for masks in spoken.values() for label in masks})
    lookup = np.array([0, *labels], np.uint8)
    label_maps: list[LabelMap] = [np.empty((0, 0), np.uint8)] * count
    trusts = [1.0] * count
    forward = _Run(engine, pictures, labels, clock)
    marks = sorted(spoken)
    for left, right in zip([None, *marks], [*marks, None], strict=True):
        between = range(0 if left is None else left + 1, count if right is None else right)
        back: dict[int, tuple[bytes, list[float]]] = {}
        if right is not None and between:
            backward = _Run(engine, pictures, labels, clock)
            if left is not None:
                backward.teach(left, spoken[left])
                forward.teach(right, spoken[right])
            backward.step(right, spoken[right])
            for index in reversed(between):
                probability, trust = backward.step(index, last=index == between[0])
                back[index] = pack_planes(np.round(probability * 255).astype(np.uint8)), trust
        for index in between:
            if left is not None:
                probability, trust = forward.step(index, last=index == count - 1)
            if index in back:
                packed, trust_back = back.pop(index)
                against = unpack_planes(packed).astype(np.float32) / np.float32(255)
                if left is None or right is None:
                    probability, trust = against, trust_back
                else:
                    steps = index - left, right - index
                    probability = fuse(probability, against, *steps, trust_forward=trust, trust_backward=trust_back)
                    # As the stage tells it: of each object the direction that counts for more.
                    pairs = zip(trust, trust_back, strict=True)
                    trust = [one if steps[0] * other <= steps[1] * one else other for one, other in pairs]
            label_maps[index], trusts[index] = lookup[probability.argmax(axis=0)], min(trust)
        if right is not None:
            forward.step(right, spoken[right], last=right == count - 1)
            label_maps[right] = keyframes[right]
    return Tracked(tuple(label_maps), tuple(trusts))


class _Run:
    """One tracker on its way through a clip, giving probabilities for all labels, known to it or not."""

    def __init__(self, engine: TrackingEngine, pictures: Pictures, labels: Sequence[int], clock: Clock) -> None:
        self._tracker = engine.make()
        self._name, self._pictures, self._labels, self._clock = engine.name, pictures, labels, clock
        self._known: set[int] = set()

    def step(
        self, index: int, masks: Mapping[int, Mask] | None = None, last: bool = False
    ) -> tuple[Probability, list[float]]:
        """Probability [1 + K, H, W] over all labels, and the trust in each (1 while it is not known)."""
        self._known.update(masks or ())
        picture = self._pictures(index)
        with self._clock:
            step = self._tracker.step(picture, masks, last=last)
            each = _trust(self._tracker, step)
        trust = (
            [each.get(label, 1.0) for label in self._labels] if isinstance(each, dict) else [each] * len(self._labels)
        )
        known = sorted(self._known)
        if len(step) != 1 + len(known):
            raise EngineError(f"engine {self._name} gave {len(step)} planes for {len(known)} objects at frame {index}")
        if known == self._labels:
            return step, trust
        probability = np.zeros((1 + len(self._labels), *step.shape[1:]), np.float32)
        probability[[0, *(1 + self._labels.index(label) for label in known)]] = step
        return probability, trust

    def teach(self, index: int, masks: Mapping[int, Mask]) -> None:
        """Show a keyframe out of its time to an engine that has a use for it."""
        teach = getattr(self._tracker, "teach", None)
        if callable(teach):
            picture = self._pictures(index)
            with self._clock:
                teach(picture, masks)


def _spoken(keyframes: Mapping[int, LabelMap]) -> dict[int, dict[int, Mask]]:
    """What each keyframe says of which label: of all known so far, unless it only brings in new ones."""
    spoken: dict[int, dict[int, Mask]] = {}
    seen: set[int] = set()
    for index in sorted(keyframes):
        held = {int(label) for label in np.unique(keyframes[index])} - {0}
        only_new = bool(held) and not held & seen
        seen |= held
        spoken[index] = {label: keyframes[index] == label for label in sorted(held if only_new else seen)}
    if not seen:
        raise MaskEmpty("no keyframe holds an object: mark one on some frame before tracking")
    return spoken


def _trust(tracker: StepTracker, probability: Probability) -> dict[int, float] | float:
    """The engine's own trust in its last step (by object where it says so), or the margin of its probabilities."""
    own = getattr(tracker, "trust", None)
    found = own() if callable(own) else None
    if isinstance(found, Mapping):
        return {label: _number(value) for label, value in found.items()}
    return _margin(probability) if found is None else _number(found)


def _number(value: Any) -> float:
    """Trust as one number: what the engine combines itself, else the geometric mean of its parts (each 0 to 1)."""
    if hasattr(value, "combined"):
        return float(value.combined)
    if is_dataclass(value) and not isinstance(value, type):
        parts = np.array(astuple(value), np.float64)
        return float(np.prod(parts) ** (1 / len(parts)))
    return float(value)


def _margin(probability: Probability) -> float:
    """How decided the pixels are that might be an object: 0 where two labels tie, 1 where all is clear."""
    background = probability[0]
    doubtful = background < 0.98
    if not doubtful.any():
        return 0.0  # nothing is seen: an object that has gone, or is lost
    ranked = np.sort(probability[:, doubtful], axis=0)
    return float((ranked[-1] - ranked[-2]).mean())


# Protocols


def evaluate_sequence(
    engine: TrackingEngine,
    sequence: AnnotatedSequence,
    *,
    start: LabelMap | None = None,
    corrections: int = 0,
    include_ends: bool = False,
    save: Path | None = None,
) -> SequenceScore:
    """One sequence from frame 0's true masks (or from `start`), with so many simulated corrections.

    A correction is the truth of the frame that the engine's own trust proposes; it joins the keyframes and all is
    tracked again. `extra` holds J after 0, 1, .. corrections ("J after"). save: folder for the last run's masks.
    """
    keyframes = {0: sequence.truth(0) if start is None else start}
    if not keyframes[0].any():
        raise MaskEmpty(f"{sequence.name} has no object on frame 0: leave the sequence out")
    after: list[float] = []
    while True:
        clock = Clock()
        tracked = track(engine, sequence.picture, len(sequence), keyframes, clock)
        scorer = Scorer()
        for index in scored_frames(len(sequence), include_ends):
            if sequence.truths[index] is not None:
                scorer.feed(index, tracked.label_maps[index], sequence.truth(index))
        marks = tuple(sorted(keyframes))
        score = SequenceScore(
            sequence.name, scorer.objects(), len(sequence), clock.seconds, clock.cpu_seconds, marks, {}, tracked.trust
        )
        after.append(summary([score])["J"])
        chosen = propose([*tracked.trust], marks) if len(after) <= corrections else None
        if chosen is None or sequence.truths[chosen] is None:
            break
        keyframes[chosen] = sequence.truth(chosen)
    if save is not None:
        folder = save / sequence.name
        folder.mkdir(parents=True, exist_ok=True)
        for index, label_map in enumerate(tracked.label_maps):
            write_label_png(folder / f"{sequence.stem(index)}.png", label_map)
    return score.with_extra({"J after": after} if corrections else {})


def simulate_clicks(
    engine: SegmentingEngine,
    picture: Picture,
    truth: LabelMap,
    clicks: int,
    with_box: bool = False,
    next_frame: Picture | None = None,
) -> tuple[LabelMap, list[list[float]], Clock]:
    """What so many ideal clicks give for every object of frame 0: label map, IoU after each prompt, time spent.

    Each click goes to the centre of the largest error (of what is missing, or of what is too much): its pixel
    farthest from the error's edge. with_box: the true box comes first and counts as the first prompt. next_frame: the
    engine may look at it too, as it may at work.
    """
    clock = Clock()
    found: dict[int, Mask] = {}
    ious: list[list[float]] = []
    for label in sorted(int(value) for value in np.unique(truth) if value):
        wanted: Mask = truth == label
        box = box_of(wanted) if with_box else None
        points: list[tuple[int, int]] = []
        signs: list[int] = []
        mask, curve = np.zeros_like(wanted), list[float]()
        for prompt in range(clicks + (1 if with_box else 0)):
            if not (with_box and prompt == 0):
                click = next_click(mask, wanted)
                if click is None:
                    curve.append(1.0)
                    continue
                points.append(click[0])
                signs.append(click[1])
            with clock:
                mask = engine.segment(picture, points=list(points), labels=list(signs), box=box, next_frame=next_frame)
            curve.append(jaccard(mask, wanted))
        found[label] = mask
        ious.append(curve)
    label_map = np.zeros_like(truth)
    # Small objects last: where two claims meet, the small one lies in front more often.
    for label, mask in sorted(found.items(), key=lambda item: -int(item[1].sum())):
        label_map[mask] = label
    return label_map, ious, clock


def next_click(mask: Mask, truth: Mask) -> tuple[tuple[int, int], int] | None:
    """Where an ideal user clicks next: ((x, y), 1 for object or 0 for background); None when nothing is wrong."""
    import cv2

    best: tuple[int, tuple[int, int], int] | None = None
    for wrong, sign in ((truth & ~mask, 1), (mask & ~truth, 0)):
        count, parts, boxes, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=8)
        if count < 2:
            continue
        part = 1 + int(np.argmax(boxes[1:, cv2.CC_STAT_AREA]))
        area = int(boxes[part, cv2.CC_STAT_AREA])
        if best is None or area > best[0]:
            depth = cv2.distanceTransform(np.pad((parts == part).astype(np.uint8), 1), cv2.DIST_L2, 5)
            y, x = np.unravel_index(int(depth.argmax()), depth.shape)
            best = area, (int(x) - 1, int(y) - 1), sign
    return best[1:] if best else None

"""Label maps for a whole clip from keyframes: both directions, fused where they meet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, MaskEmpty, MaskError, MaskSizeMismatch
from tam_edit.models.classic.spool import Clip, Gap
from tam_edit.models.classic.tracker import Tracker, TrackerSettings
from tam_edit.models.fusion import fuse

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

_CUT_STEPS = 1000  # a direction that comes across a cut counts as this much further away


def propagate(
    frames: Iterable[Bytes],
    keyframes: Mapping[int, Bytes],
    *,
    cuts: Collection[int] = (),
    settings: TrackerSettings | None = None,
) -> Iterator[Bytes]:
    """Follow the objects of some label maps through a clip.

    frames RGB uint8 [H, W, 3]; keyframes: frame number -> label map uint8 [H, W], given back exactly; cuts: numbers of
    frames that begin a new shot. Yields a label map [H, W] per frame, in order. A label map speaks for every label
    known so far (a label that it lacks is absent there), unless all its labels are new: then it only adds them.
    Before the first keyframe runs backward only, after the last one forward only, between two both directions, fused.
    A sequence is read in place. From an iterator the frames of one gap between keyframes are spooled to a temporary
    file, and so are the backward direction's probabilities (a byte each); memory holds a
    few frames however long the clip.
    Raises MaskEmpty without a keyframe that holds an object, MaskError for other values than labels, MaskSizeMismatch,
    EngineError for a keyframe beyond the clip and for frames of several sizes or another kind.
    """
    return _run(Clip(frames), _spoken(keyframes), frozenset(cuts), settings or TrackerSettings())


def _spoken(keyframes: Mapping[int, Bytes]) -> dict[int, dict[int, Bools]]:
    """What each keyframe says: frame -> label -> mask, in order of frames."""
    if not isinstance(keyframes, Mapping) or any(not isinstance(number, int | np.integer) for number in keyframes):
        raise EngineError("keyframes come as {frame number: label map}, frames counted from 0: name each map's frame")
    spoken: dict[int, dict[int, Bools]] = {}
    seen: set[int] = set()
    for number in sorted(keyframes):
        label_map = np.asarray(keyframes[number])
        if label_map.ndim != 2:
            raise MaskSizeMismatch(f"keyframe {number} has shape {label_map.shape}: give a label map [H, W]")
        if number < 0:
            raise EngineError(f"keyframe {number} lies before the clip: frames are counted from 0")
        values = np.unique(label_map) if label_map.dtype.kind in "buif" else np.array([np.nan])
        if not np.isin(values, range(256)).all():
            raise MaskError(f"keyframe {number} is no label map: give whole numbers, 0 background and 1 to 255 objects")
        held = {int(v) for v in values} - {0}
        adds_only = bool(held) and not held & seen
        seen |= held
        spoken[number] = {label: label_map == label for label in sorted(held if adds_only else seen)}
    if not seen:
        raise MaskEmpty("no keyframe holds an object: mark one on some frame before tracking")
    return spoken


def _run(
    clip: Clip,
    keyframes: dict[int, dict[int, Bools]],
    cuts: frozenset[int],
    settings: TrackerSettings,
) -> Iterator[Bytes]:
    forward = Tracker(settings)
    left: int | None = None
    for right in keyframes:
        with Gap(clip, 0 if left is None else left, right) as gap:
            yield from _fill_gap(gap, forward, left, right, keyframes, cuts, settings)
            yield _label_map(forward.step(gap.frame(right), keyframes[right], cut=right in cuts), forward.labels)
        left = right
    assert left is not None
    for number, frame in enumerate(clip.rest(left + 1), left + 1):
        yield _label_map(forward.step(frame, cut=number in cuts), forward.labels)


def _fill_gap(
    gap: Gap,
    forward: Tracker,
    left: int | None,
    right: int,
    keyframes: dict[int, dict[int, Bools]],
    cuts: frozenset[int],
    settings: TrackerSettings,
) -> Iterator[Bytes]:
    """The frames strictly between two keyframes, or before the first one."""
    between = range(0 if left is None else left + 1, right)
    if not between:
        return
    backward = Tracker(settings)
    if left is not None:
        backward.teach(gap.frame(left), keyframes[left])
        forward.teach(gap.frame(right), keyframes[right])
    backward.step(gap.frame(right), keyframes[right])
    believed: dict[int, dict[int, float]] = {}  # frame -> label -> trust, of the backward direction
    for number in reversed(between):
        gap.store(number, backward.step(gap.frame(number), cut=number + 1 in cuts))
        believed[number] = {label: parts.combined for label, parts in backward.trust().items()}
    for number in between:
        probability, labels = gap.stored(number), backward.labels
        if left is not None:
            ahead = forward.step(gap.frame(number), cut=number in cuts)
            ahead_trust = {label: parts.combined for label, parts in forward.trust().items()}
            labels = tuple(sorted({*forward.labels, *backward.labels}))
            steps_forward = number - left + _CUT_STEPS * sum(left < cut <= number for cut in cuts)
            steps_backward = right - number + _CUT_STEPS * sum(number < cut <= right for cut in cuts)
            probability = fuse(
                _widen(ahead, forward.labels, probability, backward.labels, labels),
                _widen(probability, backward.labels, ahead, forward.labels, labels),
                steps_forward,
                steps_backward,
                trust_forward=[ahead_trust.get(k, believed[number].get(k, 1.0)) for k in labels],
                trust_backward=[believed[number].get(k, ahead_trust.get(k, 1.0)) for k in labels],
            )
        yield _label_map(probability, labels)


def _widen(
    own: Floats, own_labels: Sequence[int], other: Floats, other_labels: Sequence[int], labels: Sequence[int]
) -> Floats:
    """Probabilities for all labels; what one direction knows nothing of is taken from the other one."""
    if tuple(own_labels) == tuple(labels):
        return own
    channels = [own[0]]
    for label in labels:
        if label in own_labels:
            channels.append(own[1 + list(own_labels).index(label)])
        else:
            channels.append(other[1 + list(other_labels).index(label)])
    wide = np.stack(channels)
    return np.asarray(wide / np.maximum(wide.sum(axis=0), np.float32(1e-6)), np.float32)


def _label_map(probability: Floats, labels: Sequence[int]) -> Bytes:
    table = np.array([0, *labels], np.uint8)
    return np.asarray(table[probability.argmax(axis=0)])

"""Where passes meet: label maps and trust of frames from the pass that comes and the one that goes back."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_of
from tam_edit.engine.stage import Product, Unit, packed_product, record_digests
from tam_edit.engine.store import Record
from tam_edit.masks import LabelMap, pack_label_map
from tam_edit.models.fusion import fuse
from tam_edit.pipelines.keyframes import Keyframes, exclusive
from tam_edit.pipelines.passes import STAGE, Pass, Passes, Probes

CUT_FRAMES = 1000
"""A keyframe beyond a cut counts as so many frames further away."""
CERTAIN = {"combined": 1.0}

Trust = Mapping[str, float]


@dataclass(frozen=True)
class Fused:
    """Label maps by frame: digests, the records that hold them, trust by label, and where to ask."""

    digests: dict[int, str | None] = field(default_factory=dict)
    records: dict[int, tuple[Record, int]] = field(default_factory=dict)  # frame -> record, place in it
    trust: dict[int, Mapping[int, Trust]] = field(default_factory=dict)
    probes: dict[int, Mapping[int, Probes]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Side:
    """One pass as seen from a frame that it reached, and where the keyframe lies that each object comes from."""

    made: Pass
    trust: Mapping[int, Trust]
    steps: Mapping[int, int]


class Fusing:
    """Joins the passes of one region. `refined` masks are keyframes for the distance, but nothing is locked there.

    forward, backward: passes by the frame they start from. trusted: trust of refined masks, by frame and label.
    """

    def __init__(
        self,
        passes: Passes,
        forward: Mapping[int, Pass],
        backward: Mapping[int, Pass],
        keys: Keyframes,
        refined: Mapping[int, Mapping[int, Trust]],
    ) -> None:
        self.passes, self.forward, self.backward, self.keys, self.refined = passes, forward, backward, keys, refined
        self._starts = sorted(forward), sorted(backward)
        spoken: dict[int, set[int]] = {}
        for frame, masks in (*keys.items(), *refined.items()):
            for label in masks:
                spoken.setdefault(label, set()).add(frame)
        self._spoken = {label: sorted(frames) for label, frames in spoken.items()}

    def fuse(self, span: FrameSpan, result: Fused) -> None:
        """Label maps of one chunk into the result."""
        sides = {frame: self._sides(frame) for frame in span.indices()}
        reads: dict[str, Mapping[int, str | None]] = {}
        for name, which in (("forward", 0), ("backward", 1)):
            digests = {
                frame: side.made.digests[frame] for frame, both in sides.items() if (side := both[which]) is not None
            }
            if digests:
                reads[name] = digests
        locked = {frame: self.keys[frame] for frame in span.indices() if frame in self.keys}
        if locked:
            reads["mask"] = {
                frame: None
                if any(mask.digest is None for mask in given.values())
                else digest_of({label: mask.digest for label, mask in given.items()})
                for frame, given in locked.items()
            }
        settings = {
            "objects": [[side and side.made.labels for side in both] for both in sides.values()],
            "keyframes": [sorted(self.keys.get(frame, {})) for frame in sides],
            "weights": [_weights(both) for both in sides.values()],
            "size": self.passes.context.source.size_wh,
        }

        def compute() -> Product:
            maps = [self._label_map(frame, both) for frame, both in sides.items()]
            return packed_product([pack_label_map(label_map) for label_map in maps], "maps")

        unit = Unit(STAGE, span, settings, reads, "fused", self.passes.round)
        record = self.passes.context.runner.obtain(unit, compute)
        result.digests.update(record_digests(record, span))
        for place, (frame, both) in enumerate(sides.items()):
            if record:
                result.records[frame] = (record, place)
            result.trust[frame] = self._trust(frame, both)
            result.probes[frame] = _probes(frame, both)

    def _sides(self, frame: int) -> tuple[_Side | None, _Side | None]:
        """The passes that reach a frame from before and from behind; on a keyframe those that arrive there."""
        starts, ends = self._starts
        before, after = bisect_left(starts, frame) - 1, bisect_right(ends, frame)
        return (
            self._side(frame, self.forward[starts[before]], -1) if before >= 0 else None,
            self._side(frame, self.backward[ends[after]], 1) if after < len(ends) else None,
        )

    def _side(self, frame: int, made: Pass, towards: int) -> _Side | None:
        if frame not in made.digests:
            return None
        trust = made.trust.get(frame, {})
        steps = {label: self._steps(frame, label, towards) for label in made.labels}
        return _Side(made, trust, steps)

    def _steps(self, frame: int, label: int, towards: int) -> int:
        """Frames to the keyframe that speaks of an object, before (-1) or after; cuts between count as many more."""
        mine = self._spoken[label]
        at = mine[bisect_right(mine, frame) - 1] if towards < 0 else mine[bisect_left(mine, frame)]
        low, high = min(at, frame), max(at, frame)
        return high - low + CUT_FRAMES * sum(low < cut <= high for cut in self.passes.context.cuts)

    def _label_map(self, frame: int, both: tuple[_Side | None, _Side | None]) -> LabelMap:
        width, height = self.passes.context.source.size_wh
        planes = [_shares(self.passes.planes(side.made, frame)) if side else {} for side in both]
        given = {label: mask.load() for label, mask in self.keys.get(frame, {}).items()}
        labels = sorted(set().union(*planes) - given.keys())
        label_map: LabelMap = np.zeros((height, width), np.uint8)
        if labels:
            weights = _weights(both)
            chances = np.stack([_joined(label, planes, weights.get(label)) for label in labels])
            background = np.clip(1 - chances.sum(axis=0), 0, 1)
            best = np.argmax(chances, axis=0)
            wins = np.take_along_axis(chances, best[None], axis=0)[0] > background
            label_map[wins] = np.asarray(labels, np.uint8)[best[wins]]
        for label, mask in exclusive(given).items():
            label_map[label_map == label] = 0
            label_map[mask] = label
        return label_map

    def _trust(self, frame: int, both: tuple[_Side | None, _Side | None]) -> dict[int, Trust]:
        """The parts of whichever pass counts for more; a locked mask is certain, a refined one has its own."""
        found = {label: side.trust[label] for label, side in _leading(both).items() if label in side.trust}
        found |= dict(self.refined.get(frame, {}))
        return found | dict.fromkeys(self.keys.get(frame, {}), CERTAIN)


def _leading(both: tuple[_Side | None, _Side | None]) -> dict[int, _Side]:
    """The pass that counts for more, by label: nearer to its keyframe, and believed."""
    one = both[0]
    found = {label: side for side in both if side for label in side.made.labels}
    for label, (steps_forward, steps_backward, trust_forward, trust_backward) in _weights(both).items():
        if one and steps_forward * trust_backward <= steps_backward * trust_forward:
            found[label] = one
    return found


def _probes(frame: int, both: tuple[_Side | None, _Side | None]) -> dict[int, Probes]:
    asked = {label: side.made.probes.get(frame, {}).get(label) for label, side in _leading(both).items()}
    return {label: points for label, points in asked.items() if points is not None}


def _weights(both: tuple[_Side | None, _Side | None]) -> dict[int, tuple[int, int, float, float]]:
    """What fusing asks of each object that both passes carry: steps forward and backward, trust forward and backward.

    Trust that is not known yet reads as 1; the digests of the same frame are then not known either.
    """
    one, other = both
    if one is None or other is None:
        return {}
    return {
        label: (
            one.steps[label],
            other.steps[label],
            one.trust.get(label, CERTAIN)["combined"],
            other.trust.get(label, CERTAIN)["combined"],
        )
        for label in one.made.labels
        if label in other.made.labels
    }


def _shares(planes: Mapping[int, NDArray[np.uint8]]) -> dict[int, NDArray[np.float32]]:
    return {label: plane.astype(np.float32) / np.float32(255) for label, plane in planes.items()}


def _joined(
    label: int, sides: Sequence[Mapping[int, NDArray[np.float32]]], weights: tuple[int, int, float, float] | None
) -> NDArray[np.float32]:
    """One object's probability [H, W] from one direction or, where both know it, from both."""
    known = [side[label] for side in sides if label in side]
    if len(known) == 1 or weights is None:
        return known[0]
    forward, backward = (np.stack([1 - plane, plane]) for plane in known)
    steps_forward, steps_backward, trust_forward, trust_backward = weights
    return np.asarray(
        fuse(
            forward,
            backward,
            steps_forward,
            steps_backward,
            trust_forward=[trust_forward],
            trust_backward=[trust_backward],
        )[1]
    )

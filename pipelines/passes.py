"""Passes of the propagate stage: one tracker in one direction from trusted masks, chunk by chunk, kept as it goes.

A pass starts with a fresh tracker from the masks at its first frame; it may have been shown a trusted frame that lies
ahead, and it is given refined masks on its way. Its chunks are chained by snapshots of the tracker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_bytes, digest_of
from tam_edit.engine.stage import Product, Stage, Unit, pack_frames, record_digests
from tam_edit.engine.store import Record
from tam_edit.masks import Mask, pack_planes, unpack_planes
from tam_edit.models.probes import surest_points
from tam_edit.pipelines.arrays import pack_arrays, unpack_arrays
from tam_edit.pipelines.blobs import BlobCache
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.keyframes import KeyMask, exclusive

STAGE = Stage("propagate", 2)
DOUBTFUL_BELOW = 0.5
"""Trust below which a pass notes where a segmenter could be asked."""
PROBES = 3
"""Points inside, and as many outside."""

Points = tuple[tuple[int, int], ...]
Probes = tuple[Points, Points]
"""Points (x, y) surely inside an object and surely just outside it."""


class Tracker(Protocol):
    """Carries masks from frame to frame, in whichever direction the frames are fed."""

    @property
    def labels(self) -> tuple[int, ...]: ...

    def step(
        self, frame: Rgb, masks: Mapping[int, Mask] | None = None, *, last: bool = False, cut: bool = False
    ) -> NDArray[np.float32]:
        """Probabilities [1 + K, H, W], background first, labels ascending."""
        ...

    def teach(self, frame: Rgb, masks: Mapping[int, Mask]) -> None:
        """Show a trusted frame from elsewhere in the clip."""
        ...

    def trust(self) -> Mapping[int, Any]: ...

    def snapshot(self) -> dict[str, NDArray[Any]]: ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None: ...


@runtime_checkable
class ProbingTracker(Protocol):
    """A tracker that knows by its memory where the object is surest, and not only by the probability."""

    def probes(self, label: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Points (x, y) inside and just outside, int64 [n, 2], of the last step."""
        ...


class TrackerEngine(Protocol):
    """Makes trackers; `identity` names engine, version, weights and settings for keys."""

    @property
    def identity(self) -> str: ...

    @property
    def chunk(self) -> int:
        """Frames between two snapshots."""
        ...

    @property
    def crosses_cuts(self) -> bool:
        """Whether its memory finds an object again after a cut."""
        ...

    def make(self) -> Tracker: ...


@dataclass(frozen=True)
class Given:
    """A mask that a pass starts from: its digest (None while it must run first) and its pixels."""

    digest: str | None
    load: Callable[[], Mask]

    @classmethod
    def of(cls, mask: KeyMask) -> Given:
        return cls(mask.digest, mask.load)


@dataclass(frozen=True)
class Journey:
    """What one pass is to do: frames start, start + step, ... stop.

    masks: what it starts from, by label. ahead: a trusted frame further on that it has seen, and the masks there.
    refined: masks that it is given on its way, by frame and label.
    """

    start: int
    stop: int
    step: int
    masks: Mapping[int, Given]
    ahead: tuple[int, Mapping[int, KeyMask]] | None = None
    refined: Mapping[int, Mapping[int, KeyMask]] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(sorted(self.masks))


@dataclass(frozen=True)
class Pass:
    """What a pass came to: digests by frame, the records that hold the planes, trust, and where to ask."""

    labels: tuple[int, ...] = ()
    digests: dict[int, str | None] = field(default_factory=dict)
    records: dict[int, tuple[Record, int]] = field(default_factory=dict)  # frame -> record, place in it
    trust: dict[int, dict[int, dict[str, float]]] = field(default_factory=dict)
    probes: dict[int, dict[int, Probes]] = field(default_factory=dict)


class Passes:
    """Runs passes within the frames that are wanted, and loads their planes."""

    def __init__(self, context: Context, engine: TrackerEngine, wanted: FrameSpan, round: str) -> None:
        self.context, self.engine, self.wanted, self.round = context, engine, wanted, round
        self._planes = BlobCache(context.runner.store, "planes")

    def run(self, journey: Journey) -> Pass:
        """Run or reuse every chunk of a pass."""
        result = Pass(journey.labels)
        memory: str | None = None
        former: Record | None = None
        live: dict[str, Tracker] = {}  # the tracker after the last chunk that ran, under its snapshot's digest
        for chunk in _pieces(self._within_limit(journey), self.engine.chunk):
            unit = self._unit(journey, chunk, memory)

            def compute(chunk: range = chunk, former: Record | None = former) -> Product:
                tracker = live.pop(former.blobs["memory"], None) if former is not None else None
                return self._compute(tracker or self._begun(journey, former), journey, chunk, live)

            former = self.context.runner.obtain(unit, compute)
            memory = former.blobs["memory"] if former else None
            _take_in(result, former, unit.span)
        return result

    def planes(self, made: Pass, frame: int) -> dict[int, NDArray[np.uint8]]:
        """Each object's probability on a frame, 0..255 [H, W], by label; empty where the pass did not go."""
        if frame not in made.records:
            return {}
        record, place = made.records[frame]
        return dict(zip(made.labels, unpack_planes(self._planes.frames(record)[place]), strict=True))

    def _within_limit(self, journey: Journey) -> range:
        """Cut a pass where nothing further on is wanted; what lies before must be gone through in any case.

        A chunk that is begun is gone through to its end: cut short it would be run again by the run that goes on.
        """
        step, size = journey.step, self.engine.chunk
        last = self.wanted.stop - 1 if step > 0 else self.wanted.start
        wanted = max((last - journey.start) * step + 1, 0)
        whole = -(-wanted // size) * size
        return range(journey.start, journey.stop + step, step)[:whole]

    def _unit(self, journey: Journey, chunk: range, memory: str | None) -> Unit:
        reads: dict[str, Mapping[int, str | None]] = {"picture": self.context.picture_reads(chunk)}
        if chunk[0] == journey.start:
            given = [journey.masks[label].digest for label in journey.labels]
            reads["mask"] = {chunk[0]: None if None in given else digest_of(given)}
            if journey.ahead is not None:
                far, shown = journey.ahead
                reads["far keyframe"] = {far: _masks_digest(shown, self.context.picture_digest(far))}
        else:
            reads["tracker's memory"] = {chunk[0] - journey.step: memory}
        refined = {frame: _masks_digest(journey.refined[frame]) for frame in chunk if frame in journey.refined}
        if refined:
            reads["refined mask"] = refined
        settings = {
            "tracker": self.engine.identity,
            "objects": journey.labels,
            "cuts": [frame - chunk[0] for frame in chunk if self._is_cut(frame, journey.step)],
            "refined": [abs(frame - chunk[0]) for frame in refined],
            "doubtful below": DOUBTFUL_BELOW,
        }
        span = FrameSpan(min(chunk), max(chunk) + 1)
        return Unit(STAGE, span, settings, reads, "forward" if journey.step > 0 else "backward", self.round)

    def _is_cut(self, frame: int, step: int) -> bool:
        """Whether the frame begins another shot as seen by a pass."""
        return (frame if step > 0 else frame + 1) in self.context.cuts

    def _begun(self, journey: Journey, former: Record | None) -> Tracker:
        """A tracker as it was after the former chunk, or a fresh one that has seen the trusted frame ahead."""
        tracker = self.engine.make()
        if former is not None:
            tracker.restore(unpack_arrays(self.context.runner.store.blob(former, "memory")))
        elif journey.ahead is not None:
            far, shown = journey.ahead
            tracker.teach(self.context.rgb(far), exclusive({label: mask.load() for label, mask in shown.items()}))
        return tracker

    def _compute(self, tracker: Tracker, journey: Journey, chunk: range, live: dict[str, Tracker]) -> Product:
        """Step through one chunk; results are kept in the clip's order whatever the direction."""
        span = FrameSpan(min(chunk), max(chunk) + 1)
        pictures = list(self.context.rgb_span(span))
        trust: dict[int, dict[str, dict[str, float]]] = {}
        probes: dict[int, dict[str, Any]] = {}
        packed: dict[int, bytes] = {}
        for frame in chunk:
            first = frame == journey.start
            said: Mapping[int, Given | KeyMask] = journey.masks if first else journey.refined.get(frame, {})
            given = exclusive({label: mask.load() for label, mask in said.items()}) or None
            cut = self._is_cut(frame, journey.step) and not first
            probability = tracker.step(pictures[frame - span.start], given, cut=cut)
            packed[frame] = pack_planes(np.rint(probability[1:] * np.float32(255)).astype(np.uint8))
            trust[frame] = {str(label): trust_parts(parts) for label, parts in tracker.trust().items()}
            doubtful = [label for label in tracker.labels if _is_doubtful(trust[frame], label)]
            if doubtful:
                probes[frame] = {str(label): _probes(tracker, probability, label) for label in doubtful}
        frames = [packed[frame] for frame in span.indices()]
        memory = pack_arrays(tracker.snapshot())
        live.clear()
        live[digest_bytes(memory)] = tracker
        return Product(
            [digest_bytes(frame) for frame in frames],
            {"planes": pack_frames(frames), "memory": memory},
            {
                "trust": {str(frame): trust[frame] for frame in span.indices()},
                "probes": {str(frame): probes[frame] for frame in span.indices() if frame in probes},
            },
        )


def trust_parts(parts: Any) -> dict[str, float]:
    """An engine's trust as plain numbers: `combined` and what it is made of, rounded to four places."""
    names = [name for name in dir(type(parts)) if isinstance(getattr(type(parts), name), property)]
    fields = list(getattr(parts, "__dataclass_fields__", {}))
    found = {name: round(float(getattr(parts, name)), 4) for name in (*fields, *names)}
    if "combined" not in found:  # an engine that leaves the joining to us: no part may be low
        found["combined"] = round(math.prod(found.values()) ** (1 / max(len(found), 1)), 4)
    return found


def _is_doubtful(trust: Mapping[str, Mapping[str, float]], label: int) -> bool:
    return str(label) in trust and trust[str(label)]["combined"] < DOUBTFUL_BELOW


def _probes(tracker: Tracker, probability: NDArray[np.float32], label: int) -> list[list[list[int]]]:
    """Where a segmenter could be asked, as plain lists: by affinity where the tracker has one, else by probability."""
    if isinstance(tracker, ProbingTracker):
        found = tracker.probes(label, PROBES)
    else:
        plane = 1 + tracker.labels.index(label)
        found = surest_points(probability.argmax(axis=0) == plane, probability[plane], probability[plane], PROBES)
    return [points.tolist() for points in found]


def _take_in(result: Pass, record: Record | None, span: FrameSpan) -> None:
    result.digests.update(record_digests(record, span))
    if record is None:
        return
    for place, frame in enumerate(span.indices()):
        result.records[frame] = (record, place)
    for frame_text, parts in record.facts["trust"].items():
        result.trust[int(frame_text)] = {int(label): found for label, found in parts.items()}
    for frame_text, asked in record.facts["probes"].items():
        result.probes[int(frame_text)] = {
            int(label): (_points(inside), _points(outside)) for label, (inside, outside) in asked.items()
        }


def _points(found: list[list[int]]) -> Points:
    return tuple((x, y) for x, y in found)


def _masks_digest(masks: Mapping[int, KeyMask], *more: str) -> str | None:
    digests = [mask.digest for mask in masks.values()]
    return None if None in digests else digest_of((sorted(masks), digests, more))


def _pieces(travel: range, size: int) -> Iterator[range]:
    for at in range(0, len(travel), size):
        yield travel[at : at + size]

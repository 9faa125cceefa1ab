"""The propagate stage: from trusted masks on some frames to label maps on all, span by span, chunk by chunk.

Within a *region* (a shot, or the whole clip for a tracker with a memory that outlives cuts) keyframes cut the frames
into spans. A *pass* goes through one span in one direction with a fresh tracker, which starts from the masks at the
span's near keyframe and has seen the far one; its chunks are chained by snapshots of the tracker. Where two passes
meet they are fused. So a correction changes what the two spans beside it read, and no others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_bytes, digest_of
from tam_edit.engine.stage import (
    FrameSeries,
    Product,
    Stage,
    Unit,
    pack_frames,
    packed_product,
    record_digests,
)
from tam_edit.engine.store import Record
from tam_edit.masks import LabelMap, Mask, pack_label_map, pack_planes, unpack_label_map, unpack_planes
from tam_edit.models.fusion import fuse
from tam_edit.pipelines.arrays import pack_arrays, unpack_arrays
from tam_edit.pipelines.blobs import BlobCache
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.keyframes import Keyframes, KeyMask, exclusive

STAGE = Stage("propagate", 1)


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
class Tubes:
    """Label maps frame by frame, and how far each object's mask can be trusted there.

    maps: frames of shots in which nothing was marked have no entry. trust: by frame, then label: 0..1 with its parts.
    """

    maps: FrameSeries[LabelMap]
    trust: Mapping[int, Mapping[int, Mapping[str, float]]]
    regions: tuple[FrameSpan, ...]


@dataclass(frozen=True)
class _Pass:
    """One direction through one span: digests by frame and the records that hold the planes."""

    labels: tuple[int, ...] = ()
    digests: dict[int, str | None] = field(default_factory=dict)
    records: dict[int, tuple[Record, int]] = field(default_factory=dict)  # frame -> record, place in it
    trust: dict[int, dict[int, dict[str, float]]] = field(default_factory=dict)


def propagate(context: Context, keys: Keyframes, engine: TrackerEngine, limit: FrameSpan | None = None) -> Tubes:
    """Run or reuse every pass and fuse them to label maps.

    limit: only frames in this span are asked for; passes stop there and later runs go on from their snapshots.
    """
    regions = [context.source.span] if engine.crosses_cuts else list(context.shots)
    regions = [region for region in regions if any(frame in region for frame in keys)]
    context.runner.stage(STAGE.name, sum(map(len, regions)))
    digests: dict[int, str | None] = {}
    trust: dict[int, Mapping[int, Mapping[str, float]]] = {}
    records: dict[int, tuple[Record, int]] = {}
    for region in regions:
        wanted = region if limit is None else region.intersect(limit)
        if len(wanted) == 0:
            continue
        found = _Region(context, engine, region, wanted, {at: keys[at] for at in keys if at in region}).run()
        digests |= found.digests
        trust |= found.trust
        records |= found.records
    cache = BlobCache(context.runner.store, "maps")

    def load(frame: int) -> LabelMap:
        record, place = records[frame]
        return unpack_label_map(cache.frames(record)[place])

    return Tubes(FrameSeries(digests, load), trust, tuple(regions))


class _Region:
    """The spans of one region, forward, backward and fused."""

    def __init__(
        self, context: Context, engine: TrackerEngine, region: FrameSpan, wanted: FrameSpan, keys: Keyframes
    ) -> None:
        self.context, self.engine, self.region, self.wanted, self.keys = context, engine, region, wanted, keys
        self.frames = sorted(keys)
        self.planes = BlobCache(context.runner.store, "planes")

    def run(self) -> _Pass:
        """All label maps of the region that are wanted."""
        forward = self._direction(self.frames, self.region.stop - 1, 1)
        backward = self._direction(self.frames[::-1], self.region.start, -1)
        result = _Pass()
        edges = [self.region.start, *self.frames, self.region.stop]
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            ahead = forward.get(edges[index]) if index > 0 else None
            back = backward.get(edges[index + 1]) if index + 1 < len(edges) - 1 else None
            # A keyframe belongs to the span that it begins; where objects are that it does not speak for is known
            # from the passes that arrive at it.
            arriving = forward.get(edges[index - 1]) if index > 1 else None
            self._fuse(FrameSpan(start, stop), (ahead, back), (arriving, back), result)
        return result

    def _direction(self, starts: Sequence[int], end: int, step: int) -> dict[int, _Pass]:
        """Passes in one direction by the keyframe they start from."""
        passes: dict[int, _Pass] = {}
        carried: dict[int, tuple[str | None, Any]] = {}
        known: set[int] = set()
        for index, start in enumerate(starts):
            given = dict(self.keys[start])
            if step < 0:
                # "Absent from here" says nothing of the time before.
                gone = {label for label, mask in given.items() if mask.absent}
                given = {label: mask for label, mask in given.items() if label not in gone}
                known -= gone
            known |= given.keys()
            far = starts[index + 1] if index + 1 < len(starts) else None
            # The far keyframe itself is stepped to only if it does not say where all objects are.
            if far is None:
                stop = end
            else:
                stop = far if known - self.keys[far].keys() else far - step
            masks = {label: (mask.digest, mask.load) for label, mask in given.items()}
            masks |= {label: carried[label] for label in known - given.keys() if label in carried}
            passes[start] = made = self._pass(start, stop, step, masks, far) if masks and stop != start else _Pass()
            carried = self._carried(made, far, known) if far is not None else {}
        return passes

    def _carried(self, made: _Pass, far: int, known: set[int]) -> dict[int, tuple[str | None, Any]]:
        """What the pass came to at the far keyframe for the objects that are not given there."""
        missing = known - self.keys[far].keys()
        if far not in made.digests:
            return {}

        def load(label: int) -> Mask:
            record, place = made.records[far]
            planes = unpack_planes(self.planes.frames(record)[place])
            return np.asarray(planes[made.labels.index(label)] >= 128)

        digest = made.digests[far]
        return {
            label: (None if digest is None else digest_of((digest, label)), lambda label=label: load(label))
            for label in sorted(missing & set(made.labels))
        }

    def _pass(
        self, start: int, stop: int, step: int, masks: Mapping[int, tuple[str | None, Any]], far: int | None
    ) -> _Pass:
        """One direction through one span: frames start, start + step, ... stop."""
        travel = self._within_limit(range(start, stop + step, step), step)
        labels = tuple(sorted(masks))
        result = _Pass(labels)
        memory: str | None = None
        live: dict[str, Tracker] = {}  # the tracker after the last chunk that ran, under its snapshot's digest
        for chunk in _pieces(travel, self.engine.chunk):
            first = chunk[0] == start
            unit = self._unit(chunk, first, step, labels, masks, far, memory)
            former = result.records[chunk[0] - step][0] if not first and chunk[0] - step in result.records else None

            def compute(chunk: range = chunk, first: bool = first, former: Record | None = former) -> Product:
                tracker = live.pop(former.blobs["memory"], None) if former is not None else None
                if tracker is None:
                    tracker = self.engine.make()
                    if former is not None:
                        tracker.restore(unpack_arrays(self.context.runner.store.blob(former, "memory")))
                    elif far is not None:
                        self._teach(tracker, far, labels)
                product = self._compute(tracker, chunk, {} if not first else masks, step)
                live.clear()
                live[digest_bytes(product.blobs["memory"])] = tracker
                return product

            record = self.context.runner.obtain(unit, compute)
            memory = record.blobs["memory"] if record else None
            span = FrameSpan(min(chunk), max(chunk) + 1)
            result.digests.update(record_digests(record, span))
            if record:
                for place, frame in enumerate(span.indices()):
                    result.records[frame] = (record, place)
                for frame_text, parts in record.facts["trust"].items():
                    result.trust[int(frame_text)] = {int(label): found for label, found in parts.items()}
        return result

    def _within_limit(self, travel: range, step: int) -> range:
        """Cut a pass where nothing further on is wanted; what lies before must be gone through in any case."""
        last = self.wanted.stop - 1 if step > 0 else self.wanted.start
        edge = min(travel[-1], last) if step > 0 else max(travel[-1], last)
        return range(travel[0], edge + step, step)

    def _unit(
        self,
        chunk: range,
        first: bool,
        step: int,
        labels: tuple[int, ...],
        masks: Mapping[int, tuple[str | None, Any]],
        far: int | None,
        memory: str | None,
    ) -> Unit:
        reads: dict[str, Mapping[int, str | None]] = {"picture": self.context.picture_reads(chunk)}
        if first:
            given = [masks[label][0] for label in labels]
            reads["mask"] = {chunk[0]: None if None in given else digest_of(given)}
            if far is not None and (shown := self._shown(far, labels)):
                digests = [mask.digest for mask in shown.values()]
                known = digest_of((sorted(shown), digests, self.context.picture_digest(far)))
                reads["far keyframe"] = {far: None if None in digests else known}
        else:
            reads["tracker's memory"] = {chunk[0] - step: memory}
        settings = {
            "tracker": self.engine.identity,
            "objects": labels,
            "cuts": [frame - chunk[0] for frame in chunk if self._is_cut(frame, step)],
        }
        span = FrameSpan(min(chunk), max(chunk) + 1)
        return Unit(STAGE, span, settings, reads, variant="forward" if step > 0 else "backward")

    def _is_cut(self, frame: int, step: int) -> bool:
        """Whether the frame begins another shot as seen by a pass."""
        return (frame if step > 0 else frame + 1) in self.context.cuts

    def _shown(self, far: int, labels: Sequence[int]) -> dict[int, KeyMask]:
        """Objects of a pass that the far keyframe shows: there is nothing to learn from one that is absent."""
        return {label: mask for label, mask in self.keys[far].items() if label in labels and not mask.absent}

    def _teach(self, tracker: Tracker, far: int, labels: Sequence[int]) -> None:
        if shown := self._shown(far, labels):
            tracker.teach(self.context.rgb(far), exclusive({label: mask.load() for label, mask in shown.items()}))

    def _compute(
        self, tracker: Tracker, chunk: range, masks: Mapping[int, tuple[str | None, Any]], step: int
    ) -> Product:
        """Step through one chunk; results are kept in the clip's order whatever the direction."""
        span = FrameSpan(min(chunk), max(chunk) + 1)
        pictures = list(self.context.rgb_span(span))
        trust: dict[int, dict[str, dict[str, float]]] = {}
        packed: dict[int, bytes] = {}
        for frame in chunk:
            given = None
            if masks and frame == chunk[0]:
                given = exclusive({label: load() for label, (_, load) in masks.items()})
            cut = self._is_cut(frame, step) and not given
            probability = tracker.step(pictures[frame - span.start], given, cut=cut)
            packed[frame] = pack_planes(np.rint(probability[1:] * np.float32(255)).astype(np.uint8))
            trust[frame] = {str(label): trust_parts(parts) for label, parts in tracker.trust().items()}
        frames = [packed[frame] for frame in span.indices()]
        return Product(
            [digest_bytes(frame) for frame in frames],
            {"planes": pack_frames(frames), "memory": pack_arrays(tracker.snapshot())},
            {"trust": {str(frame): trust[frame] for frame in span.indices()}},
        )

    def _fuse(
        self,
        span: FrameSpan,
        inside: tuple[_Pass | None, _Pass | None],
        at_start: tuple[_Pass | None, _Pass | None],
        result: _Pass,
    ) -> None:
        """Label maps of one span from its two passes; `at_start` are the passes that meet on its first frame."""
        for whole in span.chunks(self.engine.chunk):
            chunk = whole.intersect(self.wanted)
            if len(chunk) == 0:
                continue
            sources = {frame: at_start if frame in self.keys else inside for frame in chunk.indices()}
            reads: dict[str, Mapping[int, str | None]] = {}
            for name, side in (("forward", 0), ("backward", 1)):
                digests = {
                    frame: made.digests[frame]
                    for frame in chunk.indices()
                    if (made := sources[frame][side]) is not None and frame in made.digests
                }
                if digests:
                    reads[name] = digests
            locked = {frame: self.keys[frame] for frame in chunk.indices() if frame in self.keys}
            if locked:
                reads["mask"] = {
                    frame: None
                    if any(mask.digest is None for mask in given.values())
                    else digest_of({label: mask.digest for label, mask in given.items()})
                    for frame, given in locked.items()
                }
            distances = {frame: self._distances(frame, sources[frame]) for frame in chunk.indices()}
            settings = {
                "objects": [
                    [made.labels if made and frame in made.digests else None for made in sources[frame]]
                    for frame in chunk.indices()
                ],
                "keyframes": [sorted(self.keys.get(frame, {})) for frame in chunk.indices()],
                "frames to the keyframes": list(distances.values()),
                "size": self.context.source.size_wh,
            }
            unit = Unit(STAGE, chunk, settings, reads, variant="fused")

            def compute(chunk: FrameSpan = chunk, sources: Any = sources, distances: Any = distances) -> Product:
                maps = [self._label_map(frame, sources[frame], distances[frame]) for frame in chunk.indices()]
                return packed_product([pack_label_map(label_map) for label_map in maps], "maps")

            record = self.context.runner.obtain(unit, compute)
            result.digests.update(record_digests(record, chunk))
            for place, frame in enumerate(chunk.indices()):
                if record:
                    result.records[frame] = (record, place)
                result.trust[frame] = self._trust(frame, sources[frame], distances[frame])

    def _distances(self, frame: int, passes: tuple[_Pass | None, _Pass | None]) -> dict[int, tuple[int, int]]:
        """Frames to the keyframes before and after, of each object that both passes carry there: what fusing asks."""
        sides = [set(made.labels) if made is not None and frame in made.digests else set() for made in passes]
        found = {}
        for label in sorted(sides[0] & sides[1]):
            mine = [at for at in self.frames if label in self.keys[at]]
            before = max(at for at in mine if at <= frame)
            after = min(at for at in mine if at >= frame)
            found[label] = (frame - before, after - frame)
        return found

    def _label_map(
        self, frame: int, passes: tuple[_Pass | None, _Pass | None], distances: Mapping[int, tuple[int, int]]
    ) -> LabelMap:
        width, height = self.context.source.size_wh
        sides = [self._side(frame, made) for made in passes]
        given = {label: mask.load() for label, mask in self.keys.get(frame, {}).items()}
        labels = sorted(set().union(*sides) - given.keys())
        label_map: LabelMap = np.zeros((height, width), np.uint8)
        if labels:
            chances = np.stack([_joined(label, sides, distances.get(label, (0, 0))) for label in labels])
            background = np.clip(1 - chances.sum(axis=0), 0, 1)
            best = np.argmax(chances, axis=0)
            wins = np.take_along_axis(chances, best[None], axis=0)[0] > background
            label_map[wins] = np.asarray(labels, np.uint8)[best[wins]]
        for label, mask in exclusive(given).items():
            label_map[label_map == label] = 0
            label_map[mask] = label
        return label_map

    def _side(self, frame: int, made: _Pass | None) -> dict[int, NDArray[np.float32]]:
        if made is None or frame not in made.records:
            return {}
        record, place = made.records[frame]
        planes = unpack_planes(self.planes.frames(record)[place]).astype(np.float32) / np.float32(255)
        return dict(zip(made.labels, planes, strict=True))

    def _trust(
        self, frame: int, passes: tuple[_Pass | None, _Pass | None], distances: Mapping[int, tuple[int, int]]
    ) -> dict[int, dict[str, float]]:
        """The parts of whichever pass is nearer to its keyframe; a locked mask is certain."""
        found: dict[int, dict[str, float]] = {}
        for before, made in zip((True, False), passes, strict=True):
            for label, parts in (made.trust.get(frame, {}) if made is not None else {}).items():
                nearer = label not in found or distances[label][0] > distances[label][1]
                if before or nearer:
                    found[label] = parts
        found |= {label: {"combined": 1.0} for label in self.keys.get(frame, {})}
        return found


def _joined(
    label: int, sides: Sequence[Mapping[int, NDArray[np.float32]]], distance: tuple[int, int]
) -> NDArray[np.float32]:
    """One object's probability [H, W] from one direction or, where both know it, from both."""
    known = [side[label] for side in sides if label in side]
    if len(known) == 1:
        return known[0]
    stacks = [np.stack([1 - plane, plane]) for plane in known]
    return np.asarray(fuse(stacks[0], stacks[1], *distance)[1])


def trust_parts(parts: Any) -> dict[str, float]:
    """An engine's trust as plain numbers: `combined` and what it is made of, rounded to four places."""
    names = [name for name in dir(type(parts)) if isinstance(getattr(type(parts), name), property)]
    fields = list(getattr(parts, "__dataclass_fields__", {}))
    found = {name: round(float(getattr(parts, name)), 4) for name in (*fields, *names)}
    if "combined" not in found:  # an engine that leaves the joining to us: no part may be low
        found["combined"] = round(math.prod(found.values()) ** (1 / max(len(found), 1)), 4)
    return found


def _pieces(travel: range, size: int) -> Iterator[range]:
    for at in range(0, len(travel), size):
        yield travel[at : at + size]

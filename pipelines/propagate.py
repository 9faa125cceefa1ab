"""The propagate stage: from trusted masks on some frames to label maps on all, span by span, chunk by chunk.

Within a *region* (a shot, or the whole clip for a tracker with a memory that outlives cuts) keyframes cut the frames
into spans. A *pass* (passes.py) goes through one span in one direction with a fresh tracker, which starts from the
masks at the span's near keyframe and has seen the far one. Where two passes meet they are fused (fusing.py). So a
correction changes what the two spans beside it read, and no others.

Refined masks (refine.py) are keyframes of a softer kind: a pass is given them on its way and goes on with all that it
remembers; only beyond the last keyframe of a person does the outermost one begin a pass of its own, back to that one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_of
from tam_edit.engine.stage import FrameSeries
from tam_edit.masks import LabelMap, unpack_label_map
from tam_edit.pipelines.blobs import BlobCache
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.fusing import Fused, Fusing
from tam_edit.pipelines.keyframes import Keyframes, KeyMask
from tam_edit.pipelines.passes import STAGE, Given, Journey, Pass, Passes, Probes, TrackerEngine


@dataclass(frozen=True)
class Tubes:
    """Label maps frame by frame, and how far each object's mask can be trusted there.

    maps: frames of shots in which nothing was marked have no entry. trust: by frame, then label: 0..1 with its parts.
    probes: where a segmenter could be asked about a doubtful mask, by frame, then label.
    """

    maps: FrameSeries[LabelMap]
    trust: Mapping[int, Mapping[int, Mapping[str, float]]]
    regions: tuple[FrameSpan, ...]
    probes: Mapping[int, Mapping[int, Probes]] = field(default_factory=dict)


class RefinedMask(KeyMask, Protocol):
    """A mask that a segmenter made of a tracked one, with how far it is trusted."""

    @property
    def trust(self) -> Mapping[str, float]: ...


Refined = Mapping[int, Mapping[int, RefinedMask]]
"""Refined masks by frame, then by label."""


def propagate(
    context: Context,
    keys: Keyframes,
    engine: TrackerEngine,
    limit: FrameSpan | None = None,
    refined: Refined | None = None,
) -> Tubes:
    """Run or reuse every pass and fuse them to label maps.

    limit: only frames in this span are asked for; passes stop there and later runs go on from their snapshots.
    refined: masks to go through besides the trusted ones; then this is the second round.
    """
    regions = regions_of(context, keys, engine)
    context.runner.stage(STAGE.name, sum(map(len, regions)))
    found = Fused()
    for region in regions:
        wanted = region if limit is None else region.intersect(limit)
        if len(wanted) == 0:
            continue
        soft = {at: masks for at, masks in sorted((refined or {}).items()) if at in region}
        passes = Passes(context, engine, wanted, "" if refined is None else "refined")
        _Region(passes, region, {at: keys[at] for at in keys if at in region}, soft).run(found)
    cache = BlobCache(context.runner.store, "maps")

    def load(frame: int) -> LabelMap:
        record, place = found.records[frame]
        return unpack_label_map(cache.frames(record)[place])

    return Tubes(FrameSeries(found.digests, load), found.trust, tuple(regions), found.probes)


def regions_of(context: Context, keys: Keyframes, engine: TrackerEngine) -> list[FrameSpan]:
    """The stretches that are tracked by themselves: the shots in which something is marked, or the whole clip."""
    regions = [context.source.span] if engine.crosses_cuts else list(context.shots)
    return [region for region in regions if any(frame in region for frame in keys)]


class _Region:
    """The spans of one region, forward, backward and fused."""

    def __init__(self, passes: Passes, region: FrameSpan, keys: Keyframes, refined: Refined) -> None:
        self.passes, self.region, self.keys, self.refined = passes, region, keys, refined

    def run(self, result: Fused) -> None:
        """All label maps of the region that are wanted."""
        forward = self._direction(self._starts(1), self.region.stop - 1, 1)
        backward = self._direction(self._starts(-1), self.region.start, -1)
        trusted = {at: {label: mask.trust for label, mask in masks.items()} for at, masks in self.refined.items()}
        fusing = Fusing(self.passes, forward, backward, self.keys, trusted)
        for start, stop in itertools.pairwise([self.region.start, *self.keys, self.region.stop]):
            for whole in FrameSpan(start, stop).chunks(self.passes.engine.chunk):
                chunk = whole.intersect(self.passes.wanted)
                if len(chunk):
                    fusing.fuse(chunk, result)

    def _starts(self, step: int) -> Keyframes:
        """Where passes of one direction begin, in its order: on keyframes, and on an object's outermost refined mask.

        Only one that lies beyond all keyframes of the object, so that the frames up to it are gone through both ways.
        """
        starts = {at: dict(masks) for at, masks in self.keys.items()}
        for label in {label for masks in self.keys.values() for label in masks}:
            mine = [at * step for at, masks in self.keys.items() if label in masks]
            beyond = [at * step for at, masks in self.refined.items() if label in masks and at * step < min(mine)]
            if beyond:
                at = min(beyond) * step
                starts.setdefault(at, {})[label] = self.refined[at][label]
        return dict(sorted(starts.items(), key=lambda item: item[0] * step))

    def _direction(self, starts: Keyframes, end: int, step: int) -> dict[int, Pass]:
        """Passes in one direction by the frame they start from."""
        made: dict[int, Pass] = {}
        carried: dict[int, Given] = {}
        known: set[int] = set()
        for start, far in itertools.zip_longest(starts, list(starts)[1:]):
            given = dict(starts[start])
            if step < 0:
                # "Absent from here" says nothing of the time before.
                gone = {label for label, mask in given.items() if mask.absent}
                given = {label: mask for label, mask in given.items() if label not in gone}
                known -= gone
            known |= given.keys()
            # The far start itself is stepped to only if it does not say where all objects are.
            if far is None:
                stop = end
            else:
                stop = far if known - starts[far].keys() else far - step
            masks = {label: Given.of(mask) for label, mask in given.items()}
            masks |= {label: carried[label] for label in known - given.keys() if label in carried}
            made[start] = self._pass(start, stop, step, masks, far) if masks and stop != start else Pass()
            carried = self._carried(made[start], far, known - starts[far].keys()) if far is not None else {}
        return made

    def _pass(self, start: int, stop: int, step: int, masks: Mapping[int, Given], far: int | None) -> Pass:
        # There is nothing to learn from an object that is absent, and only a person's masks are shown out of time.
        shown = {} if far is None else self.keys.get(far, {})
        shown = {label: mask for label, mask in shown.items() if label in masks and not mask.absent}
        on_the_way: dict[int, dict[int, KeyMask]] = {}
        for at, given in self.refined.items():
            mine = {label: mask for label, mask in given.items() if label in masks}
            if mine and min(start, stop) <= at <= max(start, stop) and at != start:
                on_the_way[at] = dict(mine)
        ahead = (far, shown) if far is not None and shown else None
        return self.passes.run(Journey(start, stop, step, masks, ahead, on_the_way))

    def _carried(self, made: Pass, far: int, labels: set[int]) -> dict[int, Given]:
        """What the pass came to at the far start for the objects that are not given there."""
        if far not in made.digests:
            return {}

        def given(label: int) -> Given:
            digest = made.digests[far]
            return Given(
                None if digest is None else digest_of((digest, label)),
                lambda: np.asarray(self.passes.planes(made, far)[label] >= 128),
            )

        return {label: given(label) for label in sorted(labels & set(made.labels))}

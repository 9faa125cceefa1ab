"""Stages whose units look at neighbours in time: chunk by chunk within shots, never across a cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tam_edit.clip import FrameSpan
from tam_edit.engine.stage import FrameSeries, record_digests
from tam_edit.engine.store import Record
from tam_edit.pipelines.blobs import BlobCache
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.propagate import Tubes

T = TypeVar("T")


def by_shot(
    context: Context,
    tubes: Tubes,
    size: int,
    run: Callable[[FrameSpan, FrameSpan], Record | None],
    unpack: Callable[[bytes], T],
) -> FrameSeries[T]:
    """Run or reuse every chunk of the regions with marks, and unpack frames from the blob "frames" when asked for.

    run: the stretch (a region's part of one shot), the chunk of at most `size` frames in it -> its record.
    """
    cache = BlobCache(context.runner.store, "frames")
    digests: dict[int, str | None] = {}
    records: dict[int, tuple[Record, int]] = {}
    for region in tubes.regions:
        for shot in context.shots:
            stretch = region.intersect(shot)
            for chunk in stretch.chunks(size):
                record = run(stretch, chunk)
                digests.update(record_digests(record, chunk))
                if record is not None:
                    records.update({frame: (record, place) for place, frame in enumerate(chunk.indices())})

    def load(frame: int) -> T:
        record, place = records[frame]
        return unpack(cache.frames(record)[place])

    return FrameSeries(digests, load)

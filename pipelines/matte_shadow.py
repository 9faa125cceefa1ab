"""The shadow stage: what removal takes along because it goes where the objects go, frame by frame."""

from __future__ import annotations

import numpy as np

from tam_edit.clip import FrameSpan
from tam_edit.engine.stage import FrameSeries, Product, Stage, Unit, packed_product
from tam_edit.engine.store import Record
from tam_edit.masks import LabelMap, Mask, MaskTube, pack_label_map, unpack_label_map
from tam_edit.pipelines.by_shot import by_shot
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.propagate import Tubes

STAGE = Stage("shadow", 1)
CHUNK = 16
REACH = 12
"""Frames looked at to each side, as models.matting.shadow does; never across a cut."""


def shadows(context: Context, tubes: Tubes, labels: tuple[int, ...]) -> FrameSeries[Mask]:
    """The shadow of the objects without the objects, bool [H, W], for all frames of the regions with marks."""
    context.runner.stage(STAGE.name, sum(map(len, tubes.regions)))
    return by_shot(
        context,
        tubes,
        CHUNK,
        lambda stretch, chunk: _chunk(context, tubes, labels, stretch, chunk),
        lambda blob: np.asarray(unpack_label_map(blob) > 0),
    )


def shadow_tube(context: Context, tubes: Tubes, labels: tuple[int, ...]) -> MaskTube:
    """The shadows as a tube of one object, "shadow"."""
    found = shadows(context, tubes, labels)
    width, height = context.source.size_wh

    def load(frame: int) -> LabelMap:
        if found.digests.get(frame) is None:
            return np.zeros((height, width), np.uint8)
        return found.load(frame).astype(np.uint8)

    return MaskTube(("shadow",), context.source.frames, (width, height), load)


def _chunk(
    context: Context, tubes: Tubes, labels: tuple[int, ...], stretch: FrameSpan, chunk: FrameSpan
) -> Record | None:
    looks = stretch.intersect(FrameSpan(max(chunk.start - REACH, 0), chunk.stop + REACH))
    # Motion over long ways is measured between fixed frames of the shot, so where the chunk lies in it counts.
    settings = {"objects": labels, "place": chunk.start - stretch.start, "before": chunk.start - looks.start}
    reads = {"mask": tubes.maps.reads(looks.indices()), "picture": context.picture_reads(looks.indices())}

    def read(at: int) -> tuple[Rgb, Mask]:
        frame = stretch.start + at
        return context.rgb(frame), np.isin(tubes.maps.load(frame), labels)

    def compute() -> Product:
        from tam_edit.models.matting.shadow import Shadows

        finder = Shadows(read, looks.stop - stretch.start, looks.start - stretch.start)
        found = [finder.found(frame - stretch.start) for frame in chunk.indices()]
        return packed_product([pack_label_map(shadow.astype(np.uint8)) for shadow in found])

    return context.runner.obtain(Unit(STAGE, chunk, settings, reads), compute)

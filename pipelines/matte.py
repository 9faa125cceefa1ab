"""The matte stage: from hard label maps to the soft alpha of what is to be replaced."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.engine.stage import FrameSeries, Product, Stage, Unit, packed_product, record_digests
from tam_edit.engine.store import Record
from tam_edit.masks import LabelMap, Mask, Matte, box_of, pack_planes, unpack_planes
from tam_edit.pipelines.blobs import BlobCache
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.propagate import Tubes

STAGE = Stage("matte", 1)
CHUNK = 16


@dataclass(frozen=True)
class MatteSettings:
    """Which pixels count and how soft their edge is.

    role: "hole" for what is filled, "kept" for what stays before a background. labels: the objects; invert: everything
    but them; dilate_px grows the chosen region; feather_px is the width of the edge beyond it, over which alpha falls
    from 1 to 0.
    """

    role: str
    labels: tuple[int, ...]
    invert: bool
    dilate_px: int
    feather_px: float


@dataclass(frozen=True)
class Mattes:
    """Alpha by frame; boxes (x0, y0, x1, y1) tell without loading where it is not zero, None that it is nowhere."""

    series: FrameSeries[Matte]
    boxes: dict[int, tuple[int, int, int, int] | None]

    def has_hole(self, frame: int) -> bool:
        """Whether anything is replaced on a frame; True also while that is not yet known."""
        return frame in self.series.digests and self.boxes.get(frame, (0, 0, 1, 1)) is not None


def usual_dilate_px(size_wh: tuple[int, int]) -> int:
    """What removal grows masks by unless told: 1 % of the short side, at least 2 px, for contours that sit tight."""
    return max(2, round(min(size_wh) / 100))


def usual_feather_px(size_wh: tuple[int, int]) -> float:
    """The soft edge unless told: half a per cent of the short side, at least 1 px."""
    return float(max(1, round(min(size_wh) / 200)))


def mattes(context: Context, tubes: Tubes, settings: MatteSettings) -> Mattes:
    """Alpha for all frames of the regions in which something was marked."""
    context.runner.stage(STAGE.name, sum(map(len, tubes.regions)))
    cache = BlobCache(context.runner.store, "frames")
    digests: dict[int, str | None] = {}
    boxes: dict[int, tuple[int, int, int, int] | None] = {}
    records: dict[int, tuple[Record, int]] = {}
    for region in tubes.regions:
        for chunk in region.chunks(CHUNK):
            record = _chunk(context, tubes, settings, chunk)
            digests.update(record_digests(record, chunk))
            if record is not None:
                for place, frame in enumerate(chunk.indices()):
                    records[frame] = (record, place)
                    box = record.facts["boxes"][place]
                    boxes[frame] = None if box is None else (box[0], box[1], box[2], box[3])

    def load(frame: int) -> Matte:
        record, place = records[frame]
        return Matte.of(unpack_planes(cache.frames(record)[place])[0].astype(np.float32) / np.float32(255))

    return Mattes(FrameSeries(digests, load), boxes)


def _chunk(context: Context, tubes: Tubes, settings: MatteSettings, chunk: FrameSpan) -> Record | None:
    unit = Unit(
        STAGE,
        chunk,
        {
            "objects": settings.labels,
            "invert": settings.invert,
            "dilate_px": settings.dilate_px,
            "feather_px": settings.feather_px,
        },
        {"mask": tubes.maps.reads(chunk.indices())},
        variant=settings.role,
    )

    def compute() -> Product:
        packed, found = [], []
        for frame in chunk.indices():
            alpha = soft_edge(chosen(tubes.maps.load(frame), settings), settings.dilate_px, settings.feather_px)
            packed.append(pack_planes(alpha[None]))
            found.append(box_of(alpha))
        return packed_product(packed, boxes=found)

    return context.runner.obtain(unit, compute)


def chosen(label_map: LabelMap, settings: MatteSettings) -> Mask:
    """The region meant, bool [H, W]."""
    mask = np.isin(label_map, settings.labels)
    return np.asarray(~mask if settings.invert else mask)


def soft_edge(mask: Mask, dilate_px: int, feather_px: float) -> NDArray[np.uint8]:
    """Alpha of a mask, uint8 [H, W]: 255 within dilate_px of it, falling to 0 over the next feather_px."""
    import cv2

    alpha = np.zeros(mask.shape, np.uint8)
    box = box_of(mask)
    if box is None:
        return alpha
    reach = dilate_px + math.ceil(feather_px) + 2
    x0, y0 = max(box[0] - reach, 0), max(box[1] - reach, 0)
    x1, y1 = min(box[2] + reach, mask.shape[1]), min(box[3] + reach, mask.shape[0])
    inner = mask[y0:y1, x0:x1]
    if inner.all():
        alpha[y0:y1, x0:x1] = 255
        return alpha
    # Distance from the centre of each pixel outside to the nearest one inside: 1 for direct neighbours.
    away = cv2.distanceTransform((~inner).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    if feather_px > 0:
        soft = np.clip((np.float32(dilate_px + feather_px + 1) - away) / np.float32(feather_px + 1), 0, 1)
    else:
        soft = (away <= dilate_px).astype(np.float32)
    alpha[y0:y1, x0:x1] = np.rint(soft * np.float32(255)).astype(np.uint8)
    return alpha

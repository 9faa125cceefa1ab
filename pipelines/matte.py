"""The matte stage: from masks, hard and soft, to the alpha of what is replaced or kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.engine.stage import FrameSeries, Product, Stage, Unit, packed_product, record_digests
from tam_edit.engine.store import Record
from tam_edit.masks import Mask, Matte, box_of, pack_planes, unpack_planes
from tam_edit.pipelines.blobs import BlobCache
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.matte_shadow import shadows
from tam_edit.pipelines.matte_soft import SoftMasks, SoftSettings, chosen, soften
from tam_edit.pipelines.propagate import Tubes

STAGE = Stage("matte", 2)
CHUNK = 16
FAINT = 26
"""Soft alpha, of 255, from which on a pixel shows so much of an object that removal takes it along."""

NOWHERE = (
    "what was chosen has no pixel on any frame, so nothing is done for it: see what is marked (tam-edit status), and "
    "whether it is shrunk away (--erode)"
)


@dataclass(frozen=True)
class MatteSettings:
    """Which pixels count and how soft their edge is.

    role: "hole" for what is filled, "kept" for what stays before a background. labels: the objects; invert: everything
    but them. offset_px grows the region, shrinks it below 0. feather_px: a hole's alpha falls from 1 to 0 over so
    many pixels beyond the region; what is kept has its own soft edge made so much wider, half to each side.
    style: "auto" (refined against the picture), "contour" (smoothed contour) or "hard" (the mask's own pixels).
    smooth: hold edges still in time. mend: fill small holes, leave out specks. shadow: a hole takes attached shadows
    along.
    """

    role: str
    labels: tuple[int, ...]
    invert: bool
    offset_px: int
    feather_px: float
    style: str = "auto"
    smooth: bool = True
    mend: bool = True
    shadow: bool = False


@dataclass(frozen=True)
class Mattes:
    """Alpha by frame; boxes (x0, y0, x1, y1) tell without loading where it is not zero, None that it is nowhere."""

    series: FrameSeries[Matte]
    boxes: dict[int, tuple[int, int, int, int] | None]

    def has_hole(self, frame: int) -> bool:
        """Whether anything is replaced on a frame; True also while that is not yet known."""
        return frame in self.series.digests and self.boxes.get(frame, (0, 0, 1, 1)) is not None


def usual_dilate_px(size_wh: tuple[int, int]) -> int:
    """What removal grows masks by unless told: 1 % of the short side, at least 2 px.

    The refined edge comes on top where it shows more of the object (docs/replace.md has the figures).
    """
    return max(2, round(min(size_wh) / 100))


def usual_feather_px(size_wh: tuple[int, int]) -> float:
    """A hole's soft edge unless told: half a per cent of the short side, at least 1 px."""
    return float(max(1, round(min(size_wh) / 200)))


def mattes(context: Context, tubes: Tubes, settings: MatteSettings) -> Mattes:
    """Alpha for all frames of the regions in which something was marked."""
    soft = None
    if settings.style != "hard":
        soft = soften(
            context, tubes, SoftSettings(settings.labels, settings.style, settings.smooth, mend=settings.mend)
        )
    shadow = shadows(context, tubes, settings.labels) if settings.shadow else None
    context.runner.stage(STAGE.name, sum(map(len, tubes.regions)))
    cache = BlobCache(context.runner.store, "frames")
    digests: dict[int, str | None] = {}
    boxes: dict[int, tuple[int, int, int, int] | None] = {}
    records: dict[int, tuple[Record, int]] = {}
    for region in tubes.regions:
        for chunk in region.chunks(CHUNK):
            record = _chunk(context, tubes, soft, shadow, settings, chunk)
            digests.update(record_digests(record, chunk))
            if record is not None:
                for place, frame in enumerate(chunk.indices()):
                    records[frame] = (record, place)
                    box = record.facts["boxes"][place]
                    boxes[frame] = None if box is None else (box[0], box[1], box[2], box[3])

    def load(frame: int) -> Matte:
        record, place = records[frame]
        return Matte.of(unpack_planes(cache.frames(record)[place])[0].astype(np.float32) / np.float32(255))

    # A result on which nothing was done must not pass for one.
    if boxes.keys() == digests.keys() and not any(boxes.values()):
        context.runner.ledger.warn(NOWHERE)
    return Mattes(FrameSeries(digests, load), boxes)


def _chunk(
    context: Context,
    tubes: Tubes,
    soft: SoftMasks | None,
    shadow: FrameSeries[Mask] | None,
    settings: MatteSettings,
    chunk: FrameSpan,
) -> Record | None:
    hole = settings.role == "hole"
    reads = {}
    if hole or soft is None:
        reads["mask"] = tubes.maps.reads(chunk.indices())
    if soft is not None:
        reads["soft mask"] = soft.reads(chunk.indices())
    if shadow is not None:
        reads["shadow"] = shadow.reads(chunk.indices())
    unit = Unit(
        STAGE,
        chunk,
        {
            "objects": settings.labels,
            "invert": settings.invert,
            "offset_px": settings.offset_px,
            "feather_px": settings.feather_px,
            "mend": settings.mend,
        },
        reads,
        variant=settings.role,
    )

    def compute() -> Product:
        packed, found = [], []
        for frame in chunk.indices():
            smooth = None if soft is None else soft.load(frame)
            dark = None if shadow is None else shadow.load(frame)
            alpha = _hole(tubes, smooth, dark, settings, frame) if hole else _kept(tubes, smooth, settings, frame)
            packed.append(pack_planes(alpha[None]))
            found.append(box_of(alpha))
        return packed_product(packed, boxes=found)

    return context.runner.obtain(unit, compute)


def _hole(
    tubes: Tubes, soft: NDArray[np.uint8] | None, shadow: Mask | None, settings: MatteSettings, frame: int
) -> NDArray[np.uint8]:
    """What removal replaces: never less than the mask, unless it is to be shrunk."""
    label_map = tubes.maps.load(frame)
    mask = np.isin(label_map, settings.labels)  # specks are objects too: nothing of them may stay
    if settings.mend:
        mask |= chosen(label_map, settings.labels, mend=True)
    if shadow is not None:
        mask |= shadow
    if settings.invert:
        mask = ~mask
    if soft is not None:
        mask |= (255 - soft if settings.invert else soft) >= FAINT
    return soft_edge(mask, settings.offset_px, settings.feather_px)


def _kept(tubes: Tubes, soft: NDArray[np.uint8] | None, settings: MatteSettings, frame: int) -> NDArray[np.uint8]:
    """What stays before a background."""
    if soft is None:
        mask = chosen(tubes.maps.load(frame), settings.labels, mend=settings.mend)
        soft = mask.astype(np.uint8) * np.uint8(255)
    return grown_edge(255 - soft if settings.invert else soft, settings.offset_px, settings.feather_px)


def grown_edge(alpha: NDArray[np.uint8], offset_px: int, feather_px: float) -> NDArray[np.uint8]:
    """Soft alpha grown (shrunk below 0) by offset_px and its edge made wider by feather_px, uint8 [H, W]."""
    from tam_edit.models.matting import shifted, softened

    box = box_of(alpha)
    if box is None or (offset_px == 0 and feather_px <= 0):
        return alpha
    reach = max(offset_px, 0) + math.ceil(feather_px) + 2
    x0, y0 = max(box[0] - reach, 0), max(box[1] - reach, 0)
    x1, y1 = min(box[2] + reach, alpha.shape[1]), min(box[3] + reach, alpha.shape[0])
    part = alpha[y0:y1, x0:x1].astype(np.float32)
    result = np.zeros_like(alpha)
    result[y0:y1, x0:x1] = np.rint(softened(shifted(part, offset_px), feather_px)).astype(np.uint8)
    return result


def soft_edge(mask: Mask, offset_px: int, feather_px: float) -> NDArray[np.uint8]:
    """A hole's alpha, uint8 [H, W]: 255 within offset_px of the mask, falling to 0 over the next feather_px.

    Below 0, offset_px shrinks the mask first.
    """
    import cv2

    alpha = np.zeros(mask.shape, np.uint8)
    box = box_of(mask)
    if box is None:
        return alpha
    reach = max(offset_px, 0) + math.ceil(feather_px) + 2
    x0, y0 = max(box[0] - reach, 0), max(box[1] - reach, 0)
    x1, y1 = min(box[2] + reach, mask.shape[1]), min(box[3] + reach, mask.shape[0])
    inner = mask[y0:y1, x0:x1]
    if inner.all():
        alpha[y0:y1, x0:x1] = 255
        return alpha
    # Distance from the centre of each pixel outside to the nearest one inside: 1 for direct neighbours.
    away = cv2.distanceTransform((~inner).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    if offset_px < 0:
        away += 1 - cv2.distanceTransform(inner.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).clip(1)
    if feather_px > 0:
        soft = np.clip((np.float32(offset_px + feather_px + 1) - away) / np.float32(feather_px + 1), 0, 1)
    else:
        soft = (away <= offset_px).astype(np.float32)
    alpha[y0:y1, x0:x1] = np.rint(soft * np.float32(255)).astype(np.uint8)
    return alpha

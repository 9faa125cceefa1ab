"""The soften stage: from hard label maps to soft alpha that follows the picture's edges and holds still in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.engine.stage import FrameSeries, Product, Stage, Unit, packed_product
from tam_edit.engine.store import Record
from tam_edit.masks import Box, LabelMap, Mask, box_of, pack_planes, unpack_planes
from tam_edit.models.classic.fill_scene import Recent
from tam_edit.models.matting import (
    Field,
    Motion,
    coverage,
    mended,
    motions,
    refined,
    signed_distance,
    steadied,
)
from tam_edit.pipelines.by_shot import by_shot
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.propagate import Tubes

STAGE = Stage("soften", 2)
CHUNK = 16
REACH = 2
"""Frames looked at to each side when edges are held still; never across a cut."""

BAND_SHARE: float = 1 / 68
LEAST_BAND_PX = 3
STEADY_LIMIT_PX = 8.0


@dataclass(frozen=True)
class SoftSettings:
    """What the soft edge of objects comes from.

    labels: the objects. style: "auto" (contour, refined against the picture) or "contour" (smoothed contour only).
    smooth: hold edges still in time. mend: fill small holes and leave out specks.
    """

    labels: tuple[int, ...]
    style: str
    smooth: bool
    mend: bool


SoftMasks = FrameSeries[NDArray[np.uint8]]
"""By frame: alpha of the objects together, uint8 [H, W]."""


def soften(context: Context, tubes: Tubes, settings: SoftSettings) -> SoftMasks:
    """Soft alpha for all frames of the regions in which something was marked."""
    context.runner.stage(STAGE.name, sum(map(len, tubes.regions)))
    return by_shot(
        context,
        tubes,
        CHUNK,
        lambda stretch, chunk: _chunk(context, tubes, settings, stretch, chunk),
        lambda blob: np.asarray(unpack_planes(blob)[0]),
    )


def _chunk(
    context: Context, tubes: Tubes, settings: SoftSettings, stretch: FrameSpan, chunk: FrameSpan
) -> Record | None:
    reach = REACH if settings.smooth else 0
    looks = stretch.intersect(FrameSpan(max(chunk.start - reach, 0), chunk.stop + reach))
    needs_pictures = settings.smooth or settings.style == "auto"
    unit = Unit(
        STAGE,
        chunk,
        {
            "objects": settings.labels,
            "matte": settings.style,
            "smooth": settings.smooth,
            "mend": settings.mend,
            # How many of the frames that are read lie before: where the shot begins there are fewer.
            "before": chunk.start - looks.start,
        },
        {
            "mask": tubes.maps.reads(looks.indices()),
            **({"picture": context.picture_reads(looks.indices())} if needs_pictures else {}),
        },
    )

    def compute() -> Product:
        softener = Softener(context.rgb, tubes.maps.load, settings, looks)
        return packed_product([pack_planes(softener.alpha(frame)[None]) for frame in chunk.indices()])

    return context.runner.obtain(unit, compute)


class Softener:
    """Makes soft masks of single frames; each is a function of the frames within REACH of it in its shot, only.

    read: a frame's picture, uint8 RGB [H, W, 3]; read_map: its label map; span: the frames that may be looked at.
    """

    def __init__(
        self,
        read: Callable[[int], Rgb],
        read_map: Callable[[int], LabelMap],
        settings: SoftSettings,
        span: FrameSpan,
    ) -> None:
        self._read, self._read_map, self.settings, self.span = read, read_map, settings, span
        kept = 2 * REACH + 2
        self._masks: Recent[Mask] = Recent(kept)
        self._pictures: Recent[Rgb] = Recent(kept)
        self._fields: Recent[Field | None] = Recent(kept)
        self._motions: Recent[tuple[Motion, Motion]] = Recent(kept)

    def alpha(self, frame: int) -> NDArray[np.uint8]:
        """Alpha of all chosen objects on a frame, uint8 [H, W]."""
        mask = self.mask(frame)
        alpha = np.zeros(mask.shape, np.uint8)
        field = self._field(frame)
        if field is None:
            return alpha
        distance = self._steady(frame, field) if self.settings.smooth else field.distance
        (x0, y0), (height, width) = field.at_xy, distance.shape
        part = slice(y0, y0 + height), slice(x0, x0 + width)
        if self.settings.style == "auto":
            soft = refined(distance, self._pictures.get_or(frame, self._read)[part], band_px(mask))
        else:
            soft = coverage(distance)
        alpha[part] = np.rint(soft * np.float32(255)).astype(np.uint8)
        return alpha

    def mask(self, frame: int) -> Mask:
        """The chosen objects on a frame, bool [H, W]."""
        return self._masks.get_or(frame, self._chosen)

    def _chosen(self, frame: int) -> Mask:
        return chosen(self._read_map(frame), self.settings.labels, mend=self.settings.mend)

    def _field(self, frame: int) -> Field | None:
        return self._fields.get_or(frame, self._measure)

    def _measure(self, frame: int) -> Field | None:
        mask = self.mask(frame)
        box = box_of(mask)
        if box is None:
            return None
        x0, y0, x1, y1 = _wider(box, 3 * band_px(mask), mask)
        return Field(signed_distance(mask[y0:y1, x0:x1]), (x0, y0))

    def _steady(self, frame: int, field: Field) -> NDArray[np.float32]:
        return steadied(field, self._side(frame, -1), self._side(frame, 1), STEADY_LIMIT_PX)

    def _side(self, frame: int, step: int) -> list[tuple[Motion, Field]]:
        """Neighbours in one direction as far as the object is there, with the motion from each to the next."""
        found = []
        for count in range(1, REACH + 1):
            at = frame + step * count
            field = self._field(at) if at in self.span else None
            if field is None:
                break
            pair = self._motions.get_or(min(at, at - step), self._move)
            found.append((pair[0] if step > 0 else pair[1], field))
        return found

    def _move(self, frame: int) -> tuple[Motion, Motion]:
        """The object's motion to the next frame and back, on the part where it is on either."""
        import cv2

        masks = [self.mask(frame), self.mask(frame + 1)]
        box = box_of(masks[0] | masks[1])
        if box is None:
            raise AssertionError("motion is asked for only where the object is")
        x0, y0, x1, y1 = _wider(box, 3 * band_px(masks[0]), masks[0])
        pictures = [self._pictures.get_or(at, self._read)[y0:y1, x0:x1] for at in (frame, frame + 1)]
        greys = [np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8) for rgb in pictures]
        parts = [mask[y0:y1, x0:x1] for mask in masks]
        return motions(greys[0], greys[1], parts[0], parts[1], (x0, y0), band_px(masks[0]))


def band_px(mask: Mask) -> int:
    """How far from the contour the picture may change alpha: follows from the picture's size."""
    height, width = mask.shape
    return max(LEAST_BAND_PX, round(BAND_SHARE * min(int(height), int(width))))


def chosen(label_map: LabelMap, labels: tuple[int, ...], *, mend: bool) -> Mask:
    """The objects together, bool [H, W]; mend: each without its small holes and specks."""
    if not mend:
        return np.isin(label_map, labels)
    free = label_map == 0
    mask = np.zeros(label_map.shape, bool)
    for label in labels:
        mask |= mended(label_map == label, free)
    return mask


def _wider(box: Box, margin: int, mask: Mask) -> Box:
    height, width = mask.shape
    return max(box[0] - margin, 0), max(box[1] - margin, 0), min(box[2] + margin, width), min(box[3] + margin, height)

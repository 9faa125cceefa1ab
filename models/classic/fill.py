"""Video inpainting without weights: what the hole hides is looked for in the frames around, and copied from there.

Public face of the filling: `fill` streams, `Filler` computes chunks of one shot for a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tam_edit.models.classic.fill_chain import chains, sampled
from tam_edit.models.classic.fill_fuse import CHAIN_LATER, REFERENCE, Candidate, composed, fused, smooth_fill, weighed
from tam_edit.models.classic.fill_membrane import Bools, grown, mean_size
from tam_edit.models.classic.fill_reference import Box, box_around, chosen, registered
from tam_edit.models.classic.fill_scene import Recent, Rgb, Scene

from tam_edit.errors import EngineError, MaskSizeMismatch, UsageError

BOX_MARGIN_PX = 40


@dataclass(frozen=True)
class FillSettings:
    """How far the filling looks and what it trusts. Distances in px are at working size (about 432x240)."""

    reach: int = 48  # frames looked at before and after each frame
    chunk: int = 32  # frames computed together; the unit of caching
    references: int = 8  # single frames registered directly
    sightings: int = 2  # per chain and direction
    guard_px: int = 2  # ring around the mask that is neither copied from nor believed

    def __post_init__(self) -> None:
        if self.reach < 1 or self.chunk < 1 or self.references < 0 or self.sightings < 1 or self.guard_px < 0:
            raise UsageError(f"{self}: reach, chunk and sightings are at least 1, the others at least 0")


class Filler:
    """Fills one shot chunk by chunk; each frame is a function of the frames within reach and of nothing else.

    read(i) -> (uint8 rgb [H, W, 3], bool mask [H, W]) for 0 <= i < frame_count. `warnings` collects what could not
    be filled from other frames.
    """

    def __init__(
        self, read: Callable[[int], tuple[Rgb, Bools]], frame_count: int, settings: FillSettings | None = None
    ) -> None:
        self.settings = settings or FillSettings()
        self.frame_count = frame_count
        self.chunk = self.settings.chunk
        self.warnings: list[str] = []
        self._read = read
        self._scene = Scene(self._checked, 2 * self._span + self.chunk, self.settings.guard_px)
        self._firsts: Recent[Rgb] = Recent(4)

    @property
    def _span(self) -> int:
        """Frames on either side that can influence one frame's result."""
        return self.settings.reach + 1

    def reads(self, start: int, stop: int) -> range:
        """The frames whose picture or mask can influence fill(start, stop)."""
        return range(max(0, start - self._span), min(self.frame_count, stop + self._span))

    def fill(self, start: int, stop: int) -> Iterator[Rgb]:
        """The filled frames start..stop-1 of one chunk: uint8 [H, W, 3] each."""
        if start % self.chunk or stop != min(start + self.chunk, self.frame_count):
            raise UsageError(
                f"frames {start}:{stop} are no chunk: they come {self.chunk} at a time from the shot's start"
            )
        for index in range(start, stop):
            yield self._filled(index)

    def _checked(self, index: int) -> tuple[Rgb, Bools]:
        rgb, mask = self._read(index)
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise EngineError(f"frame {index} is {rgb.dtype} {list(rgb.shape)}, not uint8 [H, W, 3]: convert it first")
        if mask.shape != rgb.shape[:2]:
            raise MaskSizeMismatch(
                f"the mask of frame {index} is {mask.shape[1]}x{mask.shape[0]}, "
                f"its picture {rgb.shape[1]}x{rgb.shape[0]}: scale the mask to the picture"
            )
        return rgb, np.asarray(mask, bool)

    def _filled(self, index: int) -> Rgb:
        rgb, mask = self._scene.picture(index)
        if not mask.any():
            return rgb
        return self._steadied(index)

    def _first(self, index: int) -> Rgb:
        return self._firsts.get_or(index, self._fused)

    def _fused(self, index: int) -> Rgb:
        scene, settings = self._scene, self.settings
        rgb, mask = scene.picture(index)
        if not mask.any():
            return rgb
        points = np.argwhere(mask)[:, ::-1].astype(np.float32)
        hole = scene.small(index).hole
        if hole.all():
            return rgb
        box = box_around(hole, BOX_MARGIN_PX)
        parts = [weighed(scene, index, box, one, settings.guard_px) for one in self._candidates(index, box)]
        total, mass = fused(scene, box, [part for part in parts if part is not None], points)
        smooth, weight = smooth_fill(scene, index, box, points)
        values = (total + weight[:, None] * smooth) / (mass + weight)[:, None]
        return composed(rgb, mask, values)

    def _candidates(self, index: int, box: Box) -> Iterator[Candidate]:
        scene, settings = self._scene, self.settings
        low, high = max(0, index - settings.reach), min(self.frame_count, index + settings.reach + 1)
        hole = box.cut(scene.small(index).hole)
        wanted = grown(hole, settings.guard_px + 12)
        corner = np.array([box.x0, box.y0], np.float32)
        points = np.argwhere(wanted)[:, ::-1].astype(np.float32) + corner
        for direction, stop in ((-1, low), (1, high - 1)):
            for rank, origin in enumerate(chains(scene, index, points, direction, stop, settings.sightings)):
                frame = np.full(hole.shape, -1, np.int32)
                frame[wanted] = origin.frame
                xy = np.zeros((*hole.shape, 2), np.float32)
                xy[wanted] = origin.xy
                drift = np.zeros(hole.shape, np.float32)
                drift[wanted] = origin.drift_px
                yield Candidate(
                    frame, xy, frame >= 0, np.abs(frame - index).astype(np.float32), drift, min(rank, CHAIN_LATER)
                )
        inner = np.argwhere(hole)[:, ::-1].astype(np.float32) + corner
        for frame_index in chosen(scene, index, inner, low, high, settings.references):
            xy, valid = registered(scene, index, frame_index, box)
            frame = np.full(hole.shape, frame_index, np.int32)
            distance = np.full(hole.shape, abs(frame_index - index), np.float32)
            yield Candidate(frame, xy, valid, distance, np.zeros(hole.shape, np.float32), REFERENCE)

    def _steadied(self, index: int) -> Rgb:
        """One temporal pass: the mean with what the neighbours' fills say, weighted by agreement."""
        scene = self._scene
        rgb, mask = scene.picture(index)
        own = self._first(index)[mask].astype(np.float32)
        points = np.argwhere(mask)[:, ::-1].astype(np.float32)
        scale = np.array(scene.scale_xy, np.float32)
        local = (points + 0.5) / scale - 0.5
        total, mass = own.copy(), np.ones(len(own), np.float32)
        for direction in (-1, 1):
            if not 0 <= index + direction < self.frame_count:
                continue
            there = local + sampled(scene.step(index, direction).flow, local)
            source = ((there + 0.5) * scale - 0.5).astype(np.float32)
            other = sampled(self._first(index + direction), source)
            gap = mean_size(other - own)
            inside = ((source >= 0) & (source <= np.array(scene.size_wh) - 1)).all(-1)
            weight = np.where(inside, np.exp(-gap / 12), 0).astype(np.float32)
            total += weight[:, None] * other
            mass += weight
        return composed(rgb, mask, total / mass[:, None])


def fill(
    frames: Iterable[Rgb],
    masks: Iterable[NDArray[np.bool_]],
    *,
    cuts: Sequence[int] = (),
    settings: FillSettings | None = None,
) -> Iterator[Rgb]:
    """Fills the masked pixels of a clip; all others are returned exactly as they came.

    frames: uint8 rgb [H, W, 3] and masks: bool [H, W], iterators or sequences of equal length, read ahead by a
    bounded window; cuts: first frames of new shots, never mixed. Raises MaskSizeMismatch, EngineError, UsageError.
    """
    settings = settings or FillSettings()
    first_frames = {int(cut) for cut in cuts}
    if any(cut < 0 for cut in first_frames):
        raise UsageError("a cut is the index of a shot's first frame: it cannot be negative")
    shot = _Shot(settings)
    frame_source, mask_source = iter(frames), iter(masks)
    index = 0
    while True:
        rgb = next(frame_source, None)
        mask = next(mask_source, None)
        if rgb is None and mask is None:
            break
        if rgb is None or mask is None:
            missing = "frame" if rgb is None else "mask"
            raise UsageError(f"there is no {missing} {index}: frames and masks must be as many")
        if index in first_frames:
            yield from shot.finished()
            shot = _Shot(settings)
        yield from shot.pushed(rgb, np.asarray(mask, bool))
        index += 1
    yield from shot.finished()


class _Shot:
    """One shot of a stream: the window of frames a filler may still read."""

    def __init__(self, settings: FillSettings) -> None:
        self._window: dict[int, tuple[Rgb, Bools]] = {}
        self._filler = Filler(self._window.__getitem__, 0, settings)
        self._next = 0

    def pushed(self, rgb: Rgb, mask: Bools) -> Iterator[Rgb]:
        """Takes one frame; gives a chunk whenever all it reads has come."""
        filler = self._filler
        self._window[filler.frame_count] = (rgb, mask)
        filler.frame_count += 1
        stop = self._next + filler.chunk
        if filler.frame_count >= stop + filler._span:
            yield from self._chunk(stop)

    def finished(self) -> Iterator[Rgb]:
        while self._next < self._filler.frame_count:
            yield from self._chunk(min(self._next + self._filler.chunk, self._filler.frame_count))

    def _chunk(self, stop: int) -> Iterator[Rgb]:
        yield from self._filler.fill(self._next, stop)
        self._next = stop
        for old in [index for index in self._window if index < stop - self._filler._span]:
            del self._window[old]

"""Video inpainting without weights: what the hole hides is looked for in the frames around, and copied from there.

Public face of the filling: `fill` streams, `Filler` computes chunks of one shot for a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, MaskError, MaskSizeMismatch, UsageError
from tam_edit.models.classic.fill_chain import chains
from tam_edit.models.classic.fill_fuse import (
    CHAIN_LATER,
    Candidate,
    Weighed,
    composed,
    fused,
    referred,
    smooth_fill,
    thinned_ring,
    weighed,
    weighed_plate,
)
from tam_edit.models.classic.fill_membrane import Bools, mean_size
from tam_edit.models.classic.fill_pictures import Read, Rgb, sampled
from tam_edit.models.classic.fill_plate import plate_frames
from tam_edit.models.classic.fill_reference import Box, box_around, chosen
from tam_edit.models.classic.fill_scene import Recent, Scene
from tam_edit.models.classic.fill_texture import ANCHOR_EVERY, LEAST_PX, anchored, fetched

BOX_MARGIN_PX = 40
UNSEEN = 0.05  # below this share of the smooth surface's weight, other frames say nothing
FAR_STEP = 12  # frames from one sample of the far plate to the next


WHOLE_PICTURE = "the whole picture is masked, so it was left as it is"
NEVER_SEEN = "a part of the hole is seen in no frame near it, so it was made up"


@dataclass(frozen=True)
class FillSettings:
    """How far the filling looks and what it trusts. Distances in px are at working size (about 432x240)."""

    reach: int = 48  # frames looked at before and after each frame
    chunk: int = 32  # frames computed together; the unit of caching
    references: int = 8  # single frames registered directly
    sightings: int = 2  # per chain and direction
    plate: int = 24  # frames the background plate is made of; 0 for none
    far_reach: int = 192  # frames the plate looks at where a pixel stays hidden throughout the reach
    window_mb: int = 500  # the frames of far_reach must fit, so it is less for large pictures
    texture: float = 0.5  # share of made-up texture where nothing was ever seen; the rest is a smooth surface
    guard_px: int = 2  # ring around the mask that is neither copied from nor believed

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), int(field.name in ("reach", "chunk", "sightings"))
            if field.type == "int" and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise UsageError(f"FillSettings.{field.name} is {value!r}: give a whole number, at least {least}")
        if not 0 <= self.texture <= 1:
            raise UsageError(f"texture is {self.texture}: a share, from 0 (smooth) to 1")


class _Checked:
    """What is read, checked. Apart from Filler, which must not be part of a circle: its pictures would outlive it."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._shape: tuple[int, ...] | None = None

    def __call__(self, index: int) -> tuple[Rgb, Bools]:
        rgb, mask = self._read(index)
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise EngineError(f"frame {index} is {rgb.dtype} {list(rgb.shape)}, not uint8 [H, W, 3]: convert it first")
        if mask.shape != rgb.shape[:2]:
            raise MaskSizeMismatch(
                f"the mask of frame {index} is {mask.shape[1]}x{mask.shape[0]}, "
                f"its picture {rgb.shape[1]}x{rgb.shape[0]}: scale the mask to the picture"
            )
        if self._shape not in (None, rgb.shape):
            raise EngineError(
                f"frame {index} is {list(rgb.shape)}, others are {list(self._shape or ())}: "
                "frames of one shot must be of one size"
            )
        self._shape = rgb.shape
        return rgb, np.asarray(mask, bool)


class Filler:
    """Fills one shot chunk by chunk; each frame is a function of the frames within reach and of nothing else.

    read(i) -> (uint8 rgb [H, W, 3], bool mask [H, W]) for 0 <= i < frame_count. `notes` collects what could not
    be filled from other frames.

    kept_bytes: how much memory full pictures may take (None: as much as those within reach need); what is beyond goes
    to a temporary file in `folder`. Neither changes a result.
    """

    def __init__(
        self,
        read: Read,
        frame_count: int,
        settings: FillSettings | None = None,
        *,
        read_mask: Callable[[int], Bools] | None = None,
        kept_bytes: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.settings = settings or FillSettings()
        self.frame_count = frame_count
        self.chunk = self.settings.chunk
        self._notes: dict[int, str] = {}
        self._read_mask = read_mask or (lambda index: read(index)[1])
        limit = 2 * self.settings.reach + self.chunk + 64
        self._scene = Scene(_Checked(read), limit, self.settings.guard_px, kept_bytes, folder)
        self._raws: Recent[tuple[Rgb, Bools]] = Recent(3)
        self._anchor_raws: Recent[tuple[Rgb, Bools]] = Recent(3)
        self._anchors: Recent[Rgb] = Recent(4)
        self._firsts: Recent[Rgb] = Recent(4)
        self._hiddens: Recent[Bools] = Recent(4096)

    @property
    def notes(self) -> list[tuple[str, list[int]]]:
        """What could not be found in other frames, in words, with the frames filled so far that it is true of."""
        words = dict.fromkeys(self._notes[index] for index in sorted(self._notes))
        return [(said, [index for index in sorted(self._notes) if self._notes[index] == said]) for said in words]

    def looks(self, start: int, stop: int) -> range:
        """The frames whose masks `reads` looks at."""
        margin = self.settings.reach + ANCHOR_EVERY
        return range(max(0, start - 1 - margin), min(self.frame_count, stop + margin))

    def reads(self, start: int, stop: int) -> range:
        """The frames whose picture or mask can influence fill(start, stop).

        Where the masks hide a pixel throughout the reach, the plate looks farther. Reads masks within reach only.
        """
        before = max(0, (start - 1) // ANCHOR_EVERY * ANCHOR_EVERY)
        after = min(self.frame_count, stop + ANCHOR_EVERY)
        first, last = self._near(before).start, self._near(after - 1).stop
        for index in range(before, after):
            far = self._far(index)
            if len(far):
                first, last = min(first, far.start), max(last, far.stop)
        return range(first, last)

    def fill(self, start: int, stop: int) -> Iterator[Rgb]:
        """The filled frames start..stop-1 of one chunk: uint8 [H, W, 3] each."""
        if start % self.chunk or stop != min(start + self.chunk, self.frame_count):
            raise UsageError(
                f"frames {start}:{stop} are no chunk: they come {self.chunk} at a time from the shot's start"
            )
        for index in range(start, stop):
            yield self.frame(index)

    def frame(self, index: int) -> Rgb:
        """One filled frame, the same bytes as in its chunk: uint8 [H, W, 3]. For previews."""
        rgb, mask = self._scene.picture(index)
        if not mask.any():
            return rgb
        return self._first(index) if self._scene.small(index).hole.all() else self._steadied(index)

    def _first(self, index: int) -> Rgb:
        """One frame filled for itself, before the temporal pass."""
        return self._firsts.get_or(index, self._textured)

    def _textured(self, index: int) -> Rgb:
        """The fused frame with texture, made on the nearest anchors, where nothing was ever seen."""
        rgb, unseen = self._raw(index)
        share = self.settings.texture
        scale = self._scene.scale_xy
        if share == 0 or int(unseen.sum()) < LEAST_PX * scale[0] * scale[1]:
            return rgb
        before = index - index % ANCHOR_EVERY
        after = before + ANCHOR_EVERY if before != index and before + ANCHOR_EVERY < self.frame_count else before
        part = (index - before) / ANCHOR_EVERY if after != before else 0.0
        weights = [(before, 1 - part)] if after == before else [(before, 1 - part), (after, part)]
        anchors = [(frame, weight, self._anchors.get_or(frame, self._anchor)) for frame, weight in weights]
        points = np.argwhere(unseen)[:, ::-1].astype(np.float32)
        colour, found = fetched(self._scene, index, points, anchors)
        say = share * found[:, None]
        return composed(rgb, unseen, (1 - say) * rgb[unseen] + say * colour)

    def _raw(self, index: int) -> tuple[Rgb, Bools]:
        """_fused, remembered; anchors for longer, for they are asked for from afar."""
        kept = self._anchor_raws if index % ANCHOR_EVERY == 0 else self._raws
        return kept.get_or(index, self._fused)

    def _anchor(self, index: int) -> Rgb:
        rgb, unseen = self._raw(index)
        return anchored(self._scene, rgb, unseen) if unseen.any() else rgb

    def _fused(self, index: int) -> tuple[Rgb, Bools]:
        """The weighted mean of all candidates, and which pixels no other frame shows: uint8 [H, W, 3], bool [H, W]."""
        scene = self._scene
        rgb, mask = scene.picture(index)
        unseen = np.zeros_like(mask)
        hole = scene.small(index).hole
        if hole.all():
            self._notes[index] = WHOLE_PICTURE
            return rgb, unseen
        if not mask.any():
            return rgb, unseen
        points = np.argwhere(mask)[:, ::-1].astype(np.float32)
        box = box_around(hole, BOX_MARGIN_PX)
        total, mass = fused(scene, box, self._weighed(index, box), points)
        smooth, weight = smooth_fill(scene, index, box, points)
        unseen[mask] = mass < UNSEEN * weight
        part_unseen = float(unseen.sum() / mask.sum())
        if part_unseen > 0.05:
            self._notes[index] = NEVER_SEEN
        values = (total + weight[:, None] * smooth) / (mass + weight)[:, None]
        return composed(rgb, mask, values), unseen

    def _plate_frames(self, index: int) -> list[int]:
        if self.settings.plate == 0:
            return []
        frames = plate_frames(index, self._near(index), self.settings.plate)
        far = [frame for frame in self._far(index) if frame % FAR_STEP == 0 and frame != index]
        frames = sorted({*frames, *far})
        return frames if len(frames) >= 4 else []

    def _near(self, index: int) -> range:
        return range(max(0, index - self.settings.reach), min(self.frame_count, index + self.settings.reach + 1))

    def _far(self, index: int) -> range:
        """What the plate of a frame looks at beyond its reach: nothing, unless a pixel stays hidden throughout it.

        Decided by the masks within reach of the frame alone.
        """
        near = self._near(index)
        far = range(max(0, index - self.far_reach), min(self.frame_count, index + self.far_reach + 1))
        if far == near or not self._hidden(index).any():
            return range(0)
        hidden = self._hidden(index).copy()
        for frame in sorted(near, key=lambda frame: -abs(frame - index)):
            hidden &= self._hidden(frame)
            if int(hidden.sum()) < 4:
                return range(0)
        return far

    def _hidden(self, index: int) -> Bools:
        """The mask at an eighth of the picture's size, pixels that are wholly masked."""
        return self._hiddens.get_or(index, self._shrunk)

    def _shrunk(self, index: int) -> Bools:
        mask = np.asarray(self._read_mask(index), bool)
        size = (max(1, mask.shape[1] // 8), max(1, mask.shape[0] // 8))
        return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99)

    @cached_property
    def far_reach(self) -> int:
        """far_reach as far as window_mb allows for pictures of this size."""
        height, width = self._read_mask(0).shape
        fitting = int(self.settings.window_mb * 10**6 // (6 * height * width))
        return max(self.settings.reach, min(self.settings.far_reach, fitting))

    def _weighed(self, index: int, box: Box) -> list[Weighed]:
        """All candidates with their say.

        References and plate are made in two more threads while this one follows chains. What they need of other
        frames is asked for here first: only this thread ever calls `read`.
        """
        scene, guard_px = self._scene, self.settings.guard_px
        near, hole = self._near(index), box.cut(scene.small(index).hole)
        inner = np.argwhere(hole)[:, ::-1].astype(np.float32) + np.array([box.x0, box.y0], np.float32)
        picked = chosen(scene, index, inner, near.start, near.stop, self.settings.references)
        samples = self._plate_frames(index)
        for frame in samples:
            scene.small(frame)
            scene.camera(index, frame)

        def one(frame: int) -> Weighed | None:
            return weighed(scene, index, box, referred(scene, index, frame, box), guard_px)

        with ThreadPoolExecutor(2) as pool:
            plated = pool.submit(weighed_plate, scene, index, box, samples, guard_px)
            references = pool.map(one, picked)
            chained = [weighed(scene, index, box, chain, guard_px) for chain in self._chained(index, box)]
            parts = [part for part in (*chained, *references) if part is not None]
            return parts + plated.result()

    def _chained(self, index: int, box: Box) -> Iterator[Candidate]:
        scene, settings = self._scene, self.settings
        low, high = self._near(index).start, self._near(index).stop
        hole = box.cut(scene.small(index).hole)
        wanted = hole | thinned_ring(scene, index, box, settings.guard_px)
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
            if not 0 <= index + direction < self.frame_count or scene.small(index + direction).hole.all():
                continue
            there = local + sampled(scene.step(index, direction).flow, local)
            source = ((there + 0.5) * scale - 0.5).astype(np.float32)
            other = sampled(self._first(index + direction), source, cv2.INTER_CUBIC)
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
    bounded window; cuts: first frames of new shots, never mixed.
    Raises MaskError, MaskSizeMismatch, EngineError, UsageError.
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
        yield from shot.pushed(*_arrays(rgb, mask, index))
        index += 1
    yield from shot.finished()


def _arrays(rgb: Rgb, mask: NDArray[np.bool_], index: int) -> tuple[Rgb, Bools]:
    """A frame and its mask as arrays; their sizes are compared when they are read."""
    flags = np.asarray(mask, bool)
    if flags.ndim != 2:
        raise MaskError(f"the mask of frame {index} has shape {list(flags.shape)}: give one [H, W] for each frame")
    return np.asarray(rgb), flags


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
        if filler.frame_count >= stop + ANCHOR_EVERY + filler.far_reach:
            yield from self._chunk(stop)

    def finished(self) -> Iterator[Rgb]:
        while self._next < self._filler.frame_count:
            yield from self._chunk(min(self._next + self._filler.chunk, self._filler.frame_count))

    def _chunk(self, stop: int) -> Iterator[Rgb]:
        for index, filled in enumerate(self._filler.fill(self._next, stop), self._next):
            # Who draws on a result must not draw on what later frames are filled from.
            yield filled.copy() if filled is self._window[index][0] else filled
        self._next = stop
        for old in [index for index in self._window if index < stop - ANCHOR_EVERY - self._filler.far_reach]:
            del self._window[old]

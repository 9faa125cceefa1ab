"""Altering objects: another colour, out of focus, in squares, or a picture in their place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_of
from tam_edit.engine.stage import Product, Stage, Unit
from tam_edit.models.classic.oklab import from_oklab, to_oklab
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.encode import Layer
from tam_edit.pipelines.likeness import samples
from tam_edit.pipelines.matte import Mattes
from tam_edit.pipelines.stack import Under
from tam_edit.pipelines.tracks import Box, Track, shots_with

COLOUR_STAGE = Stage("object colour", 1)
BLUR_SHARE = 1 / 6
LEAST_BLOCK_PX = 4
Floats = NDArray[np.float32]
Reads = Mapping[str, Mapping[int, str | None]]


class Change(Protocol):
    """What is done to the pixels of an object."""

    def digest(self, frame: int) -> str | None:
        """Of everything that shapes the change on a frame; None while that is not known."""
        ...

    def changed(self, rgb: Rgb, alpha: Floats, frame: int, at_xy: tuple[int, int]) -> Rgb:
        """The pixels [h, w, 3] of the matte's box at (x, y), changed."""
        ...


@dataclass(frozen=True)
class Altered:
    """A change of what a matte shows, made on the picture as the effects below left it."""

    under: Under
    mattes: Mattes
    change: Change
    whole: bool = False
    """Every pixel that the matte touches is changed wholly: for a change under another effect's edge."""

    def reads(self, frames: Iterable[int]) -> Reads:
        shown = [frame for frame in frames if self.mattes.has_hole(frame)]
        return {
            "matte": self.mattes.series.reads(shown),
            # What lies under it is told by the list that both stand in.
            "change": {frame: self.change.digest(frame) for frame in shown},
        }

    def layer(self, frame: int) -> Layer | None:
        if not self.mattes.has_hole(frame):
            return None
        matte = self.mattes.series.load(frame)
        (x, y), (height, width) = matte.offset_xy, matte.alpha.shape
        pixels = self.under.rgb(frame)[y : y + height, x : x + width]
        alpha = (matte.alpha > 0).astype(np.float32) if self.whole else matte.alpha
        return Layer(self.change.changed(pixels, matte.alpha, frame, (x, y)), alpha, (x, y))


@dataclass(frozen=True)
class Recolouring:
    """Another colour by Oklab: the object's middle lightness comes to the colour's, light and shade around it stay.

    lightness: the object's median L by frame's shot, None where it is not known yet.
    """

    colour_rgb: tuple[int, int, int]
    lightness: Mapping[int, float | None]

    def digest(self, frame: int) -> str | None:
        here = self.lightness.get(frame)
        return None if here is None else digest_of(("recolour", self.colour_rgb, here))

    def changed(self, rgb: Rgb, alpha: Floats, frame: int, at_xy: tuple[int, int]) -> Rgb:  # noqa: ARG002
        here = self.lightness[frame]
        if here is None:
            raise AssertionError("a frame was asked for before its colour")
        wanted = to_oklab(np.array([self.colour_rgb], np.uint8))[0]
        goal = float(np.clip(wanted[0], 0.02, 0.98))
        # A power keeps black black and white white, and moves what is between smoothly.
        power = float(np.clip(math.log(goal) / math.log(float(np.clip(here, 0.02, 0.98))), 0.2, 5.0))
        light = np.power(np.clip(to_oklab(rgb)[..., 0], 0, 1), np.float32(power))
        # In shade a surface's chroma falls with its lightness; a highlight has the colour of the light, not its own.
        shade = np.minimum(light / np.float32(goal), (1 - light) / np.float32(1 - goal))
        lab = np.stack([light, wanted[1] * shade, wanted[2] * shade], axis=-1).astype(np.float32)
        return from_oklab(lab)


def middle_lightness(context: Context, mattes: Mattes) -> dict[int, float | None]:
    """The object's median lightness over each shot, for every frame of it; its own stage, since pictures are read."""
    found: dict[int, float | None] = {}
    for shot in shots_with(context, mattes):
        shown = [frame for frame in shot.indices() if mattes.has_hole(frame)]
        if not shown:
            continue
        if any(mattes.series.digests[frame] is None for frame in shown):
            picked = shown[:1]  # a plan: that it is not known is all there is to say
        else:
            picked = [shown[at] for at in samples(FrameSpan(0, len(shown)))]
        unit = Unit(
            COLOUR_STAGE,
            shot,
            {},
            {"picture": context.picture_reads(picked), "matte": mattes.series.reads(picked)},
        )

        def compute(picked: list[int] = picked, count: int = len(shot)) -> Product:
            value = _median(context, mattes, picked)
            return Product([digest_of(value)] * count, facts={"lightness": value})

        record = context.runner.obtain(unit, compute)
        found.update(dict.fromkeys(shown, None if record is None else float(record.facts["lightness"])))
    return found


def _median(context: Context, mattes: Mattes, frames: list[int]) -> float:
    values = []
    for frame in frames:
        matte = mattes.series.load(frame)
        (x, y), (height, width) = matte.offset_xy, matte.alpha.shape
        pixels = context.rgb(frame)[y : y + height, x : x + width]
        inside = pixels[matte.alpha > 0.5] if (matte.alpha > 0.5).any() else pixels[matte.alpha > 0]
        values.append(float(np.median(to_oklab(inside)[:, 0])))
    return float(np.median(values))


@dataclass(frozen=True)
class Blurring:
    """Out of focus with the object's own colours only; sigma_px None: a sixth of its short side where it is largest."""

    sigma_px: float | None
    track: Track

    def digest(self, frame: int) -> str | None:
        if not self.track.known:
            return None
        return digest_of(("blur", self._sigma_px(frame)))

    def _sigma_px(self, frame: int) -> float:
        box = _box(self.track, frame)
        return self.sigma_px if self.sigma_px is not None else max(1.0, box.largest[0] * BLUR_SHARE)

    def changed(self, rgb: Rgb, alpha: Floats, frame: int, at_xy: tuple[int, int]) -> Rgb:  # noqa: ARG002
        import cv2

        sigma_px = self._sigma_px(frame)
        # Zeros beyond the box: what counts is divided by how much of it there was.
        weighed = np.dstack([rgb * alpha[..., None], alpha])
        mixed = cv2.GaussianBlur(weighed, (0, 0), sigma_px, borderType=cv2.BORDER_CONSTANT)
        colour = mixed[..., :3] / np.maximum(mixed[..., 3:], np.float32(1e-6))
        return np.asarray(np.clip(np.rint(colour), 0, 255), np.uint8)


@dataclass(frozen=True)
class Pixelating:
    """In squares, each the mean of what the object has there; the grid goes along with the object.

    A square's side is the same through a shot, that of `blocks` across the short side where the object is largest, so
    that a face that comes nearer is never seen in more squares than this. Squares that stay with the object average the
    same part of it again and again: a grid that stands still would give away more with every frame.
    """

    blocks: int
    track: Track

    def digest(self, frame: int) -> str | None:
        if not self.track.known:
            return None
        return digest_of(("pixelate", self._grid(frame)))

    def _grid(self, frame: int) -> tuple[int, int, int]:
        """Side of a square, and a corner of the grid (x, y)."""
        box = _box(self.track, frame)
        side = max(LEAST_BLOCK_PX, math.ceil(box.largest[0] / self.blocks))
        return side, round(box.centre_xy[0]) % side, round(box.centre_xy[1]) % side

    def changed(self, rgb: Rgb, alpha: Floats, frame: int, at_xy: tuple[int, int]) -> Rgb:
        side, grid_x, grid_y = self._grid(frame)
        height, width = alpha.shape
        rows = (np.arange(height) + at_xy[1] - grid_y) // side
        columns = (np.arange(width) + at_xy[0] - grid_x) // side
        cell = (rows - rows[0])[:, None] * (columns[-1] - columns[0] + 1) + (columns - columns[0])[None]
        count = int(cell.max()) + 1
        weight = np.bincount(cell.ravel(), alpha.ravel().astype(np.float64), count)
        sums = [np.bincount(cell.ravel(), (rgb[..., at] * alpha).ravel().astype(np.float64), count) for at in range(3)]
        means = np.stack(sums, axis=-1) / np.maximum(weight, 1e-9)[:, None]
        return np.asarray(np.clip(np.rint(means), 0, 255).astype(np.uint8)[cell])


@dataclass(frozen=True)
class Following:
    """A picture [h, w, 4] over the frame that follows a track's boxes, as large as fits into them."""

    rgba: NDArray[np.uint8]
    track: Track
    size_wh: tuple[int, int]

    def reads(self, frames: Iterable[int]) -> Reads:
        picture = digest_of(("picture on object", self.rgba))
        known = self.track.known
        shown = [frame for frame in frames if not known or self.track.box(frame) is not None]
        return {"picture's place": {frame: self._digest(picture, frame) for frame in shown}}

    def _digest(self, picture: str, frame: int) -> str | None:
        box = self.track.box(frame)
        return None if box is None else digest_of((picture, box.centre_xy, box.size_wh))

    def layer(self, frame: int) -> Layer | None:
        import cv2

        box = self.track.box(frame)
        if box is None:
            return None
        height, width = self.rgba.shape[:2]
        scale = min(box.size_wh[0] / width, box.size_wh[1] / height)
        small_wh = (max(round(width * min(scale, 1)), 1), max(round(height * min(scale, 1)), 1))
        # Colours are multiplied by alpha while they are mixed, so that what is transparent lends none.
        mixed = self.rgba.astype(np.float32) / np.float32(255)
        mixed[..., :3] *= mixed[..., 3:]
        mixed = cv2.resize(mixed, small_wh, interpolation=cv2.INTER_AREA)
        step_x, step_y = width * scale / small_wh[0], height * scale / small_wh[1]
        left, top = box.centre_xy[0] - width * scale / 2, box.centre_xy[1] - height * scale / 2
        x0, y0 = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
        x1 = min(math.ceil(left + width * scale) + 1, self.size_wh[0])
        y1 = min(math.ceil(top + height * scale) + 1, self.size_wh[1])
        if x0 >= x1 or y0 >= y1:
            return None
        matrix = np.array(
            [[step_x, 0, left - x0 + (step_x - 1) / 2], [0, step_y, top - y0 + (step_y - 1) / 2]], np.float64
        )
        drawn = cv2.warpAffine(
            mixed, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        alpha = np.ascontiguousarray(np.clip(drawn[..., 3], 0, 1))
        colour = np.clip(drawn[..., :3] / np.maximum(alpha, np.float32(1e-6))[..., None], 0, 1)
        return Layer(colour.astype(np.float32), alpha, (x0, y0))


def _box(track: Track, frame: int) -> Box:
    box = track.box(frame)
    if box is None:
        raise AssertionError(f"frame {frame} has no box and yet is altered")
    return box

"""Where to look: crops around the holes of a window, each following its hole, with context and network-sized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.models.e2fgvi.network import BASE_HW, MULTIPLE_HW, Variant
from tam_edit.models.e2fgvi.pictures import Mask, bounds, round_up
from tam_edit.models.e2fgvi.windows import FillSettings

_CELL = 8  # pixels; regions are found on masks shrunk by this
_GRID = 12  # crops begin at multiples of this, a token, so that windows of a still hole share their features
_FOLLOW = 0.4  # a crop follows its hole only if that saves this much of a standing one's pixels or more
_SMOOTH = 4  # frames to both sides over which a moving crop's path is averaged


@dataclass(frozen=True)
class Box:
    """Pixels [top, bottom) x [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def joined(self, other: Box) -> Box:
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def shares(self, other: Box) -> bool:
        return (
            self.top < other.bottom and other.top < self.bottom and self.left < other.right and other.left < self.right
        )


@dataclass(frozen=True)
class Crop:
    """One frame's part of a region: where it begins, its sides, and its size in the network."""

    top: int
    left: int
    height: int
    width: int
    scaled_hw: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Region:
    """A hole's tube through a window: the pixels it answers for and the crop of each neighbour."""

    hole: Box  # of all its frames; no two regions of a window share a pixel
    crops: tuple[Crop, ...]
    first: int  # frame of the first crop

    def crop(self, index: int) -> Crop:
        """The crop for any frame; references before and after the window take that of its nearest frame."""
        return self.crops[min(max(index - self.first, 0), len(self.crops) - 1)]


def find_regions(masks: Sequence[Mask], first: int, variant: Variant, settings: FillSettings) -> tuple[Region, ...]:
    """The regions of a window from its neighbours' masks [H, W]; `first` numbers the first of them.

    Each hole gets a region of its own where that costs fewer pixels than a common one. Empty masks give none.
    """
    size = masks[0].shape
    holes = _holes(np.logical_or.reduce(masks), settings)
    while True:
        pair = _best_join(holes, size, variant, settings)
        if pair is None:
            break
        a, b = pair
        holes = [hole for hole in holes if hole not in (a, b)] + [a.joined(b)]
    holes.sort(key=lambda box: (box.top, box.left, box.bottom, box.right))
    return tuple(Region(hole, _crops(hole, masks, variant, settings), first) for hole in holes)


def _holes(union: Mask, settings: FillSettings) -> list[Box]:
    """Boxes of the masked pixels, those nearer to each other than the gap taken together."""
    height, width = union.shape
    cells = np.zeros((round_up(height, _CELL), round_up(width, _CELL)), np.uint8)
    cells[:height, :width] = union
    cells = cells.reshape(cells.shape[0] // _CELL, _CELL, -1, _CELL).max((1, 3))
    reach = settings.region_gap_px // (2 * _CELL)
    near = cv2.dilate(cells, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) if reach else cells
    count, labels = cv2.connectedComponents(near, connectivity=8)
    labels[cells == 0] = 0
    boxes = []
    for label in range(1, count):
        rows, columns = np.nonzero(labels == label)
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        part = union[top * _CELL : bottom * _CELL, left * _CELL : right * _CELL]
        boxes.append(_tight(part, int(top) * _CELL, int(left) * _CELL))
    return boxes


def _tight(mask: Mask, top: int, left: int) -> Box:
    """The box of a mask's pixels; the mask itself begins at (top, left)."""
    (first, last), (start, stop) = bounds(mask)
    return Box(top + first, left + start, top + last, left + stop)


def _best_join(
    holes: Sequence[Box], size: tuple[int, ...], variant: Variant, settings: FillSettings
) -> tuple[Box, Box] | None:
    """The two holes to put into one region: those sharing pixels, else the pair that saves most, else none."""
    best: tuple[Box, Box] | None = None
    most = -1
    for index, a in enumerate(holes):
        for b in holes[index + 1 :]:
            if a.shares(b):
                return a, b
            apart = _cost(a, size, variant, settings) + _cost(b, size, variant, settings)
            saved = apart - _cost(a.joined(b), size, variant, settings)
            if saved > most:
                best, most = (a, b), saved
    return best


def _cost(hole: Box, size: tuple[int, ...], variant: Variant, settings: FillSettings) -> int:
    """Pixels the network works on for a standing crop around a hole."""
    if variant == "base":
        return BASE_HW[0] * BASE_HW[1]
    height, width = _wanted(hole.bottom - hole.top, hole.right - hole.left, size, variant, settings)
    return round_up(height, MULTIPLE_HW[0]) * round_up(width, MULTIPLE_HW[1])


def _wanted(
    height: int, width: int, size: tuple[int, ...], variant: Variant, settings: FillSettings
) -> tuple[int, int]:
    """The size of a crop around a hole: with context, rounded up for the network, at most the frame's."""
    sides = [side + 2 * max(settings.context_px, round(settings.context * side), _GRID) for side in (height, width)]
    if variant == "base":
        # The network's shape, so that resizing does not distort; at least its size, so that nothing is enlarged.
        scale = max(sides[0] / BASE_HW[0], sides[1] / BASE_HW[1], 1.0)
        sides = [round(side * scale) for side in BASE_HW]
    else:
        sides = [round_up(side, multiple) for side, multiple in zip(sides, MULTIPLE_HW, strict=True)]
    return min(sides[0], size[0]), min(sides[1], size[1])


def _crops(hole: Box, masks: Sequence[Mask], variant: Variant, settings: FillSettings) -> tuple[Crop, ...]:
    size = masks[0].shape
    standing = _wanted(hole.bottom - hole.top, hole.right - hole.left, size, variant, settings)
    sides, centres = standing, [((hole.top + hole.bottom) / 2, (hole.left + hole.right) / 2)] * len(masks)
    path, extent = _path(hole, masks)
    moving = _wanted(extent[0], extent[1], size, variant, settings)
    if moving[0] * moving[1] <= (1 - _FOLLOW) * standing[0] * standing[1]:
        sides, centres = moving, path
    scaled = _scaled(sides, variant, settings)
    crops = []
    for centre in centres:
        begin = [
            min(max(round((middle - side / 2) / _GRID) * _GRID, 0), whole - side)
            for middle, side, whole in zip(centre, sides, size, strict=True)
        ]
        crops.append(Crop(begin[0], begin[1], sides[0], sides[1], scaled))
    return tuple(crops)


def _path(hole: Box, masks: Sequence[Mask]) -> tuple[list[tuple[float, float]], tuple[int, int]]:
    """A smooth path along the hole's middle, and the height and width around it that hold the hole on every frame."""
    boxes: list[NDArray[np.float64] | None] = []
    for mask in masks:
        part = mask[hole.top : hole.bottom, hole.left : hole.right]
        box = _tight(part, hole.top, hole.left) if part.any() else None
        boxes.append(None if box is None else np.array((box.top, box.left, box.bottom, box.right), np.float64))
    known = [index for index, box in enumerate(boxes) if box is not None]
    middles = np.array([((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes if b is not None])
    frames = np.arange(len(masks))
    filled = np.stack([np.interp(frames, known, middles[:, axis]) for axis in (0, 1)], axis=1)
    # Odd reflection: a steady motion stays the motion it is up to both ends.
    wide = np.pad(filled, ((_SMOOTH, _SMOOTH), (0, 0)), mode="reflect", reflect_type="odd")
    smooth = np.stack([wide[index : index + 2 * _SMOOTH + 1].mean(0) for index in frames])
    reach = np.zeros(2)
    for edges, middle in zip(boxes, smooth, strict=True):
        if edges is not None:
            reach = np.maximum(reach, np.maximum(middle - edges[:2], edges[2:] - middle))
    # Crops begin on the grid: half a step more to both sides.
    height, width = (int(np.ceil(2 * side)) + _GRID for side in reach)
    return [(float(y), float(x)) for y, x in smooth], (height, width)


def _scaled(sides: tuple[int, int], variant: Variant, settings: FillSettings) -> tuple[int, int]:
    """The size at which a crop of these sides goes through the network, before mirroring."""
    if variant == "base":
        return BASE_HW
    area = sides[0] * sides[1]
    if area <= settings.max_pixels:
        return sides
    scale = (settings.max_pixels / area) ** 0.5
    return max(round(sides[0] * scale), 1), max(round(sides[1] * scale), 1)

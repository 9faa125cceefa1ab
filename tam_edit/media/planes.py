"""Compositing in the source's own planes and bit depth: what is not replaced keeps every bit."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tam_edit.clip import (
    MATRIX_240M,
    MATRIX_BT470BG,
    MATRIX_BT601,
    MATRIX_BT709,
    MATRIX_BT2020,
    MATRIX_BT2020_CL,
    MATRIX_FCC,
    ClipSource,
)
from tam_edit.media.convert import convert
from tam_edit.media.frame_tags import SITED_LEFT, SITED_TOP_LEFT
from tam_edit.media.layouts import (
    Layout,
    copy_planes,
    grey_to_yuv,
    layout_of,
    new_frame,
    output_colour,
    plane,
    to_working,
)
from tam_edit.media.reader import Picture

Fill = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

# Luma weights of red and blue: ITU-T H.273 table 4.
LUMA_RED_BLUE = {
    MATRIX_BT709: (0.2126, 0.0722),
    MATRIX_FCC: (0.30, 0.11),
    MATRIX_BT470BG: (0.299, 0.114),
    MATRIX_BT601: (0.299, 0.114),
    MATRIX_240M: (0.212, 0.087),
    MATRIX_BT2020: (0.2627, 0.0593),
    MATRIX_BT2020_CL: (0.2627, 0.0593),
}


def blend(
    picture: Picture,
    fill: Fill,
    alpha: NDArray[np.float32],
    at_xy: tuple[int, int],
    source: ClipSource,
    pixel_format: str,
    *,
    upright: bool = False,
) -> VideoFrame:
    """Put a fill over a picture: in each plane, (1 - alpha) x source + alpha x fill, at the source's bit depth.

    `fill` is upright RGB [h, w, 3] (uint8, uint16 or float32 0..1), `alpha` float32 [h, w] in 0..1 (1: replaced), both
    at `at_xy` (x, y) of the upright picture; parts beyond its edge are left out. Subsampled chroma takes the mean alpha
    of the pixels it covers; a sample none of whose pixels has alpha above 0 keeps its bits. The frame that comes back
    is in coded orientation (upright when asked, for containers that hold no rotation) in `pixel_format`, which is
    lossless where it holds the source's samples. Raises ValueError for shapes that do not fit.
    """
    if fill.shape[:2] != alpha.shape or fill.ndim != 3 or fill.shape[2] != 3:
        raise ValueError(f"fill {fill.shape} and alpha {alpha.shape}: [h, w, 3] and [h, w] of one size are needed")
    work = to_working(picture.native, source.colour)
    clipped = _clip(fill, alpha, at_xy, source)
    if clipped is not None:
        _blend_coded(work, layout_of(work.format.name), *clipped, source)
    return finish(work, source, pixel_format, upright=upright)


def untouched(picture: Picture, source: ClipSource, pixel_format: str, *, upright: bool = False) -> VideoFrame:
    """The picture as it is, in the output's pixel format."""
    return finish(to_working(picture.native, source.colour), source, pixel_format, upright=upright)


def whole(picture: Picture, rgb: Fill, source: ClipSource, pixel_format: str, *, upright: bool = False) -> VideoFrame:
    """Replace the whole picture: `rgb` is upright [H, W, 3] of the clip's size."""
    full = np.ones(rgb.shape[:2], dtype=np.float32)
    return blend(picture, rgb, full, (0, 0), source, pixel_format, upright=upright)


def _clip(
    fill: Fill, alpha: NDArray[np.float32], at_xy: tuple[int, int], source: ClipSource
) -> tuple[NDArray[np.float32], NDArray[np.float32], int, int] | None:
    """Cut to the picture and to where alpha is above 0, turn to coded: (fill 0..1, alpha, x, y) or None."""
    width, height = source.size_wh
    x, y = at_xy
    left, top = max(-x, 0), max(-y, 0)
    right, bottom = min(fill.shape[1], width - x), min(fill.shape[0], height - y)
    if left >= right or top >= bottom:
        return None
    alpha = np.clip(alpha[top:bottom, left:right], 0.0, 1.0).astype(np.float32, copy=False)
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if not rows.size:
        return None
    inner = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cut, alpha = fill[top:bottom, left:right][inner], alpha[inner]
    x, y = x + left + int(columns[0]), y + top + int(rows[0])
    scale = {"u1": 255.0, "u2": 65535.0}.get(cut.dtype.str[1:], 1.0)
    values = cut.astype(np.float32) / np.float32(scale)
    orientation = source.orientation
    coded_x, coded_y = orientation.rect_coded(x, y, (alpha.shape[1], alpha.shape[0]), source.size_wh)
    return orientation.undo(values), orientation.undo(alpha), coded_x, coded_y


def _blend_coded(
    work: VideoFrame,
    layout: Layout,
    fill: NDArray[np.float32],
    alpha: NDArray[np.float32],
    x: int,
    y: int,
    source: ClipSource,
) -> None:
    components = _components(fill, layout, source)
    for index in range(layout.colour_planes):
        target = plane(work, index, layout.dtype)
        value = components[index]
        if layout.family == "yuv" and index > 0 and (layout.shift_x or layout.shift_y):
            value, weight, left, top = _subsample(value, alpha, x, y, layout, source)
        else:
            weight, left, top = alpha, x, y
        height, width = weight.shape
        region = target[top : top + height, left : left + width]
        _mix(region, value, weight, layout)


def _mix(region: NDArray[np.integer], value: NDArray[np.float32], weight: NDArray[np.float32], layout: Layout) -> None:
    """Write (1 - weight) x region + weight x value into a region, leaving samples of weight 0 as they are."""
    if weight.min() >= 1.0:
        region[:] = np.clip(np.rint(value), 0, layout.peak)
        return
    mixed = np.subtract(value, region, dtype=np.float32)
    mixed *= weight
    mixed += region
    np.rint(mixed, out=mixed)
    np.clip(mixed, 0, layout.peak, out=mixed)
    np.copyto(region, mixed.astype(layout.dtype), where=weight > 0)


def _components(fill: NDArray[np.float32], layout: Layout, source: ClipSource) -> list[NDArray[np.float32]]:
    """RGB 0..1 [h, w, 3] -> code values of each colour plane, float32 [h, w], before any subsampling."""
    red, green, blue = fill[..., 0], fill[..., 1], fill[..., 2]
    if layout.family == "rgb":
        return [part * np.float32(layout.peak) for part in (green, blue, red)]  # planes are G, B, R
    weight_red, weight_blue = LUMA_RED_BLUE.get(source.matrix, LUMA_RED_BLUE[MATRIX_BT601])
    luma = weight_red * red + (1.0 - weight_red - weight_blue) * green + weight_blue * blue
    step = float(1 << (layout.bits - 8))
    full = source.colour.full_range
    scale, offset = (float(layout.peak), 0.0) if full else (219.0 * step, 16.0 * step)
    found = [(luma * scale + offset).astype(np.float32)]
    if layout.family == "yuv":
        scale, middle = (float(layout.peak) if full else 224.0 * step), 128.0 * step
        for part, weight in ((blue, weight_blue), (red, weight_red)):
            found.append(((part - luma) * (scale / (2.0 * (1.0 - weight))) + middle).astype(np.float32))
    return found


def _subsample(
    value: NDArray[np.float32],
    alpha: NDArray[np.float32],
    x: int,
    y: int,
    layout: Layout,
    source: ClipSource,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int, int]:
    """Full resolution -> chroma: (value, mean alpha, left, top) on the chroma grid.

    The alpha is the mean over the pixels a chroma sample covers (at an odd edge there are fewer). The value is weighted
    by alpha, over a tent where chroma is sited on a pixel (H.264 and MPEG-2: left), over a box where between pixels.
    """
    width, height = source.coded_wh
    step_x, step_y = 1 << layout.shift_x, 1 << layout.shift_y
    left, top = x >> layout.shift_x, y >> layout.shift_y
    columns = -(-(x + alpha.shape[1]) // step_x) - left
    rows = -(-(y + alpha.shape[0]) // step_y) - top
    before = ((y - top * step_y), (x - left * step_x))
    after = (rows * step_y - alpha.shape[0] - before[0], columns * step_x - alpha.shape[1] - before[1])
    margins = ((before[0], after[0]), (before[1], after[1]))
    weight = np.pad(alpha, margins)
    weighted = np.pad(value * alpha, margins)
    count_x = np.minimum(step_x, width - (left + np.arange(columns)) * step_x)
    count_y = np.minimum(step_y, height - (top + np.arange(rows)) * step_y)
    blocks = weight.reshape(rows, step_y, columns, step_x)
    mean = (blocks.sum(axis=(1, 3), dtype=np.float32) / np.outer(count_y, count_x)).astype(np.float32)
    siting = source.chroma_location
    tents = (siting == SITED_TOP_LEFT and step_y == 2, siting in (SITED_LEFT, SITED_TOP_LEFT) and step_x == 2)
    weighted_sum = _gather(_gather(weighted, 0, step_y, tents[0]), 1, step_x, tents[1])
    weight_sum = _gather(_gather(weight, 0, step_y, tents[0]), 1, step_x, tents[1])
    seen = (weighted_sum / np.maximum(weight_sum, np.float32(1e-12))).astype(np.float32)
    return seen, np.minimum(mean, np.float32(1.0)), left, top


def _gather(values: NDArray[np.float32], axis: int, step: int, tent: bool) -> NDArray[np.float32]:
    """Sum `step` neighbours along an axis; with `tent` (step 2) weigh 1 2 1 around the first of each pair."""
    if step == 1:
        return values
    moved = np.moveaxis(values, axis, 0)
    if tent:
        before = np.concatenate([np.zeros_like(moved[:1]), moved[1:-1:2]])
        found = before + 2.0 * moved[0::2] + moved[1::2]
    else:
        found = moved.reshape(-1, step, *moved.shape[1:]).sum(axis=1, dtype=np.float32)
    return np.moveaxis(found.astype(np.float32), 0, axis)


def finish(work: VideoFrame, source: ClipSource, pixel_format: str, *, upright: bool = False) -> VideoFrame:
    """From the working format to the output's, turned upright if asked; lossless wherever the output can be."""
    if upright and not source.orientation.is_identity:
        work = _turn(work, source)
    name = work.format.name
    if name != pixel_format:
        layout, wanted = layout_of(name), layout_of(pixel_format)
        same = (layout.bits, layout.shift_x, layout.shift_y) == (wanted.bits, wanted.shift_x, wanted.shift_y)
        if layout.family == wanted.family and same and not wanted.alpha and wanted.name == pixel_format:
            work = copy_planes(work, pixel_format)  # the alpha plane is left behind
        elif layout.family == "grey" and wanted.family == "yuv" and layout.bits == wanted.bits:
            work = grey_to_yuv(work, pixel_format)
        else:
            if layout.family == "grey" and wanted.family != "grey":
                work = grey_to_yuv(work)
            colour = output_colour(source, pixel_format)
            work = convert(
                work,
                pixel_format,
                source.colour,
                full_range=colour.full_range,
                matrix=colour.resolve_matrix(source.coded_wh[1]),
            )
    return _tag(work, source, pixel_format)


def _tag(work: VideoFrame, source: ClipSource, pixel_format: str) -> VideoFrame:
    colour = output_colour(source, pixel_format)
    work.colorspace = colour.matrix
    work.color_primaries = colour.primaries
    work.color_trc = colour.transfer
    work.color_range = (2 if colour.full_range else 1) if colour.range_tagged else 0
    return work


def _turn(work: VideoFrame, source: ClipSource) -> VideoFrame:
    """Coded -> upright, plane by plane; chroma that does not turn evenly is first brought to 4:4:4."""
    layout = layout_of(work.format.name)
    even = work.width % (1 << layout.shift_x) == 0 and work.height % (1 << layout.shift_y) == 0
    if layout.shift_x != layout.shift_y or not even:
        depth = "" if layout.bits == 8 else f"{layout.bits}le"
        work = convert(work, f"yuv{'a' if layout.alpha else ''}444p{depth}", source.colour)
        layout = layout_of(work.format.name)
    made = new_frame(work, layout.name, source.size_wh)
    for index in range(len(made.planes)):
        plane(made, index, layout.dtype)[:] = source.orientation.apply(plane(work, index, layout.dtype))
    return made

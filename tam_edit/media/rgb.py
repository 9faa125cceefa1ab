"""From decoded planes to upright RGB arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from tam_edit.clip import ColourTags, Orientation
from tam_edit.media.convert import convert
from tam_edit.media.layouts import grey_to_yuv, layout_of, to_working

SMALL_SIDE_PX = 320


def rgb_upright(
    frame: VideoFrame,
    colour: ColourTags,
    orientation: Orientation,
    size_wh: tuple[int, int] | None = None,
    reformatter: VideoReformatter | None = None,
) -> NDArray[np.uint8]:
    """uint8 [H, W, 3], upright; `size_wh` is the upright size wanted, the coded one when not given."""
    coded_wh = None
    if size_wh is not None:
        coded_wh = (size_wh[1], size_wh[0]) if orientation.swaps_sides else size_wh
    if layout_of(frame.format.name).family == "grey" and not colour.full_range:
        frame = grey_to_yuv(to_working(frame, colour))  # swscale takes every grey for full range
    found = convert(frame, "rgb24", colour, size_wh=coded_wh, full_range=True, reformatter=reformatter)
    array: NDArray[Any] = found.to_ndarray()
    return np.ascontiguousarray(orientation.apply(array))


def rgb_small(frame: VideoFrame, colour: ColourTags, orientation: Orientation) -> NDArray[np.uint8]:
    """Upright RGB uint8 [h, w, 3] whose long side is at most SMALL_SIDE_PX."""
    width, height = orientation.size_upright((frame.width, frame.height))
    scale = min(SMALL_SIDE_PX / max(width, height), 1.0)
    small_wh = (max(round(width * scale), 1), max(round(height * scale), 1))
    return rgb_upright(frame, colour, orientation, small_wh)

"""Changing pixel formats with swscale, told the source's own matrix and range, with exact flags."""

from __future__ import annotations

from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from tam_edit.clip import (
    MATRIX_240M,
    MATRIX_BT470BG,
    MATRIX_BT601,
    MATRIX_BT709,
    MATRIX_BT2020,
    MATRIX_BT2020_CL,
    MATRIX_FCC,
    MATRIX_RGB,
    ColourTags,
)

SWS_BT601 = 5
# What swscale calls the matrices (SWS_CS_*); for RGB it is not asked.
SWS_MATRIX = {
    MATRIX_RGB: SWS_BT601,
    MATRIX_BT709: 1,
    MATRIX_FCC: 4,
    MATRIX_BT470BG: SWS_BT601,
    MATRIX_BT601: SWS_BT601,
    MATRIX_240M: 7,
    MATRIX_BT2020: 9,
    MATRIX_BT2020_CL: 9,
}
RANGE_LIMITED, RANGE_FULL = 1, 2
EXACT = int(
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
SHRINK = int(Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)


def convert(
    frame: VideoFrame,
    pixel_format: str,
    colour: ColourTags,
    *,
    size_wh: tuple[int, int] | None = None,
    full_range: bool | None = None,
    matrix: int | None = None,
    reformatter: VideoReformatter | None = None,
) -> VideoFrame:
    """Another pixel format or size, by swscale with exact flags.

    One thread, so the same bytes on each run: some of its converters write past the end of a row (yuv422p to yuyv422
    at widths that are no multiple of 32), which spoils the first samples of the slice below when another thread was
    quicker there.
    `full_range` and `matrix` are those of the result, where it is YUV; the source's when not given.
    """
    source_matrix = SWS_MATRIX.get(colour.resolve_matrix(frame.height), SWS_BT601)
    source_range = RANGE_FULL if colour.full_range else RANGE_LIMITED
    wanted_full = colour.full_range if full_range is None else full_range
    smaller = size_wh is not None and (size_wh[0] < frame.width or size_wh[1] < frame.height)
    width, height = size_wh or (frame.width, frame.height)
    return (reformatter or VideoReformatter()).reformat(
        frame,
        width=width,
        height=height,
        format=pixel_format,
        src_colorspace=source_matrix,
        dst_colorspace=source_matrix if matrix is None else SWS_MATRIX.get(matrix, SWS_BT601),
        src_color_range=source_range,
        dst_color_range=RANGE_FULL if wanted_full else RANGE_LIMITED,
        interpolation=SHRINK if smaller else EXACT,
        threads=1,
    )

"""Videos and pictures with alpha: ProRes 4444, VP9, grey mattes and OpenEXR, with the clip's own times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tam_edit.clip import MATRIX_BT601, MATRIX_BT709, ClipSource, ColourTags
from tam_edit.errors import OutputError
from tam_edit.media import matroska

Rgb = NDArray[np.uint8]
Alpha = NDArray[np.float32]

MOST_TICKS = 2**31 - 1
RANGE_LIMITED, RANGE_FULL = 1, 2
# Luma weights of red and blue: ITU-T H.273, table 4.
_LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}


def write_prores4444(path: Path, source: ClipSource, frames: Iterable[tuple[Rgb, Alpha]]) -> None:
    """ProRes 4444 in QuickTime, 10 bits of 4:4:4 colour, 16 bits of straight alpha.

    frames: (uint8 RGB [H, W, 3], float32 alpha [H, W] in 0..1) for every frame of the clip, upright.
    """
    matrix = _matrix(source)

    def pictures() -> Iterator[VideoFrame]:
        for rgb, alpha in frames:
            frame = VideoFrame(rgb.shape[1], rgb.shape[0], "yuva444p10le")
            for index, plane in enumerate(ycc(rgb, matrix, 10)):
                _put(frame, index, plane)
            _put(frame, 3, np.rint(alpha * np.float32(1023)).astype(np.uint16))
            yield frame

    options = {"profile": "4", "alpha_bits": "16", "vendor": "apl0"}
    _write(path, source, pictures(), "prores_ks", "yuva444p10le", options, matrix, RANGE_LIMITED)


def write_webm_alpha(path: Path, source: ClipSource, frames: Iterable[tuple[Rgb, Alpha]], crf: int = 18) -> None:
    """VP9 with straight alpha in WebM, 8 bits 4:2:0, constant quality; times are rounded to milliseconds.

    frames: as for `write_prores4444`. WebM knows no other clock than milliseconds and no time below 0.
    """
    matrix = _matrix(source)

    def pictures() -> Iterator[VideoFrame]:
        for rgb, alpha in frames:
            frame = VideoFrame(rgb.shape[1], rgb.shape[0], "yuva420p")
            luma, blue, red = ycc(rgb, matrix, 8)
            for index, plane in enumerate((luma, _half(blue), _half(red), np.rint(alpha * np.float32(255)))):
                _put(frame, index, plane.astype(np.uint8))
            yield frame

    # Alternative reference frames are not shown and have no alpha: libvpx must leave them out.
    options = {"crf": str(crf), "b": "0", "auto-alt-ref": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
    _write(path, source, pictures(), "libvpx-vp9", "yuva420p", options, matrix, RANGE_LIMITED)


def write_grey(path: Path, source: ClipSource, mattes: Iterable[NDArray[np.uint8]]) -> None:
    """Grey video, uint8 [H, W] with 0 for outside and 255 for inside: FFV1 (exact) in .mkv, else H.264 near lossless.

    H.264 carries full-range luma in 4:2:0, which everything plays; values come back within a few grey levels.
    """
    exact = path.suffix.lower() == ".mkv"
    even = source.size_wh[0] % 2 == 0 and source.size_wh[1] % 2 == 0
    pixel_format = "gray" if exact else "yuv420p" if even else "yuv444p"

    def pictures() -> Iterator[VideoFrame]:
        for matte in mattes:
            frame = VideoFrame(matte.shape[1], matte.shape[0], pixel_format)
            _put(frame, 0, matte)
            for index in range(1, len(frame.planes)):
                shape = frame.planes[index].height, frame.planes[index].width
                _put(frame, index, np.full(shape, 128, np.uint8))
            yield frame

    if exact:
        _write(path, source, pictures(), "ffv1", pixel_format, {"level": "3"}, 2, RANGE_FULL)
    else:
        options = {"crf": "4", "preset": "medium", "bf": "0"}
        _write(path, source, pictures(), "libx264", pixel_format, options, MATRIX_BT709, RANGE_FULL)


def exr_bytes(rgba: NDArray[np.float32]) -> bytes:
    """One OpenEXR picture of half floats, ZIP compressed, from float32 [H, W, 4] as it is (premultiply before)."""
    height, width = rgba.shape[:2]
    codec: Any = av.CodecContext.create("exr", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "gbrapf32le"
    codec.time_base = Fraction(1, 25)
    codec.options = {"compression": "zip16", "format": "half"}
    frame = VideoFrame(width, height, "gbrapf32le")
    for index, channel in enumerate((1, 2, 0, 3)):  # planes lie as G, B, R, A
        _put(frame, index, rgba[:, :, channel])
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def ycc(rgb: Rgb, matrix: int, bits: int) -> NDArray[np.uint16]:
    """uint8 RGB [H, W, 3] to limited-range YCbCr of so many bits, uint16 [3, H, W]; ITU-R BT.709, section 3."""
    red, blue = _LUMA.get(matrix, _LUMA[MATRIX_BT709])
    green = 1 - red - blue
    luma = np.array([red, green, blue])
    rows = np.stack(
        [luma * 219, (np.array([0, 0, 1]) - luma) / (1 - blue) * 112, (np.array([1, 0, 0]) - luma) / (1 - red) * 112]
    )
    scale = 2 ** (bits - 8)
    weights = (rows * scale / 255).astype(np.float32)
    offsets = np.array([16, 128, 128], np.float32) * np.float32(scale)
    planes = np.tensordot(weights, rgb.astype(np.float32), axes=([1], [2])) + offsets[:, None, None]
    coded: NDArray[np.uint16] = np.rint(planes).astype(np.uint16)
    return coded


def _write(
    path: Path,
    source: ClipSource,
    frames: Iterable[VideoFrame],
    encoder: str,
    pixel_format: str,
    options: dict[str, str],
    matrix: int,
    colour_range: int,
) -> None:
    container_options = {"fflags": "+bitexact"}
    if path.suffix.lower() in (".mov", ".mp4"):
        movie = math.lcm(1000, source.time_base.denominator)
        container_options["movie_timescale"] = str(movie if movie <= MOST_TICKS else source.time_base.denominator)
    with av.open(str(path), "w", options=container_options) as output:
        stream: Any = output.add_stream(encoder, rate=source.frame_rate, options=options)
        coder = stream.codec_context
        coder.width, coder.height = source.size_wh
        coder.pix_fmt = pixel_format
        coder.time_base = stream.time_base = source.time_base
        aspect = 1 / source.sample_aspect if source.orientation.swaps_sides else source.sample_aspect
        coder.sample_aspect_ratio = aspect
        room = path.suffix.lower() in (".mkv", ".webm") and matroska.leave_room(stream, aspect)
        coder.colorspace, coder.color_range = matrix, colour_range
        coder.color_primaries, coder.color_trc = source.colour.primaries, source.colour.transfer
        durations = {stamp: source.duration_pts(index) for index, stamp in enumerate(source.pts)}
        written = 0
        for frame in frames:
            if written == source.frames:
                raise OutputError(f"more than the clip's {source.frames} frames were given: the result would not fit")
            frame.pts, frame.time_base = source.pts[written], source.time_base
            frame.colorspace, frame.color_range = matrix, colour_range
            written += 1
            for packet in coder.encode(frame):
                _mux(output, stream, packet, source, durations)
        if written != source.frames:
            raise OutputError(f"{written} of {source.frames} frames were given: the result would not be whole")
        for packet in coder.encode(None):
            _mux(output, stream, packet, source, durations)
    if room:
        matroska.write_aspect(path, source.size_wh, aspect)


def _mux(output: Any, stream: Any, packet: Any, source: ClipSource, durations: dict[int, int]) -> None:
    packet.stream = stream
    packet.time_base = source.time_base
    packet.duration = durations[packet.pts]
    output.mux_one(packet)


def _matrix(source: ClipSource) -> int:
    """The clip's own matrix where the result can carry it; an RGB clip gets that of its size."""
    matrix = source.matrix if source.matrix in _LUMA else ColourTags().resolve_matrix(source.coded_wh[1])
    return MATRIX_BT601 if matrix == 5 else matrix


def _half(plane: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Chroma at half size: means of two by two, the last row or column of an odd size on its own."""
    padded = np.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2)), mode="edge").astype(np.uint32)
    total = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint16)


def _put(frame: VideoFrame, index: int, values: NDArray[Any]) -> None:
    """Copy [h, w] into a plane, whose rows may be longer in memory."""
    plane: Any = frame.planes[index]
    rows: NDArray[Any] = np.frombuffer(plane, values.dtype).reshape(-1, plane.line_size // values.dtype.itemsize)
    rows[: values.shape[0], : values.shape[1]] = values

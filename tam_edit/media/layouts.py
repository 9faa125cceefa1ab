"""What lies where in a frame's planes: one description of a pixel format, and lossless ways into a planar one."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tam_edit.clip import ClipSource, ColourTags
from tam_edit.media.convert import convert

CHROMA_SHIFTS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
SEMI_PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p",
    "nv20le": "yuv422p10le",
    "p010le": "yuv420p10le", "p012le": "yuv420p12le", "p016le": "yuv420p16le",
    "p210le": "yuv422p10le", "p212le": "yuv422p12le", "p216le": "yuv422p16le",
    "p410le": "yuv444p10le", "p412le": "yuv444p12le", "p416le": "yuv444p16le",
}  # fmt: skip
PACKED_YUV = {
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "uyyvyy411": "yuv411p",
    "y210le": "yuv422p10le", "y212le": "yuv422p12le", "y216le": "yuv422p16le",
    "ayuv64le": "yuva444p16le", "vuya": "yuva444p", "vuyx": "yuv444p", "ayuv": "yuva444p",
    "xv30le": "yuv444p10le", "xv36le": "yuv444p12le", "xv48le": "yuv444p16le",
}  # fmt: skip
PLANAR = re.compile(r"yuv(?P<alpha>a?)(?P<jpeg>j?)(?P<chroma>4\d\d)p(?P<bits>\d*)(le)?$")
PLANAR_RGB = re.compile(r"gbr(?P<alpha>a?)p(?P<bits>\d*)(le)?$")
GREY = re.compile(r"gray(?P<bits>\d*)(le)?$")


@dataclass(frozen=True)
class Layout:
    """A planar pixel format: family 'yuv', 'rgb' or 'grey', bits per sample, chroma shifts, whether there is alpha."""

    name: str
    family: str
    bits: int
    shift_x: int = 0
    shift_y: int = 0
    alpha: bool = False

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        return np.dtype(np.uint8) if self.bits <= 8 else np.dtype("<u2")

    @property
    def colour_planes(self) -> int:
        return 1 if self.family == "grey" else 3

    @property
    def peak(self) -> int:
        return (1 << self.bits) - 1


@functools.cache
def planar_layout(name: str) -> Layout | None:
    """The layout of a planar little-endian integer format; None for any other."""
    if found := PLANAR.match(name):
        shift_x, shift_y = CHROMA_SHIFTS[found["chroma"]]
        return Layout(name, "yuv", int(found["bits"] or 8), shift_x, shift_y, bool(found["alpha"]))
    if found := PLANAR_RGB.match(name):
        return Layout(name, "rgb", int(found["bits"] or 8), alpha=bool(found["alpha"]))
    if found := GREY.match(name):
        return Layout(name, "grey", int(found["bits"] or 8))
    return None


@functools.cache
def working_format(name: str) -> str:
    """The planar format that holds every value of a pixel format without loss (and yuvj* under its plain name)."""
    if name.startswith("yuvj"):
        return name.replace("yuvj", "yuv")
    if name in SEMI_PLANAR:
        return SEMI_PLANAR[name]
    if name in PACKED_YUV:
        return PACKED_YUV[name]
    if planar_layout(name) is not None:
        return name
    if name.endswith("be") and planar_layout(name[:-2] + "le") is not None:
        return name[:-2] + "le"
    form = VideoFormat(name)
    bits = max(component.bits for component in form.components)
    alpha = any(component.is_alpha for component in form.components) and name != "pal8"
    depth = "" if bits <= 8 else "10le" if bits <= 10 else "12le" if bits <= 12 else "16le"
    if form.is_rgb or name == "pal8":
        return f"gbr{'a' if alpha else ''}p{depth}"
    if len(form.components) <= 2:  # grey with or without alpha, one bit grey
        return "gray" + depth if not alpha else f"yuva444p{depth}"
    return f"yuv{'a' if alpha else ''}444p{depth}"


def layout_of(name: str) -> Layout:
    """The layout of a working format."""
    found = planar_layout(working_format(name))
    assert found is not None, name
    return found


def plane(frame: VideoFrame, index: int, dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> NDArray[np.integer]:
    """A view of a plane's samples: [h, w]; writing to it writes to the frame."""
    held = frame.planes[index]
    row = abs(held.line_size) // dtype.itemsize
    return np.frombuffer(held, dtype=dtype).reshape(-1, row)[: held.height, : held.width]  # type: ignore[call-overload,no-any-return]


def new_frame(like: VideoFrame, name: str, size_wh: tuple[int, int] | None = None) -> VideoFrame:
    """An empty frame of another format with the timestamp of `like`."""
    width, height = size_wh or (like.width, like.height)
    made = VideoFrame(width, height, name)
    made.pts = like.pts
    return made


def copy_planes(frame: VideoFrame, name: str) -> VideoFrame:
    """A copy of a planar frame under the name of a format with the same first planes."""
    layout = layout_of(name)
    made = new_frame(frame, name)
    for index in range(len(made.planes)):
        plane(made, index, layout.dtype)[:] = plane(frame, index, layout.dtype)
    return made


def to_working(frame: VideoFrame, colour: ColourTags) -> VideoFrame:
    """A new frame, safe to write to, in the working format; every sample keeps its value."""
    name = frame.format.name
    target = working_format(name)
    if name == target or name.startswith("yuvj"):
        return copy_planes(frame, target)
    if name in SEMI_PLANAR:
        return _split_semi_planar(frame, target)
    if name == "pal8":
        frame = convert(frame, "rgb24", colour, full_range=True)
    if frame.format.is_rgb:
        return convert(frame, target, colour, full_range=True)
    return convert(frame, target, colour)


def _split_semi_planar(frame: VideoFrame, target: str) -> VideoFrame:
    layout = layout_of(target)
    made = new_frame(frame, target)
    # P010 and its kin keep their bits at the top of 16; NV20 at the bottom.
    shift = 16 - layout.bits if frame.format.name.startswith("p") else 0
    plane(made, 0, layout.dtype)[:] = plane(frame, 0, layout.dtype) >> shift
    width, height = plane(made, 1, layout.dtype).shape[::-1]
    held = frame.planes[1]
    pairs = np.frombuffer(held, dtype=layout.dtype).reshape(-1, abs(held.line_size) // layout.dtype.itemsize)  # type: ignore[call-overload]
    pairs = pairs[:height, : 2 * width] >> shift
    first, second = (2, 1) if frame.format.name in {"nv21", "nv42"} else (1, 2)
    plane(made, first, layout.dtype)[:] = pairs[:, 0::2]
    plane(made, second, layout.dtype)[:] = pairs[:, 1::2]
    return made


def grey_to_yuv(work: VideoFrame, name: str | None = None) -> VideoFrame:
    """Grey in a working format as YUV of the same depth with neutral chroma; 4:4:4 when no format is named."""
    bits = layout_of(work.format.name).bits
    made = new_frame(work, name or f"yuv444p{'' if bits == 8 else f'{bits}le'}")
    layout = layout_of(made.format.name)
    plane(made, 0, layout.dtype)[:] = plane(work, 0, layout.dtype)
    for index in (1, 2):
        plane(made, index, layout.dtype)[:] = 1 << (bits - 1)
    if layout.alpha:
        plane(made, 3, layout.dtype)[:] = layout.peak
    return made


def output_colour(source: ClipSource, pixel_format: str) -> ColourTags:
    """The colour tags of a result in `pixel_format`: the source's, unless RGB becomes YUV or the other way round."""
    colour = source.colour
    to_rgb = layout_of(pixel_format).family == "rgb"
    from_rgb = layout_of(source.pixel_format).family == "rgb"
    if to_rgb and from_rgb:
        return colour
    if to_rgb:
        return ColourTags(0, colour.primaries, colour.transfer, full_range=True, range_tagged=colour.range_tagged)
    if from_rgb:
        matrix = ColourTags().resolve_matrix(source.coded_wh[1])
        return ColourTags(matrix, colour.primaries, colour.transfer, full_range=False)
    return colour

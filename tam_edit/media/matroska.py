"""The pixel aspect in Matroska and WebM: PyAV cannot tell it to the muxer, so it is written into a finished file.

A track tells the shape of its picture by DisplayWidth, DisplayHeight and DisplayUnit (RFC 9559, section 5.1.4.1.28).
FFmpeg's muxer writes the first two without being told an aspect only beside a StereoMode: it is asked for one, and that
element, as long as a DisplayUnit, then becomes it.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from tam_edit.errors import OutputError

CONTAINERS = frozenset({"matroska", "webm"})
STEREO = "stereo_mode"
SEGMENT, TRACKS, TRACK, VIDEO, CRC = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0xBF
STEREO_MODE, DISPLAY_WIDTH, DISPLAY_HEIGHT = 0x53B8, 0x54B0, 0x54BA
UNIT_IS_ASPECT = bytes.fromhex("54b28103")  # DisplayUnit, one byte: the two others are a ratio, not pixels


class Element(NamedTuple):
    """One EBML element: its payload lies from start to stop."""

    id: int
    start: int
    stop: int


def leave_room(stream: Any, aspect: Fraction) -> bool:
    """Have the muxer leave room for a pixel aspect; False where none is needed, or a film for two eyes has it taken."""
    if aspect == 1 or STEREO in stream.metadata:
        return False
    stream.metadata[STEREO] = "left_right"
    return True


def write_aspect(path: Path, coded_wh: tuple[int, int], aspect: Fraction) -> None:
    """Write the pixel aspect of a file's first track into the room that `leave_room` asked for.

    Where the ratio needs larger numbers than there is room for, the nearest that fits. Raises OutputError.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as held:
        tracks = _find(held, _find(held, Element(0, 0, len(held)), SEGMENT), TRACKS)
        video = _find(held, _find(held, tracks, TRACK), VIDEO)
        width, height = _find(held, video, DISPLAY_WIDTH), _find(held, video, DISPLAY_HEIGHT)
        shown = _nearest(Fraction(*coded_wh) * aspect, _most(width), _most(height))
        held[width.start : width.stop] = shown.numerator.to_bytes(width.stop - width.start, "big")
        held[height.start : height.stop] = shown.denominator.to_bytes(height.stop - height.start, "big")
        stereo = _find(held, video, STEREO_MODE)
        held[stereo.stop - len(UNIT_IS_ASPECT) : stereo.stop] = UNIT_IS_ASPECT
        check = next(_elements(held, tracks))
        if check.id == CRC:
            held[check.start : check.stop] = zlib.crc32(held[check.stop : tracks.stop]).to_bytes(4, "little")


def _most(element: Element) -> int:
    """The largest number that fits."""
    return int(256 ** (element.stop - element.start) - 1)


def _nearest(ratio: Fraction, most_above: int, most_below: int) -> Fraction:
    """The ratio, or the nearest whose numbers are not too large."""
    if ratio.numerator <= most_above and ratio.denominator <= most_below:
        return ratio
    return ratio.limit_denominator(max(1, min(most_below, int(most_above / ratio))))


def _find(held: mmap.mmap, parent: Element, wanted: int) -> Element:
    for element in _elements(held, parent):
        if element.id == wanted:
            return element
    raise OutputError(
        f"this FFmpeg writes Matroska without the element {wanted:X}, so the pixel aspect cannot be kept: "
        "give an output in mp4 or mov"
    )


def _elements(held: mmap.mmap, parent: Element) -> Iterator[Element]:
    """The elements within another, in order (RFC 8794: the leading bits of identity and size tell their lengths)."""
    at = parent.start
    while at < parent.stop:
        size_at = at + 9 - held[at].bit_length()
        start = size_at + 9 - held[size_at].bit_length()
        size = int.from_bytes(held[size_at:start], "big") & ((1 << 7 * (start - size_at)) - 1)
        yield Element(int.from_bytes(held[at:size_at], "big"), start, min(start + size, parent.stop))
        at = start + size

"""Whether a file breaks off: its container's own lengths against its size, without decoding anything."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

MP4_BOXES = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"pnot", b"uuid", b"sidx"}
)
EBML_ID, SEGMENT_ID = 0x1A45DFA3, 0x18538067


def missing_bytes(path: Path) -> int:
    """How many bytes the container says it has beyond the end of the file; 0 where it is whole or does not say.

    Knows ISO base media (mp4, mov), Matroska, WebM and RIFF (avi): a file cut by a broken download or a full disk is
    found even if the cut falls between two packets. Sources: ISO/IEC 14496-12 section 4.2, RFC 8794 sections 4-6.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(12)
        if head[4:8] in MP4_BOXES:
            return _beyond_boxes(stream, size)
        if int.from_bytes(head[:4], "big") == EBML_ID:
            return _beyond_segment(stream, size)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return max(8 + int.from_bytes(head[4:8], "little") - size, 0)
    return 0


def _beyond_boxes(stream: BinaryIO, size: int) -> int:
    position = 0
    while position + 8 <= size:
        stream.seek(position)
        header = stream.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length == 0 or length < 8 or not _is_box_name(header[4:8]):
            return 0  # to the end of the file, or something after the last box that is no box
        position += length
    return max(position - size, 0)


def _is_box_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= letter < 127 or letter == 0xA9 for letter in name)


def _beyond_segment(stream: BinaryIO, size: int) -> int:
    position = 0
    while position < size:
        stream.seek(position)
        identifier, id_length = _read_vint(stream, keep_marker=True)
        length, length_length = _read_vint(stream, keep_marker=False)
        if length_length == 0 or length == (1 << (7 * length_length)) - 1:
            return 0  # unknown length: a live recording, which may end anywhere
        end = position + id_length + length_length + length
        if identifier == SEGMENT_ID:
            return max(end - size, 0)
        position = end
    return 0


def _read_vint(stream: BinaryIO, *, keep_marker: bool) -> tuple[int, int]:
    first = stream.read(1)
    if not first or first[0] == 0:
        return 0, 0
    length = 9 - first[0].bit_length()
    value = first[0] if keep_marker else first[0] & ((1 << (8 - length)) - 1)
    return (value << (8 * (length - 1))) | int.from_bytes(stream.read(length - 1), "big"), length

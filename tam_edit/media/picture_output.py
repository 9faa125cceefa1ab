"""Writing a clip as a folder of pictures, whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import av.error
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from tam_edit.errors import ContainerUnknown, OutputError, OutputIsSource, OutputUnwritable
from tam_edit.media.opening import describe
from tam_edit.media.placing import check_destination, is_same_file, placed
from tam_edit.media.settings import NUMBERED, PICTURE_CONTAINERS


def picture_folder(output_path: str | Path) -> Path:
    """The folder that an output path for pictures means: itself, or what holds its pattern."""
    place = Path(output_path)
    return place.parent if NUMBERED.search(place.name) else place


def write_pictures(
    frames: Iterable[VideoFrame], folder: str | Path, pattern: str = "%05d.png", source_path: str | Path | None = None
) -> int:
    """Write RGB (or grey, or RGBA) frames as numbered pictures, from 0 on; returns the bytes written.

    The folder appears whole or not at all; one that exists must be empty or hold pictures of the same pattern only,
    which are replaced. Raises ContainerUnknown, OutputIsSource, OutputUnwritable, OutputError.
    """
    encoder = PICTURE_CONTAINERS.get(Path(pattern).suffix.lower())
    if encoder is None or not NUMBERED.search(pattern):
        raise ContainerUnknown(f"{pattern!r} is no pattern for pictures: write one such as %05d.png or %05d.tif")
    return write_files((_encode(frame, encoder) for frame in frames), Path(folder), pattern, source_path)


def _encode(frame: VideoFrame, encoder: str) -> bytes:
    context = CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
    try:
        return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    except av.error.FFmpegError as error:
        raise OutputError(f"{encoder} refused a frame of {frame.format.name} ({describe(error)})") from error


def write_files(payloads: Iterable[bytes], folder: Path, pattern: str, source_path: str | Path | None) -> int:
    """Write encoded pictures under numbered names; see `write_pictures`."""
    check_destination(folder, source_path)
    _check_replaceable(folder, pattern)
    if source_path is not None and _holds(folder, Path(source_path)):
        raise OutputIsSource(f"{folder}: holds the clip itself; write the pictures to another folder")
    total = 0
    with placed(folder) as hidden:
        hidden.mkdir()
        for index, payload in enumerate(payloads):
            (hidden / (pattern % index)).write_bytes(payload)
            total += len(payload)
    return total


def _holds(folder: Path, source: Path) -> bool:
    return folder.is_dir() and any(is_same_file(entry, source) for entry in folder.iterdir())


def _check_replaceable(folder: Path, pattern: str) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputUnwritable(f"{folder}: is a file; name a folder for the pictures")
    number = NUMBERED.search(pattern)
    assert number is not None
    ours = re.compile(re.escape(pattern[: number.start()]) + r"\d+" + re.escape(pattern[number.end() :]))
    for name in _names(folder):
        if not ours.fullmatch(name):
            raise OutputUnwritable(
                f"{folder}: holds other files ({name}), which would be lost; name a new or an empty folder"
            )


def _names(folder: Path) -> Iterator[str]:
    yield from sorted(entry.name for entry in folder.iterdir())

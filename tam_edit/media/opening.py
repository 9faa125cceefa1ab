"""Opening a container for reading: the one place where FFmpeg's errors become ours, and where the log is kept quiet."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import av
import av.error
import av.logging
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from tam_edit.errors import ClipEmpty, ClipTruncated, NoVideoStream, SourceMissing, SourceUnreadable
from tam_edit.limits import memory_is_short
from tam_edit.media.structure import missing_bytes

# FFmpeg writes to stderr from its own threads; what matters is raised or found by the probe.
av.logging.set_level(None)

NO_MEMORY = (av.error.MemoryError, av.error.BlockingIOError)
"""What decoding raises for want of memory; the second where a thread gets no stack."""

# "https:/host/clip.mp4": a path has lost one of the strokes.
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]")
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".ppm", ".pgm"})


def open_source(path: str | Path) -> InputContainer:
    """Open a file for demuxing. Raises SourceMissing, SourceUnreadable, ClipEmpty, ClipTruncated."""
    place = Path(path)
    check_readable(place)
    try:
        # A whole path: FFmpeg would take what is before a colon for a protocol.
        return av.open(os.path.abspath(place), mode="r", metadata_errors="replace")
    except PermissionError as error:
        raise SourceUnreadable(f"{place}: no permission to read it; change its rights (chmod +r)") from error
    except av.error.EOFError as error:
        if place.stat().st_size:
            raise ClipEmpty(f"{place}: ends before its first frame; choose another file") from error
        raise SourceUnreadable(f"{place}: the file is empty; get a whole copy") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if lacking := missing_bytes(place):
            raise ClipTruncated(
                f"{place}: the file breaks off ({lacking} bytes are missing, its index among them); "
                "no frame of it could be read. Get a whole copy"
            ) from error
        raise SourceUnreadable(f"{place}: not a video that FFmpeg can open ({describe(error)}){hint(place)}") from error


def check_readable(place: Path) -> None:
    """Refuse what is no file and no folder: a device never ends, a pipe waits.

    Raises SourceMissing, SourceUnreadable.
    """
    try:
        mode = place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        if ADDRESS.match(str(place)):
            raise SourceMissing(f"{place}: is an address; download the clip, and name the file") from error
        raise SourceMissing(
            f"{place}: there is no such file or folder; put it back, or name where it is now"
        ) from error
    except OSError as error:
        raise SourceUnreadable(
            f"{place}: cannot be looked at ({error.strerror}); check the name and its rights"
        ) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SourceUnreadable(f"{place}: is a device or a pipe; name a file, or a folder of pictures")


def describe(error: Exception) -> str:
    """FFmpeg's own words for an error, without the number and the path."""
    return str(getattr(error, "strerror", None) or error)


def no_memory(path: str | Path) -> SourceUnreadable:
    """A frame that could not be decoded for want of memory is no damage to leave out: the frames would be fewer."""
    return SourceUnreadable(
        f"{path}: no memory was left while decoding it: close other programs, or use a machine with more "
        "(a damaged file may also ask for more than there is)"
    )


def refuse_without_memory(path: str | Path, error: Exception) -> None:
    """Raise `no_memory` where a frame that could not be decoded may be sound: decoders call it damaged then, too."""
    if memory_is_short():
        raise no_memory(path) from error


def hint(place: Path) -> str:
    """What a person can do about a file that does not open."""
    if place.is_file() and place.stat().st_size == 0:
        return ": the file is empty"
    if place.suffix.lower() in {".mp4", ".mov", ".m4v"}:
        return ": if its recording or copying broke off, its index was never written and nothing of it can be read"
    return ": check that it plays elsewhere"


def edited_stream(container: InputContainer, path: str | Path) -> VideoStream:
    """The first video stream that is no attached picture. Raises NoVideoStream, SourceUnreadable."""
    for stream in container.streams.video:
        if stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails):
            continue
        if stream.codec_context is None:
            raise SourceUnreadable(
                f"{path}: no decoder for its video (stream {stream.index}); convert it to another codec"
            )
        return stream
    held = ", ".join(sorted({stream.type for stream in container.streams}))
    found = f"only {held}" if held else "no streams at all"
    raise NoVideoStream(f"{path}: has no video stream ({found}); choose a file with moving pictures")

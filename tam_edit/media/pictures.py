"""Folders of pictures: reading them as a clip, and writing a clip as one, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from tam_edit.clip import ClipSource, Orientation
from tam_edit.errors import SourceUnreadable, UsageError
from tam_edit.media.digests import list_pictures
from tam_edit.media.frame_tags import chroma_location_of, colour_of
from tam_edit.media.opening import describe, open_source
from tam_edit.media.rgb import rgb_small

DEFAULT_RATE = Fraction(25)
EXIF_ORIENTATION = 0x0112
# Exif 2.32, section 4.6.4: how the rows and columns are to be shown, as our mirroring and clockwise turns.
BY_EXIF = {
    2: Orientation(0, True),
    3: Orientation(2),
    4: Orientation(2, True),
    5: Orientation(3, True),
    6: Orientation(1),
    7: Orientation(1, True),
    8: Orientation(3),
}


def read_picture(path: Path) -> VideoFrame:
    """Decode one picture file. Raises SourceMissing, SourceUnreadable."""
    with open_source(path) as container:
        try:
            frames = list(container.decode(video=0))
        except (av.error.FFmpegError, IndexError) as error:
            raise SourceUnreadable(f"{path}: the picture cannot be decoded ({describe(error)}); replace it") from error
    if not frames:
        raise SourceUnreadable(f"{path}: holds no picture; replace it")
    return frames[0]


def exif_orientation(path: Path) -> Orientation:
    """How a picture's EXIF tag says it is to be shown."""
    try:
        with Image.open(path) as picture:
            tag = int(picture.getexif().get(EXIF_ORIENTATION, 1))
    except (OSError, ValueError, TypeError, SyntaxError):
        return Orientation()  # no tag that can be read: FFmpeg has decoded the picture, and that is what counts
    return BY_EXIF.get(tag, Orientation())


def probe_pictures(
    folder: Path,
    *,
    digest: str,
    frame_rate: Fraction | None = None,
    on_picture: Callable[[int, NDArray[np.uint8]], None] | None = None,
) -> ClipSource:
    """Say what a folder of pictures is as a clip; 25 frames a second, with a warning, when no rate is given.

    Every picture is decoded once. Raises ClipEmpty, SourceUnreadable (a broken picture, or one of another size).
    """
    paths = list_pictures(folder)
    if frame_rate is not None and frame_rate <= 0:
        raise UsageError(f"a frame rate of {frame_rate}: it must be above 0")
    rate = frame_rate or DEFAULT_RATE
    warnings = []
    if frame_rate is None:
        warnings.append(f"{folder}: pictures have no frame rate; {DEFAULT_RATE} frames a second are taken")
    first = read_picture(paths[0])
    orientation = exif_orientation(paths[0])
    mixed: set[str] = set()
    for index, path in enumerate(paths):
        frame = first if index == 0 else read_picture(path)
        if (frame.width, frame.height) != (first.width, first.height):
            raise SourceUnreadable(
                f"{path}: is {frame.width}x{frame.height}, {paths[0].name} is {first.width}x{first.height}; "
                "all pictures of a clip must have one size"
            )
        if exif_orientation(path) != orientation:
            raise SourceUnreadable(f"{path}: is turned otherwise than {paths[0].name}; turn all pictures one way")
        mixed.add(frame.format.name)
        if on_picture is not None:
            on_picture(index, rgb_small(frame, colour_of(frame, None), orientation))
    if len(mixed) > 1:
        held = ", ".join(sorted(mixed))
        warnings.append(f"{folder}: pictures of several kinds ({held}); all are read as {first.format.name}")
    coded_wh = (first.width, first.height)
    return ClipSource(
        path=str(folder),
        digest=digest,
        kind="pictures",
        container=paths[0].suffix.lower().lstrip("."),
        codec=paths[0].suffix.lower().lstrip("."),
        coded_wh=coded_wh,
        size_wh=orientation.size_upright(coded_wh),
        orientation=orientation,
        pixel_format=first.format.name,
        bit_depth=max(component.bits for component in first.format.components),
        time_base=1 / rate,
        pts=tuple(range(len(paths))),
        last_duration=1,
        sync_frames=tuple(range(len(paths))),
        colour=colour_of(first, None),
        frame_rate=rate,
        warnings=tuple(warnings),
        display_matrix=None if orientation.is_identity else orientation.to_display_matrix(),
        chroma_location=chroma_location_of(first, paths[0].suffix.lower().lstrip(".")),
    )

"""What a decoded frame says of itself: its colours, where its chroma lies, how it is turned."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tam_edit.clip import MATRIX_BT2020, MATRIX_BT2020_CL, MATRIX_RGB, MATRIX_UNSPECIFIED, ColourTags, Orientation

# FFmpeg's AVChromaLocation.
SITED_LEFT, SITED_CENTRE, SITED_TOP_LEFT = 1, 2, 3


def colour_of(frame: VideoFrame, stream: VideoStream | None) -> ColourTags:
    """The colour tags of a decoded frame, the stream's where the frame has none."""
    name = frame.format.name

    def tagged(name_of: str, unspecified: int) -> int:
        value = int(getattr(frame, name_of))
        if value == unspecified and stream is not None:
            value = int(getattr(stream.codec_context, name_of))
        return value

    tagged_range = tagged("color_range", 0)
    always_full = name.startswith("yuvj") or frame.format.is_rgb or name in {"pal8", "gray", "ya8"}
    matrix = MATRIX_RGB if frame.format.is_rgb and name != "pal8" else tagged("colorspace", MATRIX_UNSPECIFIED)
    return ColourTags(
        matrix=matrix,
        primaries=tagged("color_primaries", 2),
        transfer=tagged("color_trc", 2),
        full_range=tagged_range == 2 or (tagged_range == 0 and always_full),
        range_tagged=tagged_range != 0,
    )


def chroma_location_of(frame: VideoFrame, codec: str) -> int:
    """Where subsampled chroma lies (SITED_...): by the codec's convention, as PyAV does not tell the tag."""
    if frame.format.name.startswith("yuvj") or codec in {"mjpeg", "vp8", "mpeg1video", "webp"}:
        return SITED_CENTRE
    top_left = codec in {"hevc", "av1"} and int(frame.colorspace) in {MATRIX_BT2020, MATRIX_BT2020_CL}
    return SITED_TOP_LEFT if top_left else SITED_LEFT


def side_data(frame: VideoFrame, kind: str) -> bytes | None:
    """A decoded frame's side data of one kind; None also where PyAV does not know another kind beside it (EXIF)."""
    try:
        held: Any = frame.side_data.get(kind)
    except ValueError:
        return None
    return None if held is None else bytes(held)


def orientation_of(frame: VideoFrame) -> tuple[Orientation, tuple[int, ...] | None, bool]:
    """(orientation, display matrix as stored, understood) of a decoded frame."""
    held = side_data(frame, "DISPLAYMATRIX")
    if held is None:
        found = Orientation(-round(frame.rotation / 90) % 4)
        return found, None if found.is_identity else found.to_display_matrix(), True
    matrix = tuple(int(value) for value in np.frombuffer(held, dtype=np.int32)[:9])
    understood = Orientation.from_display_matrix(matrix)
    return understood or Orientation(), matrix, understood is not None

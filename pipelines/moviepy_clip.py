"""The way out to moviepy: an edited result as a VideoClip whose frames are composited when asked for."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from tam_edit.pipelines.background import PlateBackground

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tam_edit.pipelines.context import Context
    from tam_edit.pipelines.encode import Overlay


def moviepy_clip(context: Context, overlay: Overlay, opened: contextlib.ExitStack) -> Any:
    """A moviepy VideoClip of the clip under an overlay, with the clip's first sound track if it has one.

    The context and what else is open for the overlay stay so while the clip is used; its close() closes them.
    """
    from moviepy import AudioFileClip, VideoClip

    source = context.source
    plate = PlateBackground(context, overlay, 0.0, source.size_wh)

    def frame_at(time_s: float) -> NDArray[np.uint8]:
        # A float of a frame's own start may lie a hair before it: half a tick of the time base is added.
        exact = Fraction(time_s).limit_denominator(10**9) + source.time_base / 2
        return plate.load(source.frame_at(source.time(0) + exact))

    class EditedClip(VideoClip):  # type: ignore[misc]  # moviepy has no types
        def close(self) -> None:
            super().close()
            context.__exit__()
            opened.close()

    clip = EditedClip(frame_function=frame_at, duration=float(source.duration))
    clip = clip.with_fps(float(source.frame_rate))
    if any(stream.kind == "audio" for stream in source.streams):
        clip = clip.with_audio(AudioFileClip(source.path))
    return clip

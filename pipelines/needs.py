"""How much memory pictures of a size need at least: a bound that cannot hold is told, in plans before any work."""

from __future__ import annotations

from tam_edit.media.layouts import layout_of
from tam_edit.media.settings import EncodeSettings
from tam_edit.pipelines.context import Context

BASE_BYTES = 330 << 20
"""Python, its libraries and what the stages remember of a short clip."""
STAGES_BYTES = 31
"""For each pixel, what decoding and the stages before keep while a picture is encoded."""
FILLING_BYTES = 96
"""For each pixel, what the classic filler needs with the fewest pictures in memory; tracking needs as much."""
MOTION_BYTES, MOTION_FRAMES = 27, 192
"""For each pixel at the size at which it measures motion, what it keeps of each frame, and of how many at most."""
ENCODER_PICTURES = {"h264": 68, "hevc": 68, "vp9": 76, "av1": 25, "ffv1": 21}
"""As many pictures of its own format each encoder takes, with the options that it is given here."""
OTHERS_PICTURES = 8
# Measured at 3840x2160 (docs/reliability.md); the figures grow with the number of pixels.


def filling_bytes(size_wh: tuple[int, int], frames: int = MOTION_FRAMES) -> int:
    """What the classic filler takes at its peak with the fewest pictures in memory; frames: of the longest shot."""
    from tam_edit.models.classic.fill_scene import work_size

    work_wh = work_size(size_wh)
    motion = MOTION_BYTES * work_wh[0] * work_wh[1] * min(frames, MOTION_FRAMES)
    return BASE_BYTES + FILLING_BYTES * size_wh[0] * size_wh[1] + motion


def least_bytes(size_wh: tuple[int, int], frames: int, settings: EncodeSettings) -> int:
    """What a removal with the classic engines takes at its peak, however little it may keep."""
    layout = layout_of(settings.pixel_format)
    chroma = {"yuv": 2 / (1 << layout.shift_x + layout.shift_y), "rgb": 2.0}.get(layout.family, 0.0)
    picture = (1 + chroma + layout.alpha) * (2 if layout.bits > 8 else 1)
    encoder = picture * ENCODER_PICTURES.get(settings.codec, OTHERS_PICTURES)
    encoding = BASE_BYTES + round((STAGES_BYTES + encoder) * size_wh[0] * size_wh[1])
    return max(filling_bytes(size_wh, frames), encoding)


def tell_need(context: Context, settings: EncodeSettings) -> None:
    """Warn when the clip's pictures need more memory than was given."""
    size_wh = context.source.size_wh
    needed, given = least_bytes(size_wh, context.source.frames, settings), context.memory_bytes
    if needed > given:
        context.runner.ledger.warn(
            f"pictures of {size_wh[0]}x{size_wh[1]} stored as {settings.codec} need about {needed / 1e9:.1f} GB of "
            f"memory, more than --memory allows ({given / 1e9:.1f} GB): the run takes what it needs"
        )

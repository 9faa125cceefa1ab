"""Backgrounds that move: another clip by exact time, or a moviepy clip."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from tam_edit.clip import ClipSource
from tam_edit.digest import digest_of
from tam_edit.effects import Look, MovingPicture
from tam_edit.errors import SourceUnreadable, UsageError
from tam_edit.pipelines.background import placing_of
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.placement import placed

KEPT_BYTES = 192 << 20


def check_part(look: Look, duration: Fraction, what: str) -> Fraction:
    """Where the part that plays ends, in seconds of the background. Raises UsageError when nothing is left of it."""
    if look.start_s >= duration:
        words = f"lasts {float(duration):g} s and cannot begin at {float(look.start_s):g} s: begin earlier"
        raise UsageError(f"background {what}: {words}")
    return duration if look.stop_s is None else min(look.stop_s, duration)


def played(since: Fraction, look: Look, stop: Fraction) -> Fraction | None:
    """Seconds of the background that go with seconds since the clip's start; None: beyond the end, it holds."""
    gone = since * look.speed
    length = stop - look.start_s
    if gone < length:
        return look.start_s + gone
    return look.start_s + gone % length if look.at_end == "loop" else None


@dataclass
class VideoBackground:
    """Another clip behind the objects: at each frame what is on screen at that time, by both clips' time stamps."""

    clip: ClipSource
    source: ClipSource
    look: Look
    _context: Context = field(repr=False)

    def __post_init__(self) -> None:
        self._stop = check_part(self.look, self.clip.duration, self.clip.path)

    def frame_for(self, frame: int) -> int:
        """Which frame of the background goes with one of the clip, by exact time."""
        at = played(self.source.time(frame) - self.source.time(0), self.look, self._stop)
        if at is not None:
            return self.clip.frame_at(self.clip.time(0) + at)
        # The last frame that began before the end.
        end_pts = self.clip.pts[0] + self._stop / self.clip.time_base
        return max(bisect.bisect_left(self.clip.pts, end_pts) - 1, 0)

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        where = placing_of(self.look)
        return {
            "background": {
                frame: digest_of((self._context.picture_digest(self.frame_for(frame)), where)) for frame in frames
            }
        }

    def load(self, frame: int) -> Rgb:
        return placed(self._context.rgb(self.frame_for(frame)), self.source.size_wh, self.look)


@dataclass
class ClipBackground:
    """A moviepy clip behind the objects. Only its pixels can tell what it shows, so keys are made from those."""

    clip: MovingPicture
    source: ClipSource
    look: Look
    _kept: OrderedDict[int, tuple[Rgb, str]] = field(default_factory=OrderedDict, repr=False)

    def __post_init__(self) -> None:
        self._stop: Fraction | None = self.look.stop_s
        if self.clip.duration is not None:
            self._stop = check_part(self.look, Fraction(self.clip.duration).limit_denominator(10**6), "clip")

    def time_for(self, frame: int) -> Fraction:
        """Seconds of the background that go with a frame."""
        since = self.source.time(frame) - self.source.time(0)
        if self._stop is None:  # it has no end
            return self.look.start_s + since * self.look.speed
        at = played(since, self.look, self._stop)
        rate = getattr(self.clip, "fps", None) or 25
        return at if at is not None else max(self._stop - 1 / Fraction(rate).limit_denominator(10**6), Fraction(0))

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        return {"background": {frame: self._frame(frame)[1] for frame in frames}}

    def load(self, frame: int) -> Rgb:
        return self._frame(frame)[0]

    def _frame(self, frame: int) -> tuple[Rgb, str]:
        if frame not in self._kept:
            rgb = placed(self._drawn(float(self.time_for(frame))), self.source.size_wh, self.look)
            self._kept[frame] = rgb, digest_of(("clip", rgb))
            while len(self._kept) > max(KEPT_BYTES // rgb.nbytes, 2):
                self._kept.popitem(last=False)
        self._kept.move_to_end(frame)
        return self._kept[frame]

    def _drawn(self, time_s: float) -> Rgb:
        try:
            found = np.asarray(self.clip.get_frame(time_s))
        except (OSError, ValueError, IndexError, KeyError, TypeError, ZeroDivisionError) as error:
            raise SourceUnreadable(
                f"the background clip cannot be drawn at {time_s:.3f} s ({error}): check it"
            ) from error
        if found.ndim != 3 or found.shape[2] < 3 or 0 in found.shape or found.dtype.kind not in "uif":
            raise SourceUnreadable(
                f"the background clip gives {found.dtype} {found.shape} at {time_s:.3f} s: RGB [H, W, 3] is needed"
            )
        return np.ascontiguousarray(np.clip(np.rint(found[..., :3]), 0, 255).astype(np.uint8))

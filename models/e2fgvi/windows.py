"""Which frames a window sees and how windows share a frame: the default procedure's arithmetic, without a tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tam_edit.errors import UsageError

#: The end of a shot as far as it matters: min(frame count, limit). A stream need not know its length for that.
End = Callable[[int], int]


@dataclass(frozen=True)
class FillSettings:
    """How a shot is filled. Frames, pixels and bytes; everything that changes a result is here.

    chunk        frames a window advances; also the unit of caching
    overlap      frames at a window's end that the next one fills too; the two are faded into each other.
                 Together they are the eleven neighbours of the authors' windows: as the network indexes flows by
                 step, longer windows lead it astray
    reference_step, reference_span   references are every `reference_step`-th frame of the shot, as far as
                 `reference_span` frames before and after the window
    context_px   pixels around the hole that the network sees at least
    context      the same as a share of the hole's own size; the larger of the two counts
    region_gap_px   holes farther apart than this (from their contexts) may become regions of their own
    max_pixels   a region larger than this is filled at a smaller size, and a warning says so
    cache_bytes  room for features and flows that windows share, and for as many bytes of frames
    """

    chunk: int = 7
    overlap: int = 4
    reference_step: int = 10
    reference_span: int = 20
    context_px: int = 48
    context: float = 0.25
    region_gap_px: int = 48
    max_pixels: int = 1280 * 720
    cache_bytes: int = 512 * 2**20

    def __post_init__(self) -> None:
        for name, least in (("chunk", 1), ("overlap", 0), ("reference_step", 1), ("reference_span", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"FillSettings.{name} is {value!r}: give a whole number, at least {least}")
        if self.overlap > self.chunk:
            raise UsageError(f"FillSettings.overlap ({self.overlap}) must not exceed chunk ({self.chunk})")
        if self.context_px < 0 or not 0 <= self.context < float("inf") or self.region_gap_px < 0:
            raise UsageError("FillSettings: context_px, context and region_gap_px must not be negative")
        if self.max_pixels < 240 * 432:
            raise UsageError(f"FillSettings.max_pixels is {self.max_pixels}: give at least {240 * 432}")
        if self.cache_bytes < 0:
            raise UsageError(f"FillSettings.cache_bytes is {self.cache_bytes}: give 0 or more")


@dataclass(frozen=True)
class Window:
    """Frames one run of the network sees: adjacent neighbours, which it fills, and references, which only help."""

    neighbours: range
    references: tuple[int, ...]

    @property
    def frames(self) -> tuple[int, ...]:
        return (*self.neighbours, *self.references)


def window(number: int, end: End, settings: FillSettings) -> Window | None:
    """The window that begins with chunk `number`, or None where the window before it already reaches the end."""
    start = number * settings.chunk
    least = start + (settings.overlap if number else 0)
    if end(least + 1) <= least:
        return None
    wanted = start + settings.chunk + settings.overlap
    stop = end(wanted)
    span, step = settings.reference_span, settings.reference_step
    first = -(-max(start - span, 0) // step) * step
    after = range(-(-stop // step) * step, stop + span, step)
    # Only a window that is not the last has frames after it.
    following = [index for index in after if end(index + 1) > index]
    return Window(range(start, stop), (*range(first, start, step), *following))


def windows_of(number: int, end: End, settings: FillSettings) -> tuple[tuple[int, Window], ...]:
    """The windows that fill chunk `number`: the one before it, for its first frames, and the one that begins it."""
    found = [(n, window(n, end, settings)) for n in (number - 1, number) if n >= 0]
    start = number * settings.chunk
    return tuple((n, w) for n, w in found if w is not None and w.neighbours.stop > start)


def weights(index: int, number: int, end: End, settings: FillSettings) -> tuple[tuple[int, float], ...]:
    """Which windows fill frame `index` of chunk `number` and with what weight; the weights add up to 1."""
    windows = [n for n, w in windows_of(number, end, settings) if index in w.neighbours]
    if len(windows) == 1:
        return ((windows[0], 1.0),)
    before, beginning = windows
    share = (index - number * settings.chunk + 1) / (settings.overlap + 1)
    return ((before, 1.0 - share), (beginning, share))

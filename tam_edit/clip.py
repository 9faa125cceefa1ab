"""What a clip is: its frames, their exact times, how it is turned and coloured; values only, nothing is opened here."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import ScriptError, UsageError

Scalar = TypeVar("Scalar", bound=np.generic)

# The names FFmpeg gives to values of AVColorSpace: ITU-T H.273, table 4.
MATRIX_RGB, MATRIX_BT709, MATRIX_UNSPECIFIED, MATRIX_FCC = 0, 1, 2, 4
MATRIX_BT470BG, MATRIX_BT601, MATRIX_240M, MATRIX_BT2020, MATRIX_BT2020_CL = 5, 6, 7, 9, 10
HD_FROM_HEIGHT_PX = 720


@dataclass(frozen=True, order=True)
class FrameSpan:
    """Frames `start` to `stop - 1`: half-open, 0-based; an empty span is allowed."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.stop < self.start:
            raise ValueError(f"FrameSpan({self.start}, {self.stop}): 0 <= start <= stop is needed")

    def __len__(self) -> int:
        return self.stop - self.start

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int | np.integer) and bool(self.start <= index < self.stop)

    def __str__(self) -> str:
        return f"{self.start}:{self.stop}"

    def indices(self) -> range:
        """The frame numbers, in order."""
        return range(self.start, self.stop)

    def chunks(self, size: int) -> Iterator[FrameSpan]:
        """Pieces of `size` frames on a grid that begins at `start`; the last may be shorter."""
        if size < 1:
            raise ValueError(f"a chunk of {size} frames: at least 1 is needed")
        for start in range(self.start, self.stop, size):
            yield FrameSpan(start, min(start + size, self.stop))

    def intersect(self, other: FrameSpan) -> FrameSpan:
        """The frames in both; empty (at the later start) when there are none."""
        start = max(self.start, other.start)
        return FrameSpan(start, max(start, min(self.stop, other.stop)))

    @classmethod
    def parse(cls, text: str, frames: int | None = None) -> FrameSpan:
        """Read "A:B" as on the command line; "A:" and ":B" need `frames`, the clip's length. Raises UsageError."""
        first, colon, last = text.strip().partition(":")
        try:
            start = int(first) if first else 0
            stop = int(last) if last else frames
        except ValueError:
            stop = None
            start = -1
        if not colon or stop is None or start < 0 or stop <= start:
            raise UsageError(
                f"frames {text!r}: write A:B, for example 0:120 (first frame 0, the last one not included)"
            )
        if frames is not None and stop > frames:
            raise UsageError(f"frames {text!r}: the clip has {frames} frames, so B is at most {frames}")
        return cls(start, stop)


@dataclass(frozen=True)
class Orientation:
    """How the coded picture is shown: first mirrored left to right if so, then turned clockwise by quarter turns."""

    quarter_turns_clockwise: int = 0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.quarter_turns_clockwise not in (0, 1, 2, 3):
            raise ValueError(f"{self.quarter_turns_clockwise} quarter turns: 0, 1, 2 or 3 are meant")

    @property
    def is_identity(self) -> bool:
        return self.quarter_turns_clockwise == 0 and not self.mirrored

    @property
    def swaps_sides(self) -> bool:
        """Width and height change places."""
        return self.quarter_turns_clockwise % 2 == 1

    def apply(self, coded: NDArray[Scalar]) -> NDArray[Scalar]:
        """Coded -> upright: [H, W, ...] -> [H, W, ...] or [W, H, ...]; a view where possible."""
        turned = coded[:, ::-1] if self.mirrored else coded
        return np.rot90(turned, -self.quarter_turns_clockwise, axes=(0, 1))

    def undo(self, upright: NDArray[Scalar]) -> NDArray[Scalar]:
        """Upright -> coded, the exact inverse of `apply`."""
        turned = np.rot90(upright, self.quarter_turns_clockwise, axes=(0, 1))
        return turned[:, ::-1] if self.mirrored else turned

    def size_upright(self, coded_wh: tuple[int, int]) -> tuple[int, int]:
        return (coded_wh[1], coded_wh[0]) if self.swaps_sides else coded_wh

    def rect_coded(self, x: int, y: int, size_wh: tuple[int, int], upright_wh: tuple[int, int]) -> tuple[int, int]:
        """Where an upright rectangle's top left corner lies in the coded picture: (x, y) in coded pixels."""
        width, height = size_wh
        full_width, full_height = upright_wh
        for _ in range(self.quarter_turns_clockwise):  # take one clockwise turn back, so turn anticlockwise
            x, y = y, full_width - x - width
            width, height = height, width
            full_width, full_height = full_height, full_width
        if self.mirrored:
            x = full_width - x - width
        return x, y

    def to_display_matrix(self) -> tuple[int, ...]:
        """FFmpeg's AV_PKT_DATA_DISPLAYMATRIX: nine integers, 16.16 and (last column) 2.30 fixed point."""
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[self.quarter_turns_clockwise]
        flip = -1 if self.mirrored else 1
        one = 1 << 16
        return (cosine * flip * one, sine * flip * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)

    @classmethod
    def from_display_matrix(cls, matrix: tuple[int, ...]) -> Orientation | None:
        """The orientation a display matrix means; None when it is no multiple of a quarter turn."""
        a, b, _, c, d = matrix[:5]
        largest = max(abs(a), abs(b), abs(c), abs(d))
        if largest == 0:
            return cls()
        signs = tuple(round(value / largest) if abs(value) > largest // 100 else 0 for value in (a, b, c, d))
        for turns in range(4):
            for mirrored in (False, True):
                candidate = cls(turns, mirrored)
                expected = candidate.to_display_matrix()
                if signs == tuple(value >> 16 for value in (*expected[:2], *expected[3:5])):
                    return candidate
        return None


@dataclass(frozen=True)
class ColourTags:
    """Colour as tagged: matrix, primaries and transfer are FFmpeg's numbers (ITU-T H.273), 2 means unspecified."""

    matrix: int = MATRIX_UNSPECIFIED
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False
    range_tagged: bool = True

    def resolve_matrix(self, coded_height: int) -> int:
        """The matrix to compute with: an unspecified one is BT.709 from 720 lines on, else BT.601."""
        if self.matrix in (MATRIX_UNSPECIFIED, 3):
            return MATRIX_BT709 if coded_height >= HD_FROM_HEIGHT_PX else MATRIX_BT601
        return self.matrix


@dataclass(frozen=True)
class StreamNote:
    """One stream of the container beside the edited one."""

    index: int
    kind: str
    codec: str
    language: str = ""


@dataclass(frozen=True)
class ClipSource:
    """The clip that is edited, as one full decoding pass found it.

    `pts` has one strictly increasing entry per decoded frame in presentation order, in units of `time_base`, after edit
    lists. `size_wh` and all pixel positions elsewhere are those of the upright picture; `coded_wh` is the stored one.
    `display_matrix` is what the container says, verbatim; `orientation` what it means. `seekable` is False where
    timestamps were missing or repeated, so that frames can only be counted from the start.
    """

    path: str
    digest: str
    kind: str
    container: str
    codec: str
    coded_wh: tuple[int, int]
    size_wh: tuple[int, int]
    orientation: Orientation
    pixel_format: str
    bit_depth: int
    time_base: Fraction
    pts: tuple[int, ...]
    last_duration: int
    sync_frames: tuple[int, ...]
    sample_aspect: Fraction = Fraction(1)
    colour: ColourTags = ColourTags()
    frame_rate: Fraction = Fraction(25)
    interlaced: bool = False
    streams: tuple[StreamNote, ...] = ()
    video_stream_index: int = 0
    warnings: tuple[str, ...] = ()
    display_matrix: tuple[int, ...] | None = None
    seekable: bool = True
    chroma_location: int = 0
    field_order: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("video", "pictures"):
            raise ValueError(f"a source of kind {self.kind!r}: 'video' or 'pictures' are known")
        if not self.pts:
            raise ValueError(f"{self.path}: a source without frames")
        if any(later <= earlier for earlier, later in zip(self.pts, self.pts[1:], strict=False)):
            raise ValueError(f"{self.path}: timestamps do not increase strictly")
        if self.time_base <= 0 or self.last_duration < 1:
            raise ValueError(f"{self.path}: time base {self.time_base}, last duration {self.last_duration}")
        if self.orientation.size_upright(self.coded_wh) != self.size_wh:
            raise ValueError(f"{self.path}: {self.coded_wh} turned by {self.orientation} is not {self.size_wh}")

    @property
    def frames(self) -> int:
        return len(self.pts)

    @property
    def span(self) -> FrameSpan:
        return FrameSpan(0, len(self.pts))

    @property
    def end_pts(self) -> int:
        """Where the last frame ends, in units of `time_base`."""
        return self.pts[-1] + self.last_duration

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's start to the last one's end."""
        return (self.end_pts - self.pts[0]) * self.time_base

    @property
    def matrix(self) -> int:
        """The colour matrix to compute with (never 'unspecified')."""
        return self.colour.resolve_matrix(self.coded_wh[1])

    def time(self, index: int) -> Fraction:
        """When a frame is shown, in exact seconds of the container's clock."""
        return self.pts[index] * self.time_base

    def duration_pts(self, index: int) -> int:
        """How long a frame is shown, in units of `time_base`."""
        return (self.pts[index + 1] if index + 1 < len(self.pts) else self.end_pts) - self.pts[index]

    def frame_at(self, time: Fraction) -> int:
        """The frame on screen at a time in seconds; the first before the start, the last after the end."""
        return max(bisect.bisect_right(self.pts, time / self.time_base) - 1, 0)

    def sync_before(self, index: int) -> int:
        """The last sync frame at or before a frame; 0 where there is none."""
        position = bisect.bisect_right(self.sync_frames, index)
        return self.sync_frames[position - 1] if position else 0

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` takes back exactly; fractions are written "num/den"."""
        found = asdict(self)
        for name in ("time_base", "sample_aspect", "frame_rate"):
            value = found[name]
            found[name] = f"{value.numerator}/{value.denominator}"
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ClipSource:
        """The inverse of `to_json`. Raises ScriptError on anything else."""
        known = {field.name for field in fields(cls)}
        try:
            given = {name: item for name, item in value.items() if name in known}
            for name in ("time_base", "sample_aspect", "frame_rate"):
                given[name] = Fraction(given[name])
            for name in ("coded_wh", "size_wh", "pts", "sync_frames", "warnings"):
                given[name] = tuple(given[name])
            given["orientation"] = Orientation(**given["orientation"])
            given["colour"] = ColourTags(**given["colour"])
            given["streams"] = tuple(StreamNote(**stream) for stream in given["streams"])
            matrix = given.get("display_matrix")
            given["display_matrix"] = None if matrix is None else tuple(matrix)
            return cls(**given)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ScriptError(f"the record of a source cannot be read ({error!r}): probe the clip again") from error

"""Probing: one full decoding pass that finds every frame's exact time, and whether the file is whole."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tam_edit.clip import ClipSource, Orientation, StreamNote
from tam_edit.errors import ClipEmpty, ClipTruncated, SourceUnreadable
from tam_edit.media.convert import SWS_MATRIX
from tam_edit.media.frame_tags import chroma_location_of, colour_of, orientation_of, side_data
from tam_edit.media.opening import NO_MEMORY, describe, edited_stream, no_memory, open_source, refuse_without_memory
from tam_edit.media.pictures import probe_pictures
from tam_edit.media.rgb import rgb_small
from tam_edit.media.structure import missing_bytes

OnPicture = Callable[[int, NDArray[np.uint8]], None]

# Containers whose header says how long the film is; elsewhere FFmpeg only guesses a duration from the bit rate.
SAYS_DURATION = frozenset({"mov", "matroska", "avi", "flv", "asf"})
CAPTIONS_LOOKED_FOR_FRAMES = 200
CIRCLES = 8  # frames that may wait for being given back


def probe(
    path: str | Path,
    *,
    digest: str,
    frame_rate: Fraction | None = None,
    allow_truncated: bool = False,
    on_picture: OnPicture | None = None,
) -> ClipSource:
    """Read a clip (or a folder of pictures) whole, once, and say exactly what it is.

    `on_picture(index, rgb)` gets every upright frame as uint8 [h, w, 3], its long side at most 320. `frame_rate` is for
    folders of pictures only. Raises SourceMissing, SourceUnreadable, NoVideoStream, ClipEmpty, ClipTruncated.
    """
    place = Path(path)
    if place.is_dir():
        return probe_pictures(place, digest=digest, frame_rate=frame_rate, on_picture=on_picture)
    with open_source(place) as container:
        stream = edited_stream(container, place)
        stream.thread_type = "AUTO"
        seen = _Seen(place)
        _read_all(container, stream, seen, on_picture)
        if not seen.raw_pts or seen.first is None:
            _raise_empty(place, seen)
        broken = _why_truncated(container, place, seen)
        warnings = list(seen.warnings())
        if broken:
            what = f"{place}: the file breaks off ({broken}); {_readable(stream, seen)} could be read"
            if not allow_truncated:
                raise ClipTruncated(f"{what}. Get a whole copy, or go on with what is there: --allow-truncated")
            warnings.append(what)
        if frame_rate is not None:
            warnings.append(f"{place}: the frame rate given is not used, the file has its own timestamps")
        return _source(container, stream, place, digest, seen, warnings, whole=not broken)


@dataclass
class _Seen:
    """What the decoding pass noticed."""

    place: Path
    first: VideoFrame | None = None
    raw_pts: list[int | None] = field(default_factory=list)
    raw_dts: list[int | None] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    sync: list[int] = field(default_factory=list)
    interlaced: int = 0
    captions: bool = False
    corrupt: list[int] = field(default_factory=list)
    other_sizes: int = 0
    errors_before: int = 0
    errors_after: int = 0
    error_words: str = ""
    read_error: str = ""
    end_s: Fraction = Fraction(0)
    packet_duration: int = 0
    circles: int = 0

    def take(self, frame: VideoFrame) -> bool:
        """Count a frame in; False for one of another size, which cannot be part of the clip."""
        if self.first is None:
            self.first = frame
        elif (frame.width, frame.height, frame.format.name) != (
            self.first.width,
            self.first.height,
            self.first.format.name,
        ):
            self.other_sizes += 1
            return False
        index = len(self.raw_pts)
        self.raw_pts.append(frame.pts)
        self.raw_dts.append(frame.dts)
        self.durations.append(frame.duration or 0)
        if frame.key_frame:
            self.sync.append(index)
        if frame.is_corrupt:
            self.corrupt.append(index)
        self.interlaced += bool(frame.interlaced_frame)
        if not self.captions and index < CAPTIONS_LOOKED_FOR_FRAMES:
            self.captions = side_data(frame, "A53_CC") is not None
            self.circles += 1
        return True

    def let_go(self) -> None:
        """Give back the frames whose side data was looked at: PyAV holds them in circles, in 4K a gigabyte of them."""
        if self.circles >= CIRCLES:
            gc.collect(1)
            self.circles = 0

    def fail(self, error: Exception) -> None:
        if self.first is None:
            self.errors_before += 1
        else:
            self.errors_after += 1
        self.error_words = self.error_words or describe(error)

    def warnings(self) -> list[str]:
        found = []
        if self.errors_before:
            found.append(f"{self.place}: {self.errors_before} packets before the first whole frame were left out")
        if self.corrupt:
            found.append(
                f"{self.place}: {len(self.corrupt)} frames are damaged and were patched by the decoder "
                f"(the first is frame {self.corrupt[0]})"
            )
        if self.first is not None:
            found.extend(_unusual(self.place, self.first))
        if self.captions:
            found.append(f"{self.place}: closed captions inside the video frames are not kept (subtitle streams are)")
        return found


def _unusual(place: Path, first: VideoFrame) -> list[str]:
    """What the first frame carries that the result will not, or that colours cannot be computed with."""
    found = []
    if any(side_data(first, kind) for kind in ("MASTERING_DISPLAY_METADATA", "DYNAMIC_HDR_PLUS", "DOVI_METADATA")):
        found.append(f"{place}: the HDR mastering values inside the video are not kept (the colour tags are)")
    if not first.format.is_rgb and int(first.colorspace) not in {*SWS_MATRIX, 2, 3}:
        found.append(f"{place}: its colour matrix {int(first.colorspace)} is not known; colours are taken as BT.601")
    return found


def _read_all(container: InputContainer, stream: VideoStream, seen: _Seen, on_picture: OnPicture | None) -> None:
    """Decode the edited stream and look at the packets of all others, in file order."""
    orientation = Orientation()

    def take(frames: list[VideoFrame]) -> None:
        nonlocal orientation
        for frame in frames:
            if seen.first is None:
                orientation = orientation_of(frame)[0]
            index = len(seen.raw_pts)
            if seen.take(frame) and on_picture is not None:
                on_picture(index, rgb_small(frame, colour_of(frame, stream), orientation))

    packets = container.demux()
    while True:
        try:
            packet = next(packets, None)
        except NO_MEMORY as error:
            raise no_memory(seen.place) from error
        except (av.error.FFmpegError, OSError) as error:
            seen.read_error = describe(error)
            break
        if packet is None:
            break
        _note_end(packet, seen)
        if packet.stream_index == stream.index and packet.size:
            if packet.duration:
                seen.packet_duration = packet.duration
            try:
                take(stream.decode(packet))
                seen.let_go()
            except NO_MEMORY as error:
                raise no_memory(seen.place) from error
            except av.error.FFmpegError as error:
                refuse_without_memory(seen.place, error)
                seen.fail(error)
    try:
        take(stream.decode(None))
    except av.error.EOFError:
        pass
    except NO_MEMORY as error:
        raise no_memory(seen.place) from error
    except av.error.FFmpegError as error:
        refuse_without_memory(seen.place, error)
        seen.fail(error)


def _note_end(packet: Packet[Stream], seen: _Seen) -> None:
    stamp = packet.pts if packet.pts is not None else packet.dts
    if stamp is not None and packet.stream.time_base:
        seen.end_s = max(seen.end_s, (stamp + (packet.duration or 0)) * packet.stream.time_base)


def _raise_empty(place: Path, seen: _Seen) -> None:
    if seen.errors_before or seen.read_error:
        words = seen.error_words or seen.read_error
        raise SourceUnreadable(f"{place}: none of its frames can be decoded ({words}); check that it plays elsewhere")
    if missing_bytes(place):
        raise ClipTruncated(f"{place}: the file breaks off before its first frame; get a whole copy")
    raise ClipEmpty(f"{place}: its video stream holds no frame; choose another file")


def _why_truncated(container: InputContainer, place: Path, seen: _Seen) -> str:
    """In words, what shows that the file is not whole; empty when nothing does."""
    if seen.read_error:
        return f"reading it failed: {seen.read_error}"
    if lacking := missing_bytes(place):
        return f"{lacking} bytes are missing at its end"
    if seen.errors_after:
        return f"{seen.errors_after} packets cannot be decoded: {seen.error_words}"
    if container.format.name.split(",")[0] in SAYS_DURATION and container.duration:
        # Matroska's duration counts from 0, that of mp4 from the first frame.
        start = container.start_time or 0 if container.format.name.startswith("mov") else 0
        said_s = Fraction(container.duration + start, 1_000_000)
        if said_s - seen.end_s > max(Fraction(1), said_s / 20):
            return f"it says it lasts {float(said_s):.1f} s and ends at {float(seen.end_s):.1f} s"
    return ""


def _readable(stream: VideoStream, seen: _Seen) -> str:
    stamps = [stamp for stamp in seen.raw_pts if stamp is not None]
    seconds = float((max(stamps) - min(stamps)) * (stream.time_base or 0)) if stamps else 0.0
    whole = f" of {stream.frames}" if stream.frames > len(seen.raw_pts) else ""
    return f"{len(seen.raw_pts)}{whole} frames ({seconds:.2f} s)"


def _timestamps(stream: VideoStream, seen: _Seen) -> tuple[list[int], bool]:
    """(strictly increasing pts, whether they are the file's own).

    Where many are missing or go back (AVI and bare streams number packets, not pictures) an even rate is all there is;
    a single step back (a joined recording) goes on from where it was.
    """
    usual = _usual_duration(stream, seen)
    known = [stamp for stamp in seen.raw_pts if stamp is not None]
    back = sum(later < earlier for earlier, later in itertools.pairwise(known))
    if (len(seen.raw_pts) - len(known) + back) * 10 > len(seen.raw_pts):
        start = min(known, default=0)
        return [start + usual * index for index in range(len(seen.raw_pts))], False
    stamps: list[int] = []
    own, shift = True, 0
    for pts, dts in zip(seen.raw_pts, seen.raw_dts, strict=True):
        raw = pts if pts is not None else dts
        stamp = raw + shift if raw is not None else None
        if pts is None or (stamps and stamp is not None and stamp <= stamps[-1]):
            own = False
        if stamp is None:
            stamp = stamps[-1] + usual if stamps else 0
        elif stamps and stamp < stamps[-1]:
            shift += stamps[-1] + usual - stamp
            stamp = stamps[-1] + usual
        elif stamps and stamp == stamps[-1]:
            stamp += 1
        stamps.append(stamp)
    return stamps, own


def _last_duration(container: InputContainer, stream: VideoStream, seen: _Seen, pts: list[int], whole: bool) -> int:
    """How long the last frame stays: to the end of its track where the container knows it (mp4, mov)."""
    shown = seen.durations[-1] or _usual_duration(stream, seen)
    if whole and container.format.name.startswith("mov") and stream.duration and stream.start_time is not None:
        left = stream.start_time + stream.duration - pts[-1]
        # Edit lists often count in milliseconds, so a smaller difference is only their rounding.
        if left > 0 and stream.time_base and abs(left - shown) * stream.time_base > Fraction(1, 1000):
            return left
    return shown


def _usual_duration(stream: VideoStream, seen: _Seen) -> int:
    """The step between frames that is met most, in the stream's time base; from the frame rate where none is known."""
    known = [stamp for stamp in seen.raw_pts if stamp is not None]
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(known))
    if steps and steps[0] > 0 and len(known) == len(seen.raw_pts):
        return steps[len(steps) // 2]
    rate = _positive(stream.average_rate) or _positive(stream.guessed_rate) or Fraction(25)
    from_rate = round(1 / (rate * stream.time_base)) if stream.time_base else 1
    return max(from_rate if steps or not seen.packet_duration else seen.packet_duration, 1)


def _source(
    container: InputContainer,
    stream: VideoStream,
    place: Path,
    digest: str,
    seen: _Seen,
    warnings: list[str],
    *,
    whole: bool,
) -> ClipSource:
    first = seen.first
    assert first is not None  # _raise_empty has seen to it
    orientation, display_matrix, understood = orientation_of(first)
    pts, own = _timestamps(stream, seen)
    last_duration = _last_duration(container, stream, seen, pts, whole) if own else _usual_duration(stream, seen)
    time_base = stream.time_base or Fraction(1, 25)
    if not understood:
        warnings.append(f"{place}: is turned by an angle that is no quarter turn; shown as it is stored")
    if not own:
        warnings.append(
            f"{place}: timestamps are missing or repeated; the repaired ones are used, and kept in the output"
        )
    if seen.other_sizes:
        warnings.append(f"{place}: {seen.other_sizes} frames of another size or format were left out")
    interlaced = seen.interlaced * 2 > len(pts)
    if interlaced:
        warnings.append(
            f"{place}: the video is interlaced; it is edited as whole frames, moving edges may show combs. "
            "Deinterlace it first for best results"
        )
    lasting = pts[-1] + last_duration - pts[0]
    average = Fraction(len(pts)) / (lasting * time_base)
    coded_wh = (first.width, first.height)
    return ClipSource(
        path=str(place),
        digest=digest,
        kind="video",
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        coded_wh=coded_wh,
        size_wh=orientation.size_upright(coded_wh),
        orientation=orientation,
        pixel_format=first.format.name,
        bit_depth=max(component.bits for component in first.format.components),
        time_base=time_base,
        pts=tuple(pts),
        last_duration=last_duration,
        sync_frames=tuple(seen.sync),
        sample_aspect=_positive(stream.sample_aspect_ratio) or Fraction(1),
        colour=colour_of(first, stream),
        frame_rate=_nice_rate(average, stream),
        interlaced=interlaced,
        streams=tuple(
            StreamNote(other.index, other.type, _codec_name(other), other.language or "")
            for other in container.streams
            if other.index != stream.index
        ),
        video_stream_index=stream.index,
        warnings=tuple(warnings),
        display_matrix=display_matrix,
        seekable=own,
        field_order=int(stream.codec_context.field_order),
        chroma_location=chroma_location_of(first, stream.codec_context.codec.canonical_name),
    )


def _positive(value: Fraction | None) -> Fraction | None:
    return value if value is not None and value > 0 else None


def _nice_rate(average: Fraction, stream: VideoStream) -> Fraction:
    """The container's rate where it agrees with the timestamps, else the measured one."""
    said = _positive(stream.average_rate)
    if said is not None and abs(said - average) < average / 200:
        return said
    return average.limit_denominator(1001)


def _codec_name(stream: Stream) -> str:
    context = stream.codec_context
    return context.codec.canonical_name if context is not None else (stream.name or "unknown")

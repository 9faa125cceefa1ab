"""Joining encoded segments into the result, with the source's times, tags and all its other streams copied."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
import av.packet
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from tam_edit.clip import ClipSource
from tam_edit.errors import OutputError, OutputUnwritable, StoreError
from tam_edit.media import matroska
from tam_edit.media.opening import describe, open_source
from tam_edit.media.picture_output import picture_folder, write_files
from tam_edit.media.placing import check_destination, placed, unwritable
from tam_edit.media.segments import Segment, SegmentPacket, coded_size, configure, packet_times, unpack
from tam_edit.media.settings import EncodeSettings

MILLISECOND = Fraction(1, 1000)
# Written anew by the muxer; the source's would be wrong.
NOT_COPIED = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "DURATION"})
MOST_TICKS = 2**31 - 1
TEXT_CLOCK = 1_000_000


@dataclass(frozen=True)
class JoinResult:
    """What was written: `bytes` is the file's size; warnings name whatever the container could not hold."""

    warnings: tuple[str, ...]
    bytes: int


def join(
    segments: Iterable[bytes], source: ClipSource, settings: EncodeSettings, destination: str | Path
) -> JoinResult:
    """Mux segments of `encode_segment` as one stream, without encoding anything again, beside the copied streams.

    The segments must hold every frame of the clip once, in order; each is read when its turn comes. The file appears
    whole under its name or not at all. Raises OutputIsSource, OutputUnwritable, OutputError, StoreError (a damaged
    segment).
    """
    place = Path(destination)
    if settings.kind == "pictures":
        return _join_pictures(segments, source, settings, place)
    check_destination(place, source.path)
    if place.is_dir():
        raise OutputUnwritable(f"{place}: is a folder; name a file")
    warnings: list[str] = []
    with placed(place) as hidden:
        try:
            _write(segments, source, settings, hidden, warnings)
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError):
                raise unwritable(place, error) from error
            raise OutputError(f"{place}: {settings.container} refused the streams ({describe(error)})") from error
        size = hidden.stat().st_size
    return JoinResult(tuple(warnings), size)


def _join_pictures(segments: Iterable[bytes], source: ClipSource, settings: EncodeSettings, place: Path) -> JoinResult:
    folder = picture_folder(place)
    written = write_files(
        (held.payload for held in _all_packets(segments, source, settings, b"")), folder, settings.pattern, source.path
    )
    return JoinResult((), written)


def _write(
    segments: Iterable[bytes], source: ClipSource, settings: EncodeSettings, hidden: Path, warnings: list[str]
) -> None:
    copied = open_source(source.path) if source.kind == "video" else None
    try:
        others = _holdable(copied, source, settings, warnings) if copied is not None else []
        left_out: list[int] | None = None
        if settings.container in {"matroska", "webm"}:
            left_out = []
            _say_rounding(source, settings, warnings)
        options = _muxer_options(source, settings, others)
        with av.open(str(hidden), mode="w", format=settings.container, container_options=options) as output:
            made = _add_video(output, settings, source, copied)
            aspect = made.codec_context.sample_aspect_ratio or Fraction(1)
            room = settings.container in matroska.CONTAINERS and matroska.leave_room(made, aspect)
            if settings.container in matroska.CONTAINERS and aspect != 1 and not room:
                warnings.append(f"{settings.container} keeps no pixel aspect of a film for two eyes; mp4 and mov do")
            pairs = _add_others(output, others)
            _describe(output, copied)
            _mux(output, _video_packets(segments, source, settings, made), _other_packets(copied, pairs, left_out))
            if left_out:
                warnings.append(
                    f"{len(left_out)} packets before the start, marked as not to be played, are left out: "
                    f"{settings.container} knows no time below 0"
                )
        if room:
            matroska.write_aspect(hidden, coded_size(settings, source), aspect)
    finally:
        if copied is not None:
            copied.close()


def _say_rounding(source: ClipSource, settings: EncodeSettings, warnings: list[str]) -> None:
    if any((stamp * source.time_base / MILLISECOND).denominator != 1 for stamp in source.pts):
        warnings.append(
            f"{settings.container} counts time in milliseconds: the source's times are rounded to them "
            "(mp4 and mov keep them exactly)"
        )
    if source.pts[0] < 0:
        seconds = -source.pts[0] * source.time_base
        warnings.append(f"{settings.container} knows no time below 0: everything is shown {float(seconds):.3f} s later")


def _muxer_options(source: ClipSource, settings: EncodeSettings, others: list[Stream]) -> dict[str, str]:
    options = {"fflags": "+bitexact"}
    if settings.container in {"mp4", "mov"}:
        # Edit lists count in the movie's clock: fine enough for every stream's start to be exact.
        clocks = [source.time_base, *(stream.time_base for stream in others if stream.time_base)]
        movie = math.lcm(1000, *(clock.denominator for clock in clocks))
        if movie > MOST_TICKS:
            movie = math.lcm(1000, source.time_base.denominator)
        options["movie_timescale"] = str(movie if movie <= MOST_TICKS else source.time_base.denominator)
        # No video_track_timescale: it would apply to the copied video streams too, and round their times.
        options["movflags"] = "+faststart"
    return options


def _add_video(
    output: OutputContainer, settings: EncodeSettings, source: ClipSource, copied: InputContainer | None
) -> VideoStream:
    stream = output.add_stream(settings.encoder, rate=source.frame_rate, options=dict(settings.options))
    made = cast(VideoStream, stream)
    configure(made.codec_context, settings, source)
    made.time_base = source.time_base
    if source.display_matrix is not None and not settings.upright:
        made.set_display_matrix(source.display_matrix)
    if copied is not None:
        original = copied.streams[source.video_stream_index]
        made.metadata.update(_kept(original.metadata))
        made.disposition = original.disposition
    return made


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name not in NOT_COPIED}


def _describe(output: OutputContainer, copied: InputContainer | None) -> None:
    if copied is None:
        return
    output.metadata.update(_kept(copied.metadata))
    chapters = copied.chapters()
    if chapters:
        output.set_chapters(chapters)


def _holdable(
    copied: InputContainer, source: ClipSource, settings: EncodeSettings, warnings: list[str]
) -> list[Stream]:
    """The other streams that the container can hold: each is tried on its own, in memory, with its first packet."""
    held = []
    chapters = copied.chapters()
    for stream in copied.streams:
        if stream.index == source.video_stream_index:
            continue
        if settings.container in {"mp4", "mov"} and stream.type == "data" and "timecode" in stream.metadata:
            continue  # the muxer writes the same timecode track anew from the video stream's metadata
        if stream.type == "data" and stream.name == "bin_data" and source.container.startswith("mov") and chapters:
            continue  # the chapters' titles: they are copied as chapters
        reason = _refusal(stream.index, settings, source)
        if reason is None:
            held.append(stream)
        else:
            warnings.append(
                f"stream {stream.index} ({stream.type}, {_codec_name(stream)}) is left out: "
                f"{settings.container} cannot hold it ({reason})"
            )
    return held


def _codec_name(stream: Stream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else stream.name or "unknown"


def _refusal(index: int, settings: EncodeSettings, source: ClipSource) -> str | None:
    """Why a container does not take a stream of the source; None when it does."""
    with open_source(source.path) as trial_source:
        stream = trial_source.streams[index]
        try:
            with av.open(io.BytesIO(), mode="w", format=settings.container) as trial:
                pairs = _add_others(trial, [stream])
                trial.start_encoding()
                if stream.type != "attachment":
                    packet = next((packet for packet in trial_source.demux(stream) if packet.size), None)
                    if packet is not None:
                        packet.stream = pairs[index]
                        trial.mux_one(packet)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            return "no such codec there" if "does not support" in str(error) else describe(error)
    return None


def _add_others(output: OutputContainer, others: list[Stream]) -> dict[int, Stream]:
    """One output stream for each copied one, by the source's stream index."""
    pairs: dict[int, Stream] = {}
    for stream in others:
        if stream.type == "attachment":
            attached = cast(Any, stream)
            new: Stream = output.add_attachment(attached.name or "", attached.mimetype or "", attached.data)
        else:
            new = output.add_stream_from_template(stream, opaque=True)
            new.metadata.update(_kept(stream.metadata))
            new.disposition = stream.disposition
            if _codec_name(stream) == "mov_text" and stream.time_base:
                # FFmpeg's muxer compares a text track's clock with the video's without converting, and would put in
                # empty texts of its own unless the text's clock is the finer one.
                new.time_base = stream.time_base / math.ceil(TEXT_CLOCK * stream.time_base)
        pairs[stream.index] = new
    return pairs


def _mux(
    output: OutputContainer,
    video: Iterator[tuple[Packet[Any], Fraction]],
    others: Iterator[tuple[Packet[Any], Fraction]],
) -> None:
    """Write all packets, the video's and the others', in the order of their decoding times."""
    output.start_encoding()
    waiting = next(video, None)
    for packet, time in others:
        while waiting is not None and waiting[1] <= time:
            output.mux_one(waiting[0])
            waiting = next(video, None)
        output.mux_one(packet)
    while waiting is not None:
        output.mux_one(waiting[0])
        waiting = next(video, None)


def _video_packets(
    segments: Iterable[bytes], source: ClipSource, settings: EncodeSettings, made: VideoStream
) -> Iterator[tuple[Packet[Any], Fraction]]:
    """The joined stream's packets, with new decoding times, and the time each is due in seconds."""
    times = packet_times(source, settings)
    durations = {stamp: source.duration_pts(index) for index, stamp in enumerate(source.pts)}
    for held in _all_packets(segments, source, settings, made.codec_context.extradata or b""):
        dts = next(times)
        yield _packet(held, dts, durations[held.pts], source, made), dts * source.time_base


def _all_packets(
    segments: Iterable[bytes], source: ClipSource, settings: EncodeSettings, extradata: bytes
) -> Iterator[SegmentPacket]:
    """Every segment's packets; raises StoreError or OutputError unless they are exactly the clip's frames."""
    start = 0
    for blob in segments:
        segment = unpack(blob)
        _check_fits(segment, source, settings, extradata, start)
        yield from segment.packets
        start += len(segment.pts)
    if start != source.frames:
        raise OutputError(f"{start} of {source.frames} frames were encoded: the result would not be whole")


def _check_fits(segment: Segment, source: ClipSource, settings: EncodeSettings, extradata: bytes, start: int) -> None:
    if segment.codec != settings.codec or segment.extradata != extradata:
        raise StoreError("a segment was encoded with other settings; it must be made again")
    if segment.pts != source.pts[start : start + len(segment.pts)]:
        raise StoreError(f"a segment does not hold the frames from {start} on; it must be made again")


def _packet(held: SegmentPacket, dts: int, duration: int, source: ClipSource, made: VideoStream) -> Packet[Any]:
    packet: Packet[Any] = av.packet.Packet(held.payload)
    packet.stream = made
    packet.pts, packet.dts, packet.duration = held.pts, dts, duration
    packet.time_base = source.time_base
    packet.is_keyframe = held.sync
    return packet


def _other_packets(
    copied: InputContainer | None, pairs: dict[int, Stream], left_out: list[int] | None
) -> Iterator[tuple[Packet[Any], Fraction]]:
    """The copied streams' packets in file order, with the time each is due in seconds.

    With a list `left_out`, packets that end before time 0 and are not to be played (an audio coder's priming) are
    named there instead.
    """
    if copied is None:
        return
    wanted = [copied.streams[index] for index in pairs if copied.streams[index].type != "attachment"]
    due = Fraction(0)
    packets = copied.demux(wanted) if wanted else iter(())
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            return  # the probe has met the same end, and it was accepted there
        if packet is None:
            return
        if not packet.size:
            continue
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is not None:
            due = stamp * packet.time_base
            if left_out is not None and packet.is_discard and stamp + (packet.duration or 0) <= 0:
                left_out.append(packet.stream_index)
                continue
        packet.stream = pairs[packet.stream_index]
        yield packet, due

"""One closed segment of the result: encoded by a fresh encoder, kept as bytes that need nothing else to be joined."""

from __future__ import annotations

import functools
import json
import platform
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.context import CodecContext, Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from tam_edit.clip import ClipSource
from tam_edit.errors import OutputError, StoreError
from tam_edit.limits import memory_is_short
from tam_edit.media.opening import describe
from tam_edit.media.settings import THREADS, EncodeSettings

MAGIC = b"TAMSEG01"


@dataclass(frozen=True)
class SegmentPacket:
    """One encoded packet in decoding order; `rank` is its frame's place in presentation order within the segment."""

    pts: int
    rank: int
    sync: bool
    payload: bytes


@dataclass(frozen=True)
class Segment:
    """What a blob of `encode_segment` holds."""

    codec: str
    extradata: bytes
    pts: tuple[int, ...]
    packets: tuple[SegmentPacket, ...]


def coded_size(settings: EncodeSettings, source: ClipSource) -> tuple[int, int]:
    """(width, height) of the stored frames."""
    return source.size_wh if settings.upright else source.coded_wh


def configure(context: Any, settings: EncodeSettings, source: ClipSource) -> None:
    """Set up an encoder: the same for each segment and for the stream they are joined in."""
    context.width, context.height = coded_size(settings, source)
    context.pix_fmt = settings.pixel_format
    context.time_base = source.time_base
    context.framerate = source.frame_rate
    aspect = source.sample_aspect
    context.sample_aspect_ratio = 1 / aspect if settings.upright and source.orientation.swaps_sides else aspect
    context.colorspace = settings.colour.matrix
    context.color_primaries = settings.colour.primaries
    context.color_trc = settings.colour.transfer
    context.color_range = (2 if settings.colour.full_range else 1) if settings.colour.range_tagged else 0
    if source.interlaced and source.field_order in (2, 3, 4, 5):
        context.field_order = source.field_order
    context.gop_size = settings.gop
    if settings.codec in {"h264", "hevc"}:
        context.max_b_frames = settings.max_b_frames
    context.thread_count = THREADS
    flags = int(Flags.bitexact) | int(Flags.global_header) | int(Flags.closed_gop)
    if source.interlaced and settings.codec == "h264":
        flags |= int(Flags.interlaced_dct) | int(Flags.interlaced_me)
    context.flags |= flags
    context.thread_type = "FRAME" if settings.codec in {"h264", "png", "tiff"} else "SLICE"
    context.options = {**dict(settings.options), **_steady(settings)}


@functools.cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), []))


def _steady(settings: EncodeSettings) -> dict[str, str]:
    """Keep x264 from its AVX-512 code, which reads memory nobody wrote: the same frames then gave other bytes at times.

    Found by encoding one segment 300 times (tests/bench/bench_media.py does it); with AVX2 all are equal. Where the
    processor cannot be asked, macroblock-tree rate control, the part concerned, is left out.
    """
    if settings.codec != "h264":
        return {}
    params = dict(settings.options)["x264-params"]
    flags = _cpu_flags()
    if not flags and platform.machine().lower() in {"x86_64", "amd64"}:
        return {"x264-params": params + ":mbtree=0"}
    return {"x264-params": params + ":asm=avx2"} if "avx512f" in flags and "avx2" in flags else {}


def encode_segment(
    frames: Iterable[VideoFrame], settings: EncodeSettings, source: ClipSource, pts: Sequence[int]
) -> bytes:
    """Encode frames as one closed segment: it begins with a sync frame and nothing refers beyond it.

    `pts` are the frames' times in `source.time_base`. The same input gives the same bytes. Raises OutputError when the
    encoder refuses, ValueError when frames and times differ in number.
    """
    context = CodecContext.create(settings.encoder, "w")
    assert isinstance(context, VideoCodecContext)
    configure(context, settings, source)
    ranks = {stamp: rank for rank, stamp in enumerate(pts)}
    packets: list[SegmentPacket] = []
    count = 0
    try:
        for frame, stamp in zip(frames, pts, strict=True):
            if (frame.width, frame.height, frame.format.name) != (
                context.width,
                context.height,
                settings.pixel_format,
            ):
                raise ValueError(f"a frame of {frame.width}x{frame.height} {frame.format.name}: not as chosen")
            frame.pts, frame.time_base, frame.pict_type = stamp, source.time_base, 0
            count += 1
            packets.extend(_take(context.encode(frame), ranks))
        packets.extend(_take(context.encode(None), ranks))
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, av.error.MemoryError) or memory_is_short(96 * context.width * context.height):
            raise OutputError(
                f"no memory was left for the encoder {settings.encoder}, which keeps some dozen frames of "
                f"{context.width}x{context.height}: close other programs, lift limits (ulimit -v), or use a machine "
                "with more; what is finished is kept"
            ) from error
        raise OutputError(
            f"the encoder {settings.encoder} refused {context.width}x{context.height} {settings.pixel_format} "
            f"({describe(error)}); choose another --codec"
        ) from error
    _check(packets, count, settings)
    return _pack(settings, context.extradata or b"", tuple(pts), packets)


def _take(packets: Iterable[Any], ranks: dict[int, int]) -> Iterator[SegmentPacket]:
    for packet in packets:
        yield SegmentPacket(packet.pts, ranks[packet.pts], packet.is_keyframe, bytes(packet))


def _check(packets: list[SegmentPacket], count: int, settings: EncodeSettings) -> None:
    if len(packets) != count or (packets and not packets[0].sync):
        raise OutputError(f"the encoder {settings.encoder} gave {len(packets)} packets for {count} frames")
    late = max((order - packet.rank for order, packet in enumerate(packets)), default=0)
    if late > settings.reorder:
        raise OutputError(f"the encoder {settings.encoder} reorders by {late} frames, {settings.reorder} were expected")


def _pack(settings: EncodeSettings, extradata: bytes, pts: tuple[int, ...], packets: Sequence[SegmentPacket]) -> bytes:
    head = json.dumps(
        {
            "codec": settings.codec,
            "extradata": extradata.hex(),
            "pts": pts,
            "packets": [[packet.rank, int(packet.sync), len(packet.payload)] for packet in packets],
        },
        separators=(",", ":"),
    ).encode()
    return b"".join([MAGIC, struct.pack("<I", len(head)), head, *(packet.payload for packet in packets)])


def unpack(blob: bytes) -> Segment:
    """Read a segment back. Raises StoreError when it is damaged."""
    try:
        if blob[: len(MAGIC)] != MAGIC:
            raise ValueError("wrong first bytes")
        (length,) = struct.unpack_from("<I", blob, len(MAGIC))
        position = len(MAGIC) + 4
        head = json.loads(blob[position : position + length])
        position += length
        pts = tuple(head["pts"])
        packets = []
        for rank, sync, size in head["packets"]:
            packets.append(SegmentPacket(pts[rank], rank, bool(sync), blob[position : position + size]))
            position += size
        if position != len(blob):
            raise ValueError("wrong length")
        return Segment(head["codec"], bytes.fromhex(head["extradata"]), pts, tuple(packets))
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise StoreError(f"an encoded segment is damaged ({error}); it must be made again") from error


def packet_times(source: ClipSource, settings: EncodeSettings) -> Iterator[int]:
    """The decoding time of each packet of the joined stream, strictly increasing.

    The n-th packet is decoded when the frame `settings.reorder` places before it is shown. The first ones come before
    the clip's start: early enough that each dts is at most its packet's pts, and that the track, measured in decoding
    times as mp4 does, is no shorter than in presentation times (else, at variable rates, the last frame's end is lost).
    """
    late = settings.reorder
    shortest = min(source.duration_pts(index) for index in range(source.frames))
    shown_after_last = source.end_pts - source.pts[max(source.frames - 1 - late, 0)] - shortest
    early = max(late * source.duration_pts(0), shown_after_last, late)
    for order in range(source.frames):
        yield source.pts[order - late] if order >= late else source.pts[0] - early * (late - order) // late

"""Small clips made with PyAV for the media tests: every frame differs, and each is known exactly before encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.stream import Disposition
from numpy.typing import NDArray

from tam_edit.media.layouts import layout_of, plane

LOSSLESS = {"libx264": {"qp": "0"}, "ffv1": {"level": "3"}, "libx265": {"x265-params": "lossless=1:log-level=none"}}


@dataclass
class Made:
    """How a test clip is to be: frames at `pts` in units of `time_base`."""

    pts: Sequence[int] = tuple(range(0, 20 * 512, 512))
    time_base: Fraction = Fraction(1, 12800)
    rate: Fraction = Fraction(25)
    size_wh: tuple[int, int] = (96, 64)
    pixel_format: str = "yuv420p"
    encoder: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    gop: int = 8
    b_frames: int = 2
    container: str | None = None
    container_options: dict[str, str] = field(default_factory=dict)
    display_matrix: tuple[int, ...] | None = None
    colour: dict[str, int] = field(default_factory=dict)
    sample_aspect: Fraction | None = None
    last_duration: int | None = None
    sound: int = 0
    subtitles: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    chapters: bool = False
    cover: bool = False
    interlaced: bool = False


def texture(index: int, wh: tuple[int, int], peak: int, seed: int = 0) -> NDArray[np.float64]:
    """A picture in 0..peak [h, w] that no other index shares: waves that move, a little noise, a moving square."""
    width, height = wh
    y, x = np.mgrid[0:height, 0:width]
    value = 0.5 + 0.25 * np.sin((x + 3 * index) / 7 + seed) + 0.15 * np.cos((y - 2 * index) / 5)
    value += np.random.default_rng(seed * 1000 + index).normal(0, 0.01, (height, width))
    left, top = (5 * index) % max(width - 12, 1), (3 * index) % max(height - 12, 1)
    value[top : top + 12, left : left + 12] = 0.9
    return np.clip(value, 0.02, 0.98) * peak


def native_frame(index: int, wh: tuple[int, int], pixel_format: str) -> av.VideoFrame:
    """A frame of a planar format whose planes are `texture`s."""
    layout = layout_of(pixel_format)
    frame = av.VideoFrame(*wh, layout.name)
    for number in range(len(frame.planes)):
        target = plane(frame, number, layout.dtype)
        height, width = target.shape
        target[:] = np.rint(texture(index, (width, height), layout.peak, seed=number)).astype(layout.dtype)
    return frame


def make_clip(path: Path, made: Made | None = None, **changes: Any) -> Path:
    """Encode a clip to `path`."""
    made = made or Made()
    for name, value in changes.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    with av.open(str(path), "w", format=made.container, container_options=made.container_options) as output:
        cover = _cover_stream(output) if made.cover else None
        stream = output.add_stream(made.encoder, rate=made.rate, options=made.options)
        context = stream.codec_context
        context.width, context.height = made.size_wh
        context.pix_fmt = made.pixel_format
        context.time_base = made.time_base
        context.gop_size = made.gop
        if made.encoder in {"libx264", "libx265", "mpeg4", "mpeg2video"}:
            context.max_b_frames = made.b_frames
        if made.interlaced:
            context.flags |= int(Flags.interlaced_dct) | int(Flags.interlaced_me)
        for name, number in made.colour.items():
            setattr(context, name, number)
        if made.sample_aspect is not None:
            context.sample_aspect_ratio = made.sample_aspect
        if made.display_matrix is not None:
            stream.set_display_matrix(made.display_matrix)
        stream.time_base = made.time_base
        output.metadata.update(made.metadata)
        sounds = [output.add_stream("aac", rate=48000) for _ in range(made.sound)]
        texts = [_subtitle_stream(output, number) for number in range(made.subtitles)]
        if made.chapters:
            output.set_chapters(
                [{"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]
            )
        if cover is not None:
            _write_cover(output, cover)
        packets = []
        ends = [*made.pts[1:], made.pts[-1] + (made.last_duration or made.pts[-1] - made.pts[-2])]
        durations = {stamp: end - stamp for stamp, end in zip(made.pts, ends, strict=True)}
        for index, stamp in enumerate(made.pts):
            frame = native_frame(index, made.size_wh, made.pixel_format)
            frame.pts, frame.time_base = stamp, made.time_base
            packets.extend(stream.encode(frame))
        packets.extend(stream.encode(None))
        for packet in packets:
            packet.duration = durations.get(packet.pts, 0)
            output.mux(packet)
        for number, sound in enumerate(sounds):
            _sound(output, sound, number, float((made.pts[-1] - made.pts[0]) * made.time_base))
        for number, text in enumerate(texts):
            for start in (0, 200, 400):
                packet = av.Packet(b"\0\5hello" if output.format.name in {"mp4", "mov"} else b"hello")
                packet.stream, packet.time_base = text, Fraction(1, 1000)
                packet.pts = packet.dts = start + number
                packet.duration = 150
                output.mux(packet)
    return path


def _subtitle_stream(output: Any, number: int) -> Any:
    name = "mov_text" if output.format.name in {"mp4", "mov"} else "subrip"
    stream = output.add_mux_stream(name)
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = ("eng", "deu", "fra")[number % 3]
    return stream


def _sound(output: Any, stream: Any, number: int, seconds: float) -> None:
    stream.metadata["language"] = ("eng", "deu", "fra")[number % 3]
    samples = 1024
    for block in range(max(int(seconds * 48000) // samples, 2)):
        at = (np.arange(samples) + block * samples) / 48000
        wave = (0.2 * np.sin(2 * np.pi * (220 + 110 * number) * at)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, block * samples, Fraction(1, 48000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _cover_stream(output: Any) -> Any:
    cover = output.add_stream("mjpeg", rate=1)
    cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
    cover.time_base = Fraction(1, 90000)
    cover.disposition = Disposition.attached_pic
    return cover


def _write_cover(output: Any, cover: Any) -> None:
    frame = native_frame(0, (32, 32), "yuv420p").reformat(format="yuvj420p")
    frame.pts, frame.time_base = 0, Fraction(1, 90000)
    for packet in [*cover.encode(frame), *cover.encode(None)]:
        packet.stream = cover
        output.mux(packet)


def samples(frame: av.VideoFrame) -> list[NDArray[Any]]:
    """A copy of each plane of a planar frame."""
    layout = layout_of(frame.format.name)
    return [plane(frame, number, layout.dtype).copy() for number in range(len(frame.planes))]


def fingerprint(frame: av.VideoFrame) -> bytes:
    """Tells whether two planar frames have the same samples."""
    return b"".join(part.tobytes() for part in samples(frame))


def only_sound(path: Path, *, cover: bool = False) -> Path:
    """A file with sound and no film, perhaps with a cover."""
    with av.open(str(path), "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=48000)
        picture = _cover_stream(output) if cover else None
        if picture is not None:
            _write_cover(output, picture)
        _sound(output, sound, 0, 1.0)
    return path


def write_picture(path: Path, index: int, *, wh: tuple[int, int] = (32, 24), form: str = "rgb24") -> Path:
    """One PNG, lossless, 8 or 16 bits."""
    from av.codec.context import CodecContext

    planar = {"rgb24": "gbrp", "rgb48be": "gbrp16le", "gray16be": "gray16le", "gray": "gray"}[form]
    frame = native_frame(index, wh, planar).reformat(format=form)
    context: Any = CodecContext.create("png", "w")  # type: ignore[call-overload]
    context.width, context.height, context.pix_fmt = *wh, form
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))
    return path

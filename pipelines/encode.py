"""The encode stage: overlays composited in the source's own planes, encoded in closed segments that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_bytes, digest_of
from tam_edit.engine.stage import Product, Stage, Unit
from tam_edit.engine.store import Record
from tam_edit.media.settings import EncodeSettings
from tam_edit.pipelines.context import Context

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

STAGE = Stage("encode", 1)


@dataclass(frozen=True)
class Layer:
    """What goes over one frame: RGB uint8 [h, w, 3] and alpha float32 [h, w] (1 replaces) at (x, y), upright."""

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    at_xy: tuple[int, int]


class Overlay(Protocol):
    """What an effect puts over the clip, frame by frame."""

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        """Digests of everything that `layer` looks at."""
        ...

    def layer(self, frame: int) -> Layer | None:
        """What goes over a frame; None leaves it as it is."""
        ...


def encode(context: Context, overlay: Overlay, settings: EncodeSettings) -> list[Record | None]:
    """Encode every segment whose pictures, overlay or settings changed; records hold the bytes under "segment"."""
    span = context.source.span
    context.runner.stage(STAGE.name, len(span))
    return [_segment(context, overlay, settings, chunk) for chunk in span.chunks(settings.chunk_frames)]


def segments(context: Context, records: Iterable[Record | None]) -> Iterator[bytes]:
    """The bytes of the segments in order, read as they are joined."""
    for record in records:
        if record is None:
            raise AssertionError("a segment was joined before it was encoded")
        yield context.runner.store.blob(record, "segment")


def frames_of(context: Context, overlay: Overlay, settings: EncodeSettings, span: FrameSpan) -> Iterator[VideoFrame]:
    """Composited frames in the output's pixel format; what no layer covers keeps every bit."""
    from tam_edit.media.planes import blend, untouched

    for picture in context.pictures(span):
        layer = overlay.layer(picture.index)
        if layer is None:
            yield untouched(picture, context.source, settings.pixel_format, upright=settings.upright)
        else:
            yield blend(
                picture,
                layer.rgb,
                layer.alpha,
                layer.at_xy,
                context.source,
                settings.pixel_format,
                upright=settings.upright,
            )


def _segment(context: Context, overlay: Overlay, settings: EncodeSettings, chunk: FrameSpan) -> Record | None:
    source = context.source
    pts = source.pts[chunk.start : chunk.stop]
    unit = Unit(
        STAGE,
        chunk,
        {
            "encoding": digest_of(_shaping(settings)),
            "codec": settings.codec,
            "crf": settings.crf,
            "times": digest_of((pts, source.time_base)),
        },
        # An overlay that has nothing over these frames leaves no name, so all effects share their segments.
        {
            "picture": context.picture_reads(chunk.indices()),
            **{name: frames for name, frames in overlay.reads(chunk.indices()).items() if frames},
        },
    )

    def compute() -> Product:
        from tam_edit.media.segments import encode_segment

        segment = encode_segment(frames_of(context, overlay, settings, chunk), settings, source, pts)
        # Nothing reads a segment frame by frame, so its frames share one digest.
        return Product([digest_bytes(segment)] * len(chunk), {"segment": segment})

    return context.runner.obtain(unit, compute, needs_blobs=True)


def _shaping(settings: EncodeSettings) -> dict[str, object]:
    """What changes an encoded segment; the container and the words about it do not."""
    unshaping = {"container", "warnings", "pattern", "preset"}
    return {name: value for name, value in vars(settings).items() if name not in unshaping}

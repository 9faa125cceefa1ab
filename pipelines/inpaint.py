"""The inpaint stage: what lies behind the removed objects, chunk by chunk inside each shot, kept as patches."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_of
from tam_edit.engine.stage import NOTHING, FrameSeries, Product, Stage, Unit, packed_product, record_digests
from tam_edit.engine.store import Record
from tam_edit.limits import give_back, large_pictures_apart
from tam_edit.masks import Mask
from tam_edit.pipelines.blobs import BlobCache
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.matte import Mattes
from tam_edit.pipelines.needs import filling_bytes

STAGE = Stage("inpaint", 1)
_PLACE = struct.Struct("<II")


class Filler(Protocol):
    """Fills the holes of one shot; a chunk depends on nothing but the frames that `reads` names."""

    @property
    def notes(self) -> Sequence[tuple[str, Sequence[int]]]:
        """What could not come out well, in words, and on which frames of the shot; grows while chunks are filled."""
        ...

    @property
    def chunk(self) -> int: ...

    def looks(self, start: int, stop: int) -> range:
        """The frames whose masks `reads` itself looks at; empty where it follows from the numbers alone."""
        ...

    def reads(self, start: int, stop: int) -> Iterable[int]: ...

    def fill(self, start: int, stop: int) -> Iterator[Rgb]: ...


@dataclass(frozen=True)
class Room:
    """How much memory a filler may keep pictures in, and the folder for those beyond. Neither changes a result."""

    memory_bytes: int
    folder: Path


class FillerEngine(Protocol):
    """Makes fillers; `identity` names engine, version, weights and settings for keys."""

    @property
    def identity(self) -> str: ...

    def make(
        self,
        read: Callable[[int], tuple[Rgb, Mask]],
        read_mask: Callable[[int], Mask],
        frame_count: int,
        room: Room,
    ) -> Filler: ...


@dataclass(frozen=True)
class Patch:
    """A filled rectangle of one frame: RGB uint8 [h, w, 3] at (x, y) of the upright picture."""

    rgb: NDArray[np.uint8]
    at_xy: tuple[int, int]


Fills = FrameSeries[Patch]


def inpaint(context: Context, mattes: Mattes, engine: FillerEngine) -> Fills:
    """Fill every frame that has a hole; chunks without one cost nothing."""
    cache = BlobCache(context.runner.store, "frames")
    digests: dict[int, str | None] = {}
    records: dict[int, tuple[Record, int]] = {}
    shots = [shot for shot in context.shots if any(mattes.has_hole(frame) for frame in shot.indices())]
    context.runner.stage(STAGE.name, sum(map(len, shots)))

    def fill(shot: FrameSpan) -> None:
        read, read_mask = partial(_read, context, mattes, shot), partial(_read_mask, context, mattes, shot)
        # Half of what is left is for pictures: allocators waste some, and what is needed is an estimate.
        left = context.memory_bytes - filling_bytes(context.source.size_wh, len(shot))
        room = Room(max(left // 2, 0), context.runner.store.root)
        filler = engine.make(read, read_mask, len(shot), room)
        for chunk in FrameSpan(0, len(shot)).chunks(filler.chunk):
            span = FrameSpan(shot.start + chunk.start, shot.start + chunk.stop)
            if not any(mattes.has_hole(frame) for frame in span.indices()):
                continue
            record = _chunk(context, mattes, engine, filler, shot, chunk)
            digests.update(record_digests(record, span))
            if record is not None:
                records.update({frame: (record, place) for place, frame in enumerate(span.indices())})

    with large_pictures_apart(context.source.size_wh):
        for shot in shots:
            fill(shot)
    if shots and not context.runner.dry:
        give_back()

    def load(frame: int) -> Patch:
        record, place = records[frame]
        return _unpack(cache.frames(record)[place])

    return FrameSeries(digests, load)


def _chunk(
    context: Context, mattes: Mattes, engine: FillerEngine, filler: Filler, shot: FrameSpan, chunk: FrameSpan
) -> Record | None:
    span = FrameSpan(shot.start + chunk.start, shot.start + chunk.stop)
    frames = [shot.start + at for at in _reads(context, mattes, engine, filler, shot, chunk)]
    unit = Unit(
        STAGE,
        span,
        {
            "inpainter": engine.identity,
            "place": [frame - span.start for frame in frames],
            # Where in the shot the chunk lies decides on which side frames run out.
            "shot": [shot.start - span.start, shot.stop - span.start],
        },
        {
            "picture": context.picture_reads(frames),
            "hole": _hole_digests(mattes, frames),
        },
    )

    def compute() -> Product:
        packed = []
        for frame, filled in zip(span.indices(), filler.fill(chunk.start, chunk.stop), strict=True):
            packed.append(_pack(filled, mattes.boxes.get(frame)))
        notes = [
            (words, [shot.start + at for at in frames if at in chunk])
            for words, frames in filler.notes
            if any(at in chunk for at in frames)
        ]
        return packed_product(packed, notes=notes)

    return context.runner.obtain(unit, compute)


def _reads(
    context: Context, mattes: Mattes, engine: FillerEngine, filler: Filler, shot: FrameSpan, chunk: FrameSpan
) -> Iterable[int]:
    """The frames that a chunk reads. Where masks decide, the answer is kept, so that masks need not be loaded again."""
    looks = filler.looks(chunk.start, chunk.stop)
    if len(looks) == 0:
        return filler.reads(chunk.start, chunk.stop)
    holes = _hole_digests(mattes, [shot.start + at for at in looks])
    if None in holes.values():
        return looks
    key = digest_of(("frames that a filler reads", engine.identity, chunk, len(shot), list(holes.values())))
    record = context.runner.store.record(key)
    if record is None:
        found = list(filler.reads(chunk.start, chunk.stop))
        record = context.runner.store.put(key, facts={"frames": found})
    return list(record.facts["frames"])


def _hole_digests(mattes: Mattes, frames: Iterable[int]) -> dict[int, str | None]:
    return {frame: mattes.series.digests.get(frame, NOTHING) if mattes.has_hole(frame) else NOTHING for frame in frames}


def _read(context: Context, mattes: Mattes, shot: FrameSpan, at: int) -> tuple[Rgb, Mask]:
    """A picture and its hole."""
    return context.rgb(shot.start + at), _read_mask(context, mattes, shot, at)


def _read_mask(context: Context, mattes: Mattes, shot: FrameSpan, at: int) -> Mask:
    """The hole: every pixel of which at least a part is replaced."""
    frame = shot.start + at
    if not mattes.has_hole(frame):
        width, height = context.source.size_wh
        return np.zeros((height, width), dtype=bool)
    return np.asarray(mattes.series.load(frame).full() > 0)


def _pack(filled: Rgb, box: Sequence[int] | None) -> bytes:
    import cv2

    if box is None:
        return b""
    x0, y0, x1, y1 = box
    # PNG at its lowest effort: lossless, fast, and the same bytes every time.
    _, png = cv2.imencode(".png", filled[y0:y1, x0:x1, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return _PLACE.pack(x0, y0) + png.tobytes()


def _unpack(packed: bytes) -> Patch:
    import cv2

    x0, y0 = _PLACE.unpack_from(packed)
    bgr = cv2.imdecode(np.frombuffer(packed, np.uint8, offset=_PLACE.size), cv2.IMREAD_COLOR)
    if bgr is None:
        raise AssertionError("a checked blob holds a picture that cannot be read")
    return Patch(np.ascontiguousarray(bgr[:, :, ::-1]), (x0, y0))

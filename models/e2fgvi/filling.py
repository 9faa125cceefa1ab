"""Filling whole clips: any iterable of frames and masks in, filled frames out, in order, shot by shot."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import IO, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import MaskError, UsageError
from tam_edit.models.e2fgvi import upstream
from tam_edit.models.e2fgvi.filler import Filler, told
from tam_edit.models.e2fgvi.network import E2FGVI
from tam_edit.models.e2fgvi.pictures import Frame, Mask, checked
from tam_edit.models.e2fgvi.windows import FillSettings

Blend = Literal["windowed", "upstream"]
Arrays = Iterable[NDArray[Any]] | NDArray[Any]


def fill(
    network: E2FGVI,
    frames: Arrays,
    masks: Arrays,
    *,
    blend: str = "windowed",
    cuts: Iterable[int] = (),
    settings: FillSettings | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Frame]:
    """Fill the masked pixels of a clip; yields uint8 RGB [H, W, 3] in order, pixels outside the masks untouched.

    frames: uint8 RGB [H, W, 3] each; masks: [H, W] each, non-zero is to be filled; any iterables of one length.
    `blend` "windowed" is the default procedure, "upstream" the authors' (settings then count for the cache only).
    `cuts` are the frames at which a new shot begins: no window mixes shots. `warn` gets messages for a person.
    Raises UsageError for impossible arguments, MaskError for another number of masks, MaskSizeMismatch, EngineError.
    """
    if blend not in get_args(Blend):
        raise UsageError(f"unknown blend '{blend}': choose one of {', '.join(get_args(Blend))}")
    begins = sorted(set(cuts) - {0})
    if begins and begins[0] < 0:
        raise UsageError(f"cuts holds {begins[0]}: frames are numbered from 0")
    if isinstance(frames, Sized) and isinstance(masks, Sized) and len(frames) != len(masks):
        raise MaskError(f"{len(masks)} masks for {len(frames)} frames: give one mask for each frame")
    settings = settings or FillSettings()
    tell = warn or _quiet
    if blend == "upstream":
        return _fill_upstream(network, _Source(frames, masks, spool=True), begins, settings, tell)
    return _fill_windowed(network, _Source(frames, masks, spool=False), begins, settings, tell)


def _fill_windowed(
    network: E2FGVI, source: _Source, begins: Sequence[int], settings: FillSettings, tell: Callable[[str], None]
) -> Iterator[Frame]:
    for first, stop in _shots(source, begins, tell):

        def end(limit: int, first: int = first, stop: int | None = stop) -> int:
            last = first + limit if stop is None else min(first + limit, stop)
            return source.end(last) - first

        def read(index: int, first: int = first) -> tuple[Frame, Mask]:
            return source.read(first + index)

        filler = Filler(network, read, end, settings, first_frame=first)
        start = 0
        while end(start + 1) > start:
            chunk = start, end(start + filler.chunk)
            needed = filler.reads(*chunk)
            yield from filler.fill(*chunk)
            # The next chunk reads nothing before this but references.
            source.keep(first + start, {first + index for index in needed if index % settings.reference_step == 0})
            start = chunk[1]
        merged: dict[str, list[int]] = {}
        for words, noted in filler.notes:
            merged.setdefault(words, []).extend(noted)
        for words, noted in merged.items():
            tell(told(words, noted))


def _fill_upstream(
    network: E2FGVI, source: _Source, begins: Sequence[int], settings: FillSettings, tell: Callable[[str], None]
) -> Iterator[Frame]:
    for first, stop in _shots(source, begins, tell):
        last = source.end(stop)

        def read(index: int, first: int = first) -> tuple[Frame, Mask]:
            return source.read(first + index)

        yield from upstream.fill_shot(network, read, last - first, settings.cache_bytes)
        source.keep(last, set())


def _shots(source: _Source, begins: Sequence[int], tell: Callable[[str], None]) -> Iterator[tuple[int, int | None]]:
    """First frame and end of each shot; the end of the last one is not known beforehand."""
    for first, stop in zip((0, *begins), (*begins, None), strict=True):
        if source.end(first + 1) > first:
            yield first, stop
        elif first:
            tell(f"cut {first} lies behind the clip's last frame and was ignored")
    if not source.any_mask:
        tell("no frame has a masked pixel: nothing to fill, the frames are passed on as they are")


def _quiet(_words: str) -> None:
    pass


class _Source:
    """Frames and masks by number from whatever was given: lists as they lie, streams through a buffer.

    A stream's frames are held from `keep` on, in memory, or with `spool` in a temporary file.
    """

    def __init__(self, frames: Arrays, masks: Arrays, *, spool: bool) -> None:
        self.any_mask = False
        self._size_hw: tuple[int, int] | None = None
        self._frames, self._masks = _listed(frames), _listed(masks)
        self._pairs: Iterator[tuple[Any, Any]] | None = None
        if self._frames is None or self._masks is None:
            self._pairs = _paired(iter(frames), iter(masks))
        self._count = 0
        self._ended = False
        self._buffer: dict[int, tuple[Frame, Mask]] = {}
        self._spool = _Spool() if spool else None

    def end(self, limit: int | None) -> int:
        """min(number of frames, limit); a stream is read as far as that takes."""
        if self._pairs is None:
            count = 0 if self._frames is None else len(self._frames)
            return count if limit is None else min(count, limit)
        while not self._ended and (limit is None or self._count < limit):
            pair = next(self._pairs, None)
            if pair is None:
                self._ended = True
                break
            self._take(self._checked(self._count, *pair))
        return self._count if limit is None else min(self._count, limit)

    def read(self, index: int) -> tuple[Frame, Mask]:
        if self._pairs is None and self._frames is not None and self._masks is not None:
            return self._checked(index, self._frames[index], self._masks[index])
        if self._spool is not None:
            return self._spool.read(index)
        return self._buffer[index]

    def keep(self, floor: int, also: set[int]) -> None:
        """Forget a stream's frames before `floor` but for those named."""
        for index in [index for index in self._buffer if index < floor and index not in also]:
            del self._buffer[index]

    def _checked(self, index: int, frame: NDArray[Any], mask: NDArray[Any]) -> tuple[Frame, Mask]:
        pair = checked(np.asarray(frame), np.asarray(mask), index, self._size_hw)
        self._size_hw = (pair[0].shape[0], pair[0].shape[1])
        self.any_mask = self.any_mask or bool(pair[1].any())
        return pair

    def _take(self, pair: tuple[Frame, Mask]) -> None:
        if self._spool is not None:
            self._spool.append(*pair)
        else:
            self._buffer[self._count] = pair
        self._count += 1


class _Spool:
    """Frames and masks of one size in an unnamed file: the authors' procedure looks far ahead and far back."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()

    def append(self, frame: Frame, mask: Mask) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the clip is filled
            self._shape = frame.shape
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(frame).tobytes())
        self._file.write(np.packbits(mask).tobytes())

    def read(self, index: int) -> tuple[Frame, Mask]:
        if self._file is None:
            raise IndexError(index)
        pixels = self._shape[0] * self._shape[1]
        record = 3 * pixels + (pixels + 7) // 8
        self._file.seek(index * record)
        bytes_ = np.frombuffer(self._file.read(record), np.uint8)
        mask = np.unpackbits(bytes_[3 * pixels :], count=pixels).view(np.bool_)
        return bytes_[: 3 * pixels].reshape(self._shape), mask.reshape(self._shape[:2])


def _listed(arrays: Arrays) -> Sequence[NDArray[Any]] | NDArray[Any] | None:
    return arrays if isinstance(arrays, Sequence | np.ndarray) else None


def _paired(frames: Iterator[Any], masks: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Frame and mask together; one ending before the other is an error that says which."""
    end = object()
    index = 0
    while True:
        frame, mask = next(frames, end), next(masks, end)
        if frame is end and mask is end:
            return
        if frame is end or mask is end:
            short, longer = ("frames", "masks") if frame is end else ("masks", "frames")
            raise MaskError(
                f"the {short} end after {index} while there are more {longer}: give one mask for each frame"
            )
        yield frame, mask
        index += 1

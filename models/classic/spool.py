"""Arrays that wait on disk: the frames of a gap between keyframes, and probabilities of the backward direction."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError
from tam_edit.models.classic.prompts import check_frame

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class Shelf:
    """Equally shaped uint8 arrays by number in a temporary file that vanishes with the object."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="tam-edit-")  # noqa: SIM115 (closed by close())
        self._places: dict[int, int] = {}
        self._shape: tuple[int, ...] = ()

    def put(self, number: int, values: Bytes) -> None:
        """Store an array under a number; all have the first one's shape."""
        if not self._places:
            self._shape = values.shape
        if values.shape != self._shape:
            raise EngineError(f"frame {number} has shape {values.shape}, the ones before have {self._shape}")
        place = self._places.setdefault(number, len(self._places))
        self._file.seek(place * values.size)
        self._file.write(np.ascontiguousarray(values).data)

    def get(self, number: int) -> Bytes:
        """What was put under a number."""
        size = int(np.prod(self._shape))
        self._file.seek(self._places[number] * size)
        return np.frombuffer(self._file.read(size), np.uint8).reshape(self._shape)

    def close(self) -> None:
        self._file.close()


class Gap:
    """Random access to the frames from one keyframe to the next, whatever the clip is."""

    def __init__(self, clip: Clip, first: int, last: int) -> None:
        self._clip = clip
        self._probabilities = Shelf()
        clip.hold(first, last)

    def frame(self, number: int) -> Bytes:
        return self._clip.frame(number)

    def store(self, number: int, probability: Floats) -> None:
        """Keep probabilities as bytes."""
        self._probabilities.put(number, np.rint(probability * np.float32(255)).astype(np.uint8))

    def stored(self, number: int) -> Floats:
        """Stored probabilities; they sum to 1 again."""
        values = self._probabilities.get(number).astype(np.float32)
        return np.asarray(values / np.maximum(values.sum(axis=0), np.float32(1)), np.float32)

    def __enter__(self) -> Gap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._probabilities.close()


class Clip:
    """A sequence is read in place; of an iterator the held frames go to a temporary file."""

    def __init__(self, frames: Iterable[Bytes]) -> None:
        self._sequence = frames if isinstance(frames, Sequence | np.ndarray) else None
        self._source = iter(frames)
        self._shelf: Shelf | None = None
        self._read = 0  # frames taken from the iterator so far
        self._shape: tuple[int, ...] | None = None

    def hold(self, first: int, last: int) -> None:
        """Make frames first..last readable by number; those before are given up."""
        if self._sequence is not None:
            if last >= len(self._sequence):
                raise EngineError(f"keyframe {last} lies beyond the clip's {len(self._sequence)} frames")
            return
        shelf = Shelf()
        if self._shelf is not None:
            shelf.put(first, self._shelf.get(first))  # where the gap before ended
            self._shelf.close()
        self._shelf = shelf
        while self._read <= last:
            frame = next(self._source, None)
            if frame is None:
                raise EngineError(f"keyframe {last} lies beyond the clip's {self._read} frames")
            if self._read >= first:
                shelf.put(self._read, self._checked(self._read, frame))
            self._read += 1

    def frame(self, number: int) -> Bytes:
        if self._sequence is not None:
            return self._checked(number, self._sequence[number])
        assert self._shelf is not None
        return self._shelf.get(number)

    def rest(self, first: int) -> Iterator[Bytes]:
        """Frames from first on, one after another."""
        if self._sequence is not None:
            for number in range(first, len(self._sequence)):
                yield self._checked(number, self._sequence[number])
            return
        if self._shelf is not None:
            self._shelf.close()
        for number, frame in enumerate(self._source, first):
            yield self._checked(number, frame)

    def _checked(self, number: int, given: NDArray[Any]) -> Bytes:
        """A frame as an array, of the others' size and type."""
        frame = np.asarray(given)
        check_frame(frame)
        if self._shape not in (None, frame.shape):
            raise EngineError(
                f"frame {number} has shape {frame.shape}, others have {self._shape}: "
                "frames of a clip must be of one size"
            )
        self._shape = frame.shape
        return frame

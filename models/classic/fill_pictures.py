"""The full pictures of a shot: the latest in memory, others in a temporary file of which only single rows come back.

Where a picture is kept never changes what is read from it.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError
from tam_edit.models.classic.fill_membrane import Bools, Floats

Rgb = NDArray[np.uint8]
Read = Callable[[int], tuple[Rgb, Bools]]

LEAST = 3  # pictures in memory however little there is: a frame and its neighbours
TAPS_PX = 3  # rows that a cubic sample looks at beyond its own, and one for rounding


def sampled(image: NDArray[np.generic], xy: Floats, interpolation: int = cv2.INTER_LINEAR) -> NDArray[np.float32]:
    """Values of an image at points [N, 2], edges repeated: float32 [N] or [N, C]."""
    count = len(xy)
    if not count:  # which remap refuses
        return np.zeros((0, *image.shape[2:]), np.float32)
    columns = 256  # remap takes at most 32767 rows
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, 2), np.float32)
    padded[:count] = xy
    table = padded.reshape(rows, columns, 2)
    found = cv2.remap(image, table[..., 0], table[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(rows * columns, *image.shape[2:])[:count], np.float32)


class Pictures:
    """The last `limit` frames of one shot with their masks, read again once forgotten.

    kept_bytes: how many of them stay in memory (None: all), the others go to an unnamed file in `folder` (None: the
    system's place for such). Raises EngineError when there is no room for them on that disk.
    """

    def __init__(self, read: Read, limit: int, kept_bytes: int | None = None, folder: Path | None = None) -> None:
        self._read = read
        self._limit = limit
        self._kept_bytes = kept_bytes
        self._folder = folder
        self._known: OrderedDict[int, None] = OrderedDict()  # in memory or in the file, the latest last
        self._kept: OrderedDict[int, tuple[Rgb, Bools]] = OrderedDict()
        self._slots: dict[int, int] = {}  # frame -> its place in the file
        self._free: list[int] = []
        self._file: IO[bytes] | None = None
        self._size_wh = (0, 0)
        self._lock = threading.RLock()

    def whole(self, index: int) -> tuple[Rgb, Bools]:
        """Frame and mask as read: uint8 [H, W, 3], bool [H, W]."""
        with self._lock:
            found = self._kept.get(index)
            if found is None:
                found = self._fetched(index) if index in self._slots else self._read(index)
            self._keep(index, found)
            return found

    def taken(self, index: int, xy: Floats) -> NDArray[np.float32]:
        """Colours at points [N, 2] of a picture, cubic, edges repeated: float32 [N, 3]."""
        with self._lock:
            if index in self._kept or index not in self._slots or not len(xy):
                return sampled(self.whole(index)[0], xy, cv2.INTER_CUBIC)
            self._known.move_to_end(index)
            height = self._size_wh[1]
            low, high = (min(max(float(y), -1e6), 1e6) for y in (xy[:, 1].min(), xy[:, 1].max()))
            top = min(max(math.floor(low) - TAPS_PX, 0), height - 1)
            stop = min(max(math.ceil(high) + 1 + TAPS_PX, top + 1), height)
            rows = self._rows(index, top, stop)
        # A whole number less: exact in float32, and the samples' places between pixels are the same.
        return sampled(rows, xy - np.array([0, top], np.float32), cv2.INTER_CUBIC)

    def _keep(self, index: int, found: tuple[Rgb, Bools]) -> None:
        self._known[index] = None
        self._known.move_to_end(index)
        self._kept[index] = found
        self._kept.move_to_end(index)
        while len(self._known) > self._limit:
            self._forget(next(iter(self._known)))
        if self._kept_bytes is not None:
            room = max(LEAST, self._kept_bytes // sum(part.nbytes for part in found))
            while len(self._kept) > room:
                old, pair = self._kept.popitem(last=False)
                if old not in self._slots:
                    self._store(old, *pair)

    def _forget(self, index: int) -> None:
        del self._known[index]
        self._kept.pop(index, None)
        slot = self._slots.pop(index, None)
        if slot is not None:
            self._free.append(slot)

    # The file: a slot holds a picture's rows and its mask, eight pixels a byte

    def _slot_bytes(self) -> tuple[int, int]:
        width, height = self._size_wh
        return 3 * width * height, -(-width * height // 8)

    def _store(self, index: int, rgb: Rgb, mask: Bools) -> None:
        if self._size_wh == (0, 0):
            self._size_wh = (rgb.shape[1], rgb.shape[0])
        slot = self._free.pop() if self._free else len(self._slots)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="tam-edit-", dir=self._folder, buffering=0)  # noqa: SIM115
            self._file.seek(slot * sum(self._slot_bytes()))
            for part in (np.ascontiguousarray(rgb), np.packbits(mask)):
                left = part.data.cast("B")
                while len(left):
                    left = left[self._file.write(left) :]
        except OSError as error:
            self._free.append(slot)
            raise EngineError(
                f"no room on the disk for pictures that memory has none for ({self._folder or tempfile.gettempdir()}: "
                f"{error.strerror}): free some, or give more with --memory"
            ) from error
        self._slots[index] = slot

    def _bytes(self, index: int, start: int, count: int) -> bytes:
        assert self._file is not None
        self._file.seek(self._slots[index] * sum(self._slot_bytes()) + start)
        parts: list[bytes] = []
        while count:
            part = self._file.read(count)
            if not part:
                raise EngineError("the temporary file with pictures ends too early: is its disk sound?")
            parts.append(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _rows(self, index: int, top: int, stop: int) -> Rgb:
        width = self._size_wh[0]
        found = self._bytes(index, 3 * width * top, 3 * width * (stop - top))
        return np.frombuffer(found, np.uint8).reshape(stop - top, width, 3)

    def _fetched(self, index: int) -> tuple[Rgb, Bools]:
        (width, height), (rgb_bytes, mask_bytes) = self._size_wh, self._slot_bytes()
        packed = np.frombuffer(self._bytes(index, rgb_bytes, mask_bytes), np.uint8)
        mask = np.unpackbits(packed, count=width * height).reshape(height, width).astype(bool)
        return self._rows(index, 0, height), mask

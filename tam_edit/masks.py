"""Label maps, mask tubes and mattes: the shapes that say where an object is, and their lossless storage.

A *label map* is uint8 [H, W], 0 for the background, 1..255 for objects in the order they were made, so
objects exclude each other. A *mask* is bool [H, W]. A *matte* is soft alpha, float32 in 0..1.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import MaskError, MaskSizeMismatch, UsageError

LabelMap = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1; half-open, pixels

_MAP_HEADER = struct.Struct("<4sBII")  # magic, how the body is coded, width, height
_MAP_MAGIC = b"TLM1"
_RUNS, _RAW = 0, 1
_PLANES_HEADER = struct.Struct("<4sIII")  # magic, planes, height, width
_PLANES_MAGIC = b"TPL1"
_PLANE_BOX = struct.Struct("<IIII")
# Level 1: runs and deltas have done the work already, higher levels cost milliseconds for some per cent.
_ZLIB_LEVEL = 1
_MOST_COUNT_BITS = 65  # 13 signs of 5 bits: far above any picture, and hostile text stays cheap


def check_label_map(array: NDArray[Any], size_wh: tuple[int, int], what: str = "the label map") -> LabelMap:
    """The array as a contiguous uint8 label map of the frame's size.

    array: bool or integer [H, W]; size_wh: (width, height) in pixels; what: named in the message.
    Raises MaskSizeMismatch for another size, MaskError for other shapes, kinds or values outside 0..255.
    """
    array = np.asarray(array)
    if array.ndim != 2:
        raise MaskError(f"{what} has shape {array.shape}: give one value a pixel, [H, W]")
    height, width = array.shape
    if (width, height) != tuple(size_wh):
        raise MaskSizeMismatch(
            f"{what} is {width}x{height}, the frame {size_wh[0]}x{size_wh[1]}: give a mask of the frame's size"
        )
    if array.dtype.kind not in "bui":
        raise MaskError(f"{what} holds {array.dtype} values: labels are whole numbers from 0 to 255")
    if array.dtype not in (np.uint8, np.bool_) and array.size and (array.min() < 0 or array.max() > 255):
        raise MaskError(f"{what} holds labels from {array.min()} to {array.max()}: labels are 0 to 255")
    return np.ascontiguousarray(array, dtype=np.uint8)


def fitted(array: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[Any] | None:
    """The array [H, W, ...] at the frame's size when a side differs by one pixel from rounding elsewhere, else None.

    The edge row or column is repeated or left out, so no pixel moves.
    """
    height, width = array.shape[:2]
    if abs(width - size_wh[0]) > 1 or abs(height - size_wh[1]) > 1:
        return None
    rows = np.minimum(np.arange(size_wh[1]), height - 1)
    columns = np.minimum(np.arange(size_wh[0]), width - 1)
    return np.asarray(array[np.ix_(rows, columns)])


def box_of(mask: NDArray[Any]) -> Box | None:
    """The tight box (x0, y0, x1, y1), half-open, around the non-zero pixels; None where there are none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    return int(columns[0]), y0, int(columns[-1]) + 1, y1


# Lossless storage


def pack_label_map(label_map: LabelMap) -> bytes:
    """A label map [H, W] as a few hundred bytes to some kB: runs along the rows, then deflate.

    Raises MaskError unless it is uint8 [H, W]. `unpack_label_map` gives it back bit for bit.
    """
    if label_map.dtype != np.uint8 or label_map.ndim != 2:
        raise MaskError(f"cannot store {label_map.dtype} {label_map.shape}: a label map is uint8 [H, W]")
    height, width = label_map.shape
    flat = np.ascontiguousarray(label_map).reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if starts.size > flat.size // 8:  # noise rather than regions: runs would be longer than the pixels
        body = zlib.compress(flat.tobytes(), _ZLIB_LEVEL)
        return _MAP_HEADER.pack(_MAP_MAGIC, _RAW, width, height) + body
    starts = np.concatenate(([0], starts)) if flat.size else starts
    lengths = np.diff(starts, append=flat.size).astype("<u4")
    # Bytes of equal weight lie together, which deflate likes.
    planes = lengths.view(np.uint8).reshape(-1, 4).T
    body = zlib.compress(flat[starts].tobytes() + planes.tobytes(), _ZLIB_LEVEL)
    return _MAP_HEADER.pack(_MAP_MAGIC, _RUNS, width, height) + body


def unpack_label_map(packed: bytes) -> LabelMap:
    """What `pack_label_map` stored, uint8 [H, W]; raises MaskError for bytes that it never wrote."""
    try:
        magic, coding, width, height = _MAP_HEADER.unpack_from(packed)
        if magic != _MAP_MAGIC or coding not in (_RUNS, _RAW):
            raise MaskError("these bytes are not a stored label map: remove the cache entry, it is made again")
        body = np.frombuffer(zlib.decompress(packed[_MAP_HEADER.size :]), np.uint8)
        if coding == _RUNS:
            values, planes = body[: body.size // 5], body[body.size // 5 :]
            lengths = np.ascontiguousarray(planes.reshape(4, -1).T).view("<u4").reshape(-1)
            if int(lengths.sum(dtype=np.int64)) != width * height:
                raise MaskError("a stored label map has the wrong length: remove the cache entry, it is made again")
            body = np.repeat(values, lengths)
        return body.reshape(height, width).copy() if coding == _RAW else body.reshape(height, width)
    except (struct.error, zlib.error, ValueError) as error:
        raise MaskError(f"a stored label map is damaged ({error}): remove the cache entry, it is made again") from error


def pack_planes(planes: NDArray[np.uint8]) -> bytes:
    """Probability or matte planes, uint8 [K, H, W], each cut to the box of its non-zero pixels, then deflated.

    Raises MaskError for other kinds. Lossless: `unpack_planes` gives the same array back.
    """
    if planes.dtype != np.uint8 or planes.ndim != 3:
        raise MaskError(f"cannot store {planes.dtype} {planes.shape}: planes are uint8 [K, H, W]")
    count, height, width = planes.shape
    boxes, bodies = [], []
    for plane in planes:
        x0, y0, x1, y1 = box_of(plane) or (0, 0, 0, 0)
        boxes.append(_PLANE_BOX.pack(x0, y0, x1, y1))
        crop = plane[y0:y1, x0:x1]
        # Differences along the row, modulo 256: flat insides become zeros.
        delta = crop.copy()
        delta[:, 1:] -= crop[:, :-1]
        bodies.append(delta.tobytes())
    head = _PLANES_HEADER.pack(_PLANES_MAGIC, count, height, width)
    return head + b"".join(boxes) + zlib.compress(b"".join(bodies), _ZLIB_LEVEL)


def unpack_planes(packed: bytes) -> NDArray[np.uint8]:
    """What `pack_planes` stored, uint8 [K, H, W]; raises MaskError for bytes that it never wrote."""
    try:
        magic, count, height, width = _PLANES_HEADER.unpack_from(packed)
        if magic != _PLANES_MAGIC:
            raise MaskError("these bytes are not stored planes: remove the cache entry, it is made again")
        at = _PLANES_HEADER.size
        boxes = [_PLANE_BOX.unpack_from(packed, at + _PLANE_BOX.size * index) for index in range(count)]
        body = np.frombuffer(zlib.decompress(packed[at + _PLANE_BOX.size * count :]), np.uint8)
        planes = np.zeros((count, height, width), np.uint8)
        start = 0
        for plane, (x0, y0, x1, y1) in zip(planes, boxes, strict=True):
            size = (y1 - y0) * (x1 - x0)
            delta = body[start : start + size].reshape(y1 - y0, x1 - x0)
            np.cumsum(delta, axis=1, dtype=np.uint8, out=plane[y0:y1, x0:x1])
            start += size
    except (struct.error, zlib.error, ValueError) as error:
        raise MaskError(f"stored planes are damaged ({error}): remove the cache entry, it is made again") from error
    return planes


# Run lengths as COCO writes them: down the columns, background first


def rle_counts(mask: Mask) -> list[int]:
    """Run lengths of a mask [H, W], column by column, beginning with a (maybe empty) run of background."""
    flat = np.asarray(mask, dtype=bool).reshape(-1, order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts: list[int] = np.diff(edges, prepend=0, append=flat.size).tolist()
    return [0, *counts] if flat.size and flat[0] else counts


def mask_from_counts(counts: Sequence[int], size_wh: tuple[int, int]) -> Mask:
    """The mask [H, W] of column-major run lengths; raises MaskError when they do not add up to the size."""
    width, height = size_wh
    check_counts(counts, size_wh)
    lengths = np.asarray(counts, dtype=np.int64)
    values = np.arange(lengths.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(height, width, order="F"))


def check_counts(counts: Sequence[int], size_wh: tuple[int, int]) -> None:
    """Raise MaskError when run lengths are negative or do not add up to the size; no picture is made."""
    width, height = size_wh
    if any(count < 0 for count in counts):
        raise MaskError(f"a run length is negative ({min(counts)}): the text is not what COCO's tools write")
    if sum(counts) != width * height:
        raise MaskError(f"run lengths add up to {sum(counts)}, the picture {width}x{height} has {width * height}")


def rle_text(counts: Sequence[int]) -> str:
    """Run lengths in COCO's compressed text: from the fourth on as differences to the last but one, 5 bits a sign."""
    signs = []
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        while True:
            low, rest = rest & 31, rest >> 5
            done = rest == (-1 if low & 16 else 0)
            signs.append(chr(48 + (low if done else low | 32)))
            if done:
                break
    return "".join(signs)


def counts_from_text(text: str) -> list[int]:
    """Run lengths back from COCO's compressed text; raises MaskError when it breaks off or holds other signs."""
    counts: list[int] = []
    value = shift = 0
    for sign in text:
        code = ord(sign) - 48
        if not 0 <= code < 64:
            raise MaskError(f"the sign {sign!r} does not occur in COCO's compressed run lengths")
        value |= (code & 31) << shift
        shift += 5
        if shift > _MOST_COUNT_BITS:
            raise MaskError("a run length of more than 64 bits: the text is not what COCO's tools write")
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise MaskError("COCO's compressed run lengths break off in the middle of a number")
    return counts


# Mattes and tubes


@dataclass(frozen=True, eq=False)
class Matte:
    """Soft alpha, kept as the part that is not zero.

    alpha: float32 [h, w] in 0..1; offset_xy: where its top left pixel lies; size_wh: the whole frame.
    Raises MaskError when the part does not lie in the frame or is of another kind.
    """

    alpha: NDArray[np.float32]
    offset_xy: tuple[int, int]
    size_wh: tuple[int, int]

    def __post_init__(self) -> None:
        if self.alpha.dtype != np.float32 or self.alpha.ndim != 2:
            raise MaskError(f"a matte is float32 [h, w], not {self.alpha.dtype} {self.alpha.shape}")
        x0, y0, x1, y1 = self.box
        if x0 < 0 or y0 < 0 or x1 > self.size_wh[0] or y1 > self.size_wh[1]:
            raise MaskError(f"the matte's part {self.box} lies outside the frame {self.size_wh}")

    @classmethod
    def of(cls, alpha: NDArray[np.float32]) -> Matte:
        """The matte of a whole frame's alpha, float32 [H, W], cut to its non-zero box."""
        x0, y0, x1, y1 = box_of(alpha) or (0, 0, 0, 0)
        return cls(alpha[y0:y1, x0:x1].copy(), (x0, y0), (alpha.shape[1], alpha.shape[0]))

    @property
    def box(self) -> Box:
        """Where the part lies in the frame: x0, y0, x1, y1, half-open."""
        (x0, y0), (height, width) = self.offset_xy, self.alpha.shape
        return x0, y0, x0 + width, y0 + height

    def full(self) -> NDArray[np.float32]:
        """The whole frame's alpha, float32 [H, W]."""
        frame = np.zeros((self.size_wh[1], self.size_wh[0]), np.float32)
        x0, y0, x1, y1 = self.box
        frame[y0:y1, x0:x1] = self.alpha
        return frame


class MaskTube(Sequence[LabelMap]):
    """The masks of all objects over a clip: `masks["ball"][120]` is bool [H, W], `masks[120]` the label map.

    names: objects in label order, so names[0] has label 1; count: frames; size_wh: width and height;
    load: gives frame i's label map, uint8 [H, W], when it is asked for; the last `keep` are remembered.
    Raises UsageError for impossible names, and what `load` raises when a frame is read.
    """

    def __init__(
        self,
        names: Sequence[str],
        count: int,
        size_wh: tuple[int, int],
        load: Callable[[int], LabelMap],
        keep: int = 8,
    ) -> None:
        if len(set(names)) != len(names) or not all(names) or len(names) > 255:
            raise UsageError(f"object names {list(names)}: give up to 255 different names, none empty")
        self.objects = tuple(names)
        self.size_wh = (int(size_wh[0]), int(size_wh[1]))
        self._count, self._load, self._keep = count, load, max(1, keep)
        self._recent: OrderedDict[int, LabelMap] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def from_maps(cls, names: Sequence[str], maps: Sequence[LabelMap]) -> MaskTube:
        """A tube of label maps that are already in memory; raises UsageError when there are none."""
        if len(maps) == 0:
            raise UsageError("a mask tube needs at least one frame")
        return cls(names, len(maps), (maps[0].shape[1], maps[0].shape[0]), maps.__getitem__)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[LabelMap]:
        return (self.label_map(index) for index in range(self._count))

    @overload
    def __getitem__(self, key: int) -> LabelMap: ...
    @overload
    def __getitem__(self, key: slice) -> list[LabelMap]: ...
    @overload
    def __getitem__(self, key: str) -> ObjectMasks: ...
    def __getitem__(self, key: int | slice | str) -> LabelMap | list[LabelMap] | ObjectMasks:
        if isinstance(key, str):
            return ObjectMasks(self, key, self.label_of(key))
        if isinstance(key, slice):
            return [self.label_map(index) for index in range(*key.indices(self._count))]
        return self.label_map(key)

    def label_of(self, name: str) -> int:
        """The object's label, 1..255; raises UsageError for a name that the tube does not have."""
        if name not in self.objects:
            raise UsageError(f"no object {name!r} here: there are {', '.join(map(repr, self.objects)) or 'none'}")
        return self.objects.index(name) + 1

    def label_map(self, index: int) -> LabelMap:
        """Frame `index` as a read-only label map, uint8 [H, W]; negative counts from the end, IndexError beyond."""
        frame = index + self._count if index < 0 else index
        if not 0 <= frame < self._count:
            raise IndexError(f"frame {index} of a tube of {self._count} frames")
        with self._lock:
            if frame in self._recent:
                self._recent.move_to_end(frame)
                return self._recent[frame]
        label_map = check_label_map(self._load(frame), self.size_wh, f"the label map of frame {frame}").view()
        label_map.flags.writeable = False
        with self._lock:
            self._recent[frame] = label_map
            while len(self._recent) > self._keep:
                self._recent.popitem(last=False)
        return label_map

    def mask(self, index: int, objects: Sequence[str] | None = None) -> Mask:
        """Where any of the objects (all by default) lies on a frame, bool [H, W]."""
        label_map = self.label_map(index)
        wanted = np.zeros(256, bool)
        if objects is None:
            wanted[1:] = True
        else:
            wanted[[self.label_of(name) for name in objects]] = True
        chosen: Mask = wanted[label_map]
        return chosen

    def box(self, name: str, index: int) -> Box | None:
        """The object's box (x0, y0, x1, y1), half-open, on a frame; None where it is absent."""
        return box_of(self[name][index])

    def __repr__(self) -> str:
        return f"MaskTube(objects={list(self.objects)}, frames={self._count}, size={self.size_wh[0]}x{self.size_wh[1]})"


class ObjectMasks(Sequence[Mask]):
    """One object's masks over the clip, read from the tube when they are asked for."""

    def __init__(self, tube: MaskTube, name: str, label: int) -> None:
        self.tube, self.name, self.label = tube, name, label

    def __len__(self) -> int:
        return len(self.tube)

    @overload
    def __getitem__(self, key: int) -> Mask: ...
    @overload
    def __getitem__(self, key: slice) -> list[Mask]: ...
    def __getitem__(self, key: int | slice) -> Mask | list[Mask]:
        if isinstance(key, slice):
            return [self[index] for index in range(*key.indices(len(self)))]
        mask: Mask = self.tube.label_map(key) == self.label
        return mask

    def __iter__(self) -> Iterator[Mask]:
        return (self[index] for index in range(len(self)))

    def box(self, index: int) -> Box | None:
        """The object's box (x0, y0, x1, y1), half-open, on a frame; None where it is absent."""
        return box_of(self[index])

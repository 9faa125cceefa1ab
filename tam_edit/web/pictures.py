"""Pictures of a clip as the page asks for them: JPEG at display size, exact PNG, and a small strip made ahead."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import ClipSource
from tam_edit.errors import TamEditError
from tam_edit.masks import LabelMap
from tam_edit.media.reader import ClipReader

WIDTHS_PX = (320, 640, 960, 1280, 1920)
STRIP_WIDTH_PX = 256
MOST_STRIP_FRAMES = 4000
KEPT_BYTES = 160 << 20
DISPLAY_QUALITY = 88
STRIP_QUALITY = 70

Rgb = NDArray[np.uint8]


@dataclass
class _Kept:
    """Encoded pictures, least recently asked for first, up to a number of bytes."""

    room_bytes: int
    used_bytes: int = 0
    items: OrderedDict[tuple[int, str], bytes] = field(default_factory=OrderedDict)

    def get(self, key: tuple[int, str]) -> bytes | None:
        if key in self.items:
            self.items.move_to_end(key)
        return self.items.get(key)

    def put(self, key: tuple[int, str], payload: bytes) -> None:
        self.used_bytes += len(payload) - len(self.items.pop(key, b""))
        self.items[key] = payload
        while self.used_bytes > self.room_bytes and len(self.items) > 1:
            self.used_bytes -= len(self.items.popitem(last=False)[1])


class Pictures:
    """The pictures of one clip through one open reader; safe to use from many threads."""

    def __init__(self, source: ClipSource, room_bytes: int = KEPT_BYTES) -> None:
        self.source = source
        self._reader = ClipReader(source)
        self._reading = threading.Lock()
        self._kept = _Kept(room_bytes)
        self._keeping = threading.Lock()

    def close(self) -> None:
        with self._reading:
            self._reader.close()

    def forget(self) -> None:
        """Keep nothing of what was made: for measuring."""
        with self._keeping:
            self._kept = _Kept(self._kept.room_bytes)

    def rgb(self, frame: int, size_wh: tuple[int, int] | None = None) -> Rgb:
        """One upright picture, uint8 [H, W, 3]. Raises SourceError."""
        with self._reading:
            return self._reader.picture(frame).rgb(size_wh)

    def jpeg(self, frame: int, width_px: int) -> bytes:
        """A picture at most so wide, for looking at."""
        return self._encoded(frame, f"j{width_px}", width_px)

    def png(self, frame: int) -> bytes:
        """A picture in full size, every pixel exact."""
        return self._encoded(frame, "png", None)

    def _encoded(self, frame: int, kind: str, width_px: int | None) -> bytes:
        with self._keeping:
            known = self._kept.get((frame, kind))
        if known is not None:
            return known
        rgb = self.rgb(frame, None if width_px is None else fitted(self.source.size_wh, width_px))
        payload = png_of(rgb) if width_px is None else jpeg_of(rgb, DISPLAY_QUALITY)
        with self._keeping:
            self._kept.put((frame, kind), payload)
        return payload


class Strip:
    """Small pictures of the whole clip, made ahead in a thread, so that scrubbing never waits for a decoder.

    A very long clip gets every n-th frame only.
    """

    def __init__(self, source: ClipSource) -> None:
        self.source = source
        self.every = max(1, -(-source.frames // MOST_STRIP_FRAMES))
        self._made: dict[int, bytes] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._make, name="film strip", daemon=True)
        self._thread.start()

    @property
    def done(self) -> int:
        """How many of its pictures are there."""
        return len(self._made)

    def nearest(self, frame: int) -> tuple[int, bytes] | None:
        """The strip's picture for a frame with the number of the frame it shows; None where none is near yet."""
        place = frame - frame % self.every
        found = self._made.get(place)
        return None if found is None else (place, found)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _make(self) -> None:
        size_wh = fitted(self.source.size_wh, STRIP_WIDTH_PX)
        try:
            with ClipReader(self.source) as reader:
                for frame in range(0, self.source.frames, self.every):
                    if self._closed.is_set():
                        return
                    self._made[frame] = jpeg_of(reader.picture(frame).rgb(size_wh), STRIP_QUALITY)
        except TamEditError:
            return  # the pictures themselves are asked for too, and that answer says in words what is wrong


def fitted(size_wh: tuple[int, int], width_px: int) -> tuple[int, int]:
    """The size at most so wide, its shape kept; never larger than the picture."""
    width, height = size_wh
    if width <= width_px:
        return size_wh
    return width_px, max(1, round(height * width_px / width))


def jpeg_of(rgb: Rgb, quality: int) -> bytes:
    _, payload = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return payload.tobytes()


def png_of(rgb: Rgb) -> bytes:
    _, payload = cv2.imencode(".png", rgb[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return payload.tobytes()


def map_png(label_map: LabelMap) -> bytes:
    """A label map [H, W] as a grey PNG whose values are the labels."""
    _, payload = cv2.imencode(".png", label_map, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return payload.tobytes()

"""Frame-accurate reading: any frame by its number, decoded when needed, a bounded few of them kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tam_edit.clip import ClipSource, FrameSpan
from tam_edit.errors import SourceChanged, SourceUnreadable
from tam_edit.media.convert import convert
from tam_edit.media.digests import list_pictures
from tam_edit.media.opening import NO_MEMORY, describe, edited_stream, no_memory, open_source, refuse_without_memory
from tam_edit.media.pictures import read_picture
from tam_edit.media.rgb import rgb_upright

KEPT_BYTES = 96 << 20
KEPT_FRAMES = 32


@dataclass(frozen=True)
class Picture:
    """One decoded frame: `native` in coded orientation and its own planes, RGB upright on demand."""

    index: int
    pts: int
    native: VideoFrame
    source: ClipSource
    _reformatter: VideoReformatter

    def rgb(self, size_wh: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], upright, the source's matrix and range applied; `size_wh` scales on the way."""
        return rgb_upright(self.native, self.source.colour, self.source.orientation, size_wh, self._reformatter)


class ClipReader:
    """Reads frames of a probed clip by number; use as a context manager.

    Sequential reading decodes each frame once; going back or far ahead seeks to a sync frame and decodes from there.
    What comes out is checked against the probed timestamps: where a seek lands wrong an earlier sync frame is tried,
    in the end the start; a wrong frame is never returned. Raises SourceMissing, SourceUnreadable, SourceChanged.
    """

    def __init__(self, source: ClipSource) -> None:
        self.source = source
        self.seeks = 0  # how many times decoding started anew: tests and benchmarks ask
        self.decoded = 0
        self._kept: OrderedDict[int, VideoFrame] = OrderedDict()
        self._container: InputContainer | None = None
        self._running: Iterator[VideoFrame] | None = None
        self._next = 0
        self._steps_back = 0
        self._paths: list[Path] = []
        self._by_pts = {pts: index for index, pts in enumerate(source.pts)} if source.seekable else {}
        self._reformatter = VideoReformatter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and of all frames kept."""
        self._running = None
        self._kept.clear()
        if self._container is not None:
            self._container.close()
            self._container = None

    def frames(self, span: FrameSpan | None = None) -> Iterator[Picture]:
        """The frames of a span in order (of the whole clip when not given); others may be read in between."""
        for index in (span or self.source.span).indices():
            yield self.picture(index)

    def picture(self, index: int) -> Picture:
        """One frame by its number."""
        if not 0 <= index < self.source.frames:
            raise IndexError(f"frame {index}: the clip has frames 0 to {self.source.frames - 1}")
        frame = self._kept.get(index)
        if frame is None:
            frame = self._read_file(index) if self.source.kind == "pictures" else self._decode(index)
            self._keep(index, frame)
        else:
            self._kept.move_to_end(index)
        return Picture(index, self.source.pts[index], frame, self.source, self._reformatter)

    def _keep(self, index: int, frame: VideoFrame) -> None:
        self._kept[index] = frame
        each = max(sum(plane.buffer_size for plane in frame.planes), 1)
        room = max(min(KEPT_FRAMES, KEPT_BYTES // each), 2)
        while len(self._kept) > room:
            self._kept.popitem(last=False)

    def _read_file(self, index: int) -> VideoFrame:
        if not self._paths:
            self._paths = list_pictures(Path(self.source.path))
        if len(self._paths) != self.source.frames:
            raise SourceChanged(
                f"{self.source.path}: {len(self._paths)} pictures where {self.source.frames} were; "
                "put the folder back as it was, or start a new project"
            )
        frame = read_picture(self._paths[index])
        self.decoded += 1
        if (frame.width, frame.height) != self.source.coded_wh:
            raise SourceChanged(f"{self._paths[index]}: is {frame.width}x{frame.height}, was {self.source.coded_wh}")
        return self._same_format(frame)

    def _same_format(self, frame: VideoFrame) -> VideoFrame:
        if frame.format.name == self.source.pixel_format:
            return frame
        return convert(frame, self.source.pixel_format, self.source.colour)

    def _decode(self, index: int) -> VideoFrame:
        start = self.source.sync_before(index) if self.source.seekable else 0
        if self._running is not None and start <= self._next <= index:
            found = self._run_to(index)
            if found is not None:
                return found
        for _ in range(self._steps_back):
            start = self.source.sync_before(max(start - 1, 0))
        while True:
            self._start_at(start)
            found = self._run_to(index)
            if found is not None:
                return found
            if start == 0:
                raise SourceChanged(
                    f"{self.source.path}: frame {index} no longer comes where it was when the clip was probed; "
                    "put the file back as it was, or start a new project"
                )
            start = self.source.sync_before(start - 1)
            self._steps_back += 1  # this container's seeks land late (MPEG-TS does): begin earlier from now on

    def _run_to(self, index: int) -> VideoFrame | None:
        """Decode on until a frame; None when the frames that come are not the expected ones."""
        assert self._running is not None
        while self._next <= index:
            frame = next(self._running, None)
            if frame is None:
                self._running = None
                return None
            self.decoded += 1
            if self.source.seekable:
                at = self._by_pts.get(frame.pts) if frame.pts is not None else None
                if at is None or at > self._next:
                    self._running = None
                    return None
                if at < self._next:
                    continue  # frames before the sync frame, which a seek may bring along
            self._next += 1
            if self._next <= index:
                if index - self._next < KEPT_FRAMES // 2:
                    self._keep(self._next - 1, frame)
                continue
            return frame
        return None

    def _start_at(self, sync: int) -> None:
        """Make `_running` yield frames from a sync frame on (or a little before)."""
        self.seeks += 1
        if self._container is None or sync == 0:
            if self._container is not None:
                self._container.close()
            self._container = open_source(self.source.path)
            edited_stream(self._container, self.source.path).thread_type = "AUTO"
        stream = edited_stream(self._container, self.source.path)
        if stream.index != self.source.video_stream_index:
            raise SourceChanged(f"{self.source.path}: its streams are no longer what they were; start a new project")
        if sync:
            try:
                self._container.seek(self.source.pts[sync], stream=stream, backward=True)
            except av.error.FFmpegError as error:
                raise SourceUnreadable(f"{self.source.path}: cannot be searched ({describe(error)})") from error
        self._running = self._decoded(self._container, stream)
        self._next = sync

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Every frame from here on; packets that cannot be decoded are left out, as when probing."""
        wanted = (*self.source.coded_wh, self.source.pixel_format)
        packets = container.demux(stream)
        ended = False
        while not ended:
            try:
                packet = next(packets, None)
            except NO_MEMORY as error:
                raise no_memory(self.source.path) from error
            except (av.error.FFmpegError, OSError):
                packet = None  # the probe met the same end, and said so
            ended = packet is None or not packet.size
            try:
                frames = stream.decode(None if ended else packet)
            except av.error.EOFError:
                frames = []
            except NO_MEMORY as error:
                raise no_memory(self.source.path) from error
            except av.error.FFmpegError as error:
                refuse_without_memory(self.source.path, error)
                continue
            for frame in frames:
                if (frame.width, frame.height, frame.format.name) == wanted:
                    yield frame

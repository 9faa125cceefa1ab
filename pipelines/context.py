"""What every stage of a run works with: the runner, the probed clip and its shots, and its pictures when needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import ClipSource, FrameSpan
from tam_edit.digest import digest_of
from tam_edit.engine.runner import Runner
from tam_edit.media.reader import ClipReader, Picture

Rgb = NDArray[np.uint8]


@dataclass
class Context:
    """One run over one clip. The reader is opened when a picture is first needed: a run that reuses all opens none."""

    runner: Runner
    source: ClipSource
    cuts: tuple[int, ...]
    memory_bytes: int
    _reader: ClipReader | None = field(default=None, repr=False)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def path(self) -> Path:
        return Path(self.source.path)

    @property
    def shots(self) -> tuple[FrameSpan, ...]:
        """The clip's shots in order; one when there is no cut."""
        edges = (0, *self.cuts, self.source.frames)
        return tuple(FrameSpan(start, stop) for start, stop in itertools.pairwise(edges))

    def shot_of(self, frame: int) -> FrameSpan:
        return next(shot for shot in self.shots if frame in shot)

    @property
    def reader(self) -> ClipReader:
        if self._reader is None:
            self._reader = ClipReader(self.source)
        return self._reader

    def picture_digest(self, frame: int) -> str:
        """A decoded frame follows from the file's content and its number."""
        return digest_of(("picture", self.source.digest, frame))

    def picture_reads(self, frames: Iterable[int]) -> dict[int, str | None]:
        return {frame: self.picture_digest(frame) for frame in frames}

    def rgb(self, frame: int) -> Rgb:
        """One upright picture, uint8 [H, W, 3]."""
        return self.reader.picture(frame).rgb()

    def rgb_span(self, span: FrameSpan) -> Iterator[Rgb]:
        return (picture.rgb() for picture in self.pictures(span))

    def pictures(self, span: FrameSpan) -> Iterator[Picture]:
        return self.reader.frames(span)

"""What a stage is: a name and a version, units of work on spans of frames, and the keys that name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_bytes, digest_of
from tam_edit.engine.store import Record

T = TypeVar("T")

UNKNOWN: None = None
"""The digest of a frame whose stage must run first."""

NOTHING = "nothing"
"""Stands for the digest of a frame that has no value."""


@dataclass(frozen=True)
class Stage:
    """A kind of work. The version is bumped by hand whenever its results change: code is not hashed."""

    name: str
    version: int


@dataclass(frozen=True)
class Unit:
    """One piece of a stage's work: what it makes (a span), from what (digests), and with what (settings).

    reads: for each input by name the digest of every frame that is read, by frame number; None where the stage
    before must run first. Numbers only serve the telling of reasons; the key holds the digests in their order.
    variant: which of several units on the same span this is, such as "forward". round: where a stage goes over a span
    more than once in a run, which time this is: the key does not hold it, what changed is told against the same round.
    """

    stage: Stage
    span: FrameSpan
    settings: Mapping[str, Any]
    reads: Mapping[str, Mapping[int, str | None]] = field(default_factory=dict)
    variant: str = ""
    round: str = ""

    @property
    def is_known(self) -> bool:
        return all(digest is not UNKNOWN for frames in self.reads.values() for digest in frames.values())

    @property
    def key(self) -> str:
        """The hash of everything the result depends on; only for units that are known."""
        reads = {name: list(frames.values()) for name, frames in self.reads.items()}
        return digest_of((self.stage.name, self.stage.version, self.variant, dict(self.settings), reads))

    @property
    def place(self) -> str:
        """What this unit is called from run to run, for finding out what changed since the last one."""
        return f"{self.stage.name}/{self.variant}/{self.span.start}" + (f"/{self.round}" if self.round else "")


@dataclass(frozen=True)
class Product:
    """What running a unit gives: a digest for each frame of the span, the bytes by name, facts in plain JSON.

    span: where the unit could not know its frames beforehand (probing), those it turned out to have.
    """

    frames: Sequence[str]
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    span: FrameSpan | None = None


@dataclass(frozen=True)
class FrameSeries(Generic[T]):
    """A stage's results frame by frame: digests for keys, and a way to load a value when somebody needs it.

    digests: by frame number; a frame that is missing here has no value (no mask, no fill).
    """

    digests: Mapping[int, str | None]
    load: Callable[[int], T]

    def reads(self, frames: Iterable[int]) -> dict[int, str | None]:
        """The digests of these frames in order; a frame without a value says so, which is an answer too."""
        return {index: self.digests.get(index, NOTHING) for index in frames}


def pack_frames(frames: Sequence[bytes]) -> bytes:
    """Put the bytes of several frames into one blob."""
    sizes = b"".join(len(frame).to_bytes(8, "little") for frame in frames)
    return len(frames).to_bytes(8, "little") + sizes + b"".join(frames)


def unpack_frames(blob: bytes) -> list[bytes]:
    """Take a blob of `pack_frames` apart."""
    count = int.from_bytes(blob[:8], "little")
    at = 8 + 8 * count
    frames = []
    for index in range(count):
        size = int.from_bytes(blob[8 + 8 * index : 16 + 8 * index], "little")
        frames.append(blob[at : at + size])
        at += size
    return frames


def packed_product(frames: Sequence[bytes], name: str = "frames", **facts: Any) -> Product:
    """The usual product: one packed blob, each frame's digest that of its bytes."""
    return Product([digest_bytes(frame) for frame in frames], {name: pack_frames(frames)}, facts)


def record_digests(record: Record | None, span: FrameSpan) -> dict[int, str | None]:
    """Frame digests of a unit by frame number; unknown everywhere when the unit has yet to run."""
    if record is None:
        return dict.fromkeys(span.indices(), UNKNOWN)
    return dict(zip(span.indices(), record.frames, strict=True))

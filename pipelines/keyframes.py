"""The segment stage: from what was said of an object on a frame to its trusted mask there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_bytes, digest_of
from tam_edit.engine.stage import Product, Stage, Unit
from tam_edit.engine.store import EntryLost
from tam_edit.errors import MaskEmpty, PromptError
from tam_edit.masks import Mask, box_of, pack_label_map, unpack_label_map
from tam_edit.pipelines.arrays import pack_arrays, unpack_arrays
from tam_edit.pipelines.context import Context
from tam_edit.script import EditScript, Prompt

STAGE = Stage("segment", 1)
EMBED = Stage("embed", 1)


@dataclass(frozen=True)
class Candidate:
    """One possible mask for clicks: its extent's name and how sure the segmenter is, 0..1.

    stability: how much of it stays when the threshold moves a little, 0..1; None where the segmenter does not know.
    """

    mask: Mask
    score: float
    name: str
    stability: float | None = None


class Segmenter(Protocol):
    """Turns clicks into masks; `identity` names engine, version and weights for keys."""

    @property
    def identity(self) -> str: ...

    @property
    def looks_ahead(self) -> bool:
        """Whether the next frame's picture is used too."""
        ...

    def candidates(
        self, rgb: NDArray[np.uint8], prompt: Prompt, next_rgb: NDArray[np.uint8] | None
    ) -> tuple[Candidate, ...]:
        """Masks bool [H, W], best first."""
        ...


@runtime_checkable
class EmbeddingSegmenter(Protocol):
    """A segmenter whose costly look at a picture does not depend on the clicks, and is kept in the store."""

    @property
    def embedder(self) -> str:
        """Names network, weights and precision for keys."""
        ...

    def embed(self, rgb: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """What was seen in the picture, as flat arrays."""
        ...

    def answer(self, seen: Mapping[str, NDArray[Any]], prompt: Prompt) -> tuple[Candidate, ...]:
        """Masks bool [H, W] for clicks on a picture that was seen, best first."""
        ...


@runtime_checkable
class PreparingSegmenter(Protocol):
    """A segmenter that can look at a picture before anything is said of it."""

    @property
    def looks_ahead(self) -> bool: ...

    def prepare(self, rgb: NDArray[np.uint8], next_rgb: NDArray[np.uint8] | None) -> None: ...


class KeyMask(Protocol):
    """A trusted mask: its digest (None while it must run first) and its pixels."""

    @property
    def digest(self) -> str | None: ...

    @property
    def absent(self) -> bool:
        """Whether a person said that the object is not there from this frame on."""
        ...

    def load(self) -> Mask: ...


@dataclass(frozen=True)
class SaidMask:
    """A mask that the script itself holds: drawn, imported, or absent."""

    prompt: Prompt
    size_wh: tuple[int, int]

    @property
    def digest(self) -> str | None:
        return digest_of(("mask", self.size_wh, self.prompt.mask))

    @property
    def absent(self) -> bool:
        return self.prompt.absent

    def load(self) -> Mask:
        if self.prompt.mask is None:
            return np.zeros((self.size_wh[1], self.size_wh[0]), dtype=bool)
        return self.prompt.mask.mask()


@dataclass(frozen=True)
class FoundMask:
    """A mask that the segmenter made of clicks, kept in the store."""

    context: Context
    key: str
    digest: str | None
    absent: bool = False

    def load(self) -> Mask:
        record = self.context.runner.store.record(self.key)
        if record is None:
            raise EntryLost(self.key)  # another process has pruned it meanwhile
        return np.asarray(unpack_label_map(self.context.runner.store.blob(record, "mask")) != 0)


Keyframes = dict[int, dict[int, KeyMask]]
"""Trusted masks by frame, then by label."""


def keyframes(context: Context, script: EditScript, segmenter: Segmenter) -> Keyframes:
    """Run the segment stage for every prompt of the script.

    Raises PromptError for a prompt that does not fit the clip and MaskEmpty for clicks that hit nothing.
    """
    found: Keyframes = {}
    prompts = sum(len(item.prompts) for item in script.objects)
    context.runner.stage(STAGE.name, prompts)
    for label, item in enumerate(script.objects, start=1):
        for frame, prompt in item.prompts.items():
            found.setdefault(frame, {})[label] = key_mask(context, item.name, frame, prompt, segmenter)
    return dict(sorted(found.items()))


def key_mask(context: Context, name: str, frame: int, prompt: Prompt, segmenter: Segmenter) -> KeyMask:
    """The trusted mask of one object on one frame."""
    check_prompt(context, name, frame, prompt)
    size_wh = context.source.size_wh
    if prompt.absent or (prompt.mask is not None and not prompt.polish):
        return SaidMask(prompt, size_wh)
    ahead = frame + 1 if segmenter.looks_ahead and frame + 1 in context.shot_of(frame) else None
    frames = [frame] if ahead is None else [frame, ahead]
    unit = Unit(
        STAGE,
        FrameSpan(frame, frame + 1),
        {"segmenter": segmenter.identity, "prompt": digest_of(prompt)},
        {"picture": context.picture_reads(frames)},
        variant=name,
    )

    def compute() -> Product:
        mask = choose(context, name, frame, prompt, segmenter).mask
        packed = pack_label_map(mask.astype(np.uint8))
        return Product([digest_bytes(packed)], {"mask": packed})

    record = context.runner.obtain(unit, compute)
    return FoundMask(context, unit.key, record.frames[0] if record else None)


def choose(context: Context, name: str, frame: int, prompt: Prompt, segmenter: Segmenter) -> Candidate:
    """Ask the segmenter and take the candidate that the prompt asks for. Raises MaskEmpty and PromptError."""
    candidates = propose(context, frame, prompt, segmenter)
    if prompt.candidate >= len(candidates):
        raise PromptError(f"candidate {prompt.candidate} of {name!r} on frame {frame}: there are {len(candidates)}")
    candidate = candidates[prompt.candidate]
    if not candidate.mask.any():
        raise MaskEmpty(
            f"object {name!r} has no pixels at frame {frame} with these clicks: click inside it, draw a --box around "
            "it, or say --absent"
        )
    return candidate


def propose(context: Context, frame: int, prompt: Prompt, segmenter: Segmenter) -> tuple[Candidate, ...]:
    """The segmenter's masks for clicks on a frame, best first; what it sees of the frame is kept for later clicks."""
    if isinstance(segmenter, EmbeddingSegmenter):
        return segmenter.answer(_embedding(context, frame, segmenter), prompt)
    ahead = frame + 1 if segmenter.looks_ahead and frame + 1 in context.shot_of(frame) else None
    return segmenter.candidates(context.rgb(frame), prompt, None if ahead is None else context.rgb(ahead))


def look_ahead(context: Context, frame: int, segmenter: Segmenter) -> None:
    """Do what clicks on a frame will need and what does not depend on them; no answer changes."""
    if isinstance(segmenter, EmbeddingSegmenter):
        _embedding(context, frame, segmenter)
    elif isinstance(segmenter, PreparingSegmenter):
        ahead = frame + 1 if segmenter.looks_ahead and frame + 1 in context.shot_of(frame) else None
        segmenter.prepare(context.rgb(frame), None if ahead is None else context.rgb(ahead))


def _embedding(context: Context, frame: int, segmenter: EmbeddingSegmenter) -> dict[str, NDArray[Any]]:
    unit = Unit(
        EMBED,
        FrameSpan(frame, frame + 1),
        {"embedder": segmenter.embedder},
        {"picture": context.picture_reads([frame])},
    )

    def compute() -> Product:
        packed = pack_arrays(segmenter.embed(context.rgb(frame)))
        return Product([digest_bytes(packed)], {"embedding": packed})

    record = context.runner.obtain(unit, compute, needs_blobs=True)
    if record is None:
        raise AssertionError("clicks are answered in runs, never in plans")
    return unpack_arrays(context.runner.store.blob(record, "embedding"))


def check_prompt(context: Context, name: str, frame: int, prompt: Prompt) -> None:
    """Raise PromptError when a prompt cannot be meant for this clip."""
    if frame >= context.source.frames:
        raise PromptError(
            f"object {name!r} is marked on frame {frame}, but the clip has frames 0 to {context.source.frames - 1}"
        )
    try:
        prompt.check_inside(context.source.size_wh)
    except PromptError as error:
        raise PromptError(f"object {name!r}, frame {frame}: {error}") from error
    if prompt.mask is not None and box_of(prompt.mask.mask()) is None:
        raise MaskEmpty(f"the mask of {name!r} on frame {frame} is empty: give one with pixels, or say --absent")


def exclusive(masks: Mapping[int, Mask]) -> dict[int, Mask]:
    """Masks by label without overlap: where two were said to be, the later label wins, as in a label map."""
    taken: Mask | None = None
    result = {}
    for label in sorted(masks, reverse=True):
        mask = masks[label] if taken is None else masks[label] & ~taken
        taken = masks[label] if taken is None else taken | masks[label]
        result[label] = mask
    return dict(sorted(result.items()))

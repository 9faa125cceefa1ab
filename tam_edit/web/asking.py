"""How clicks are answered soon: pictures decoded ahead, and segmenters that remember what they answered last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.digest import digest_of
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.engines import ClassicSegmenter
from tam_edit.pipelines.keyframes import Candidate, EmbeddingSegmenter
from tam_edit.script import Prompt
from tam_edit.session import Edit

MOST_READY = 4


@dataclass
class Ready:
    """The last few pictures that were decoded, for whoever asks next."""

    pictures: OrderedDict[int, Rgb] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class SharedContext(Context):
    """A Context whose pictures another thread may have decoded already."""

    ready: Ready = field(default_factory=Ready)

    @classmethod
    def of(cls, edit: Edit) -> SharedContext:
        bench = edit.bench
        plain = bench.context(bench.runner(dry=False))
        return cls(plain.runner, plain.source, plain.cuts, plain.memory_bytes)

    def beside(self, edit: Edit) -> SharedContext:
        """Another one for another thread, with a reader of its own."""
        bench = edit.bench
        return SharedContext(bench.runner(dry=False), self.source, self.cuts, self.memory_bytes, ready=self.ready)

    def rgb(self, frame: int) -> Rgb:
        with self.ready.lock:
            found = self.ready.pictures.get(frame)
            if found is not None:
                self.ready.pictures.move_to_end(frame)
                return found
        found = super().rgb(frame)
        with self.ready.lock:
            self.ready.pictures[frame] = found
            while len(self.ready.pictures) > MOST_READY:
                self.ready.pictures.popitem(last=False)
        return found


@dataclass(frozen=True)
class Answer:
    """What clicks could mean, best first; more: others were not asked for, to be sooner."""

    candidates: tuple[Candidate, ...] = ()
    more: bool = False


class Remembering:
    """A segmenter that keeps its last answer: picking another candidate, or keeping one, asks nothing anew.

    The classic one is asked for the best candidate alone until another one is picked.
    """

    def __init__(self, segmenter: Any) -> None:
        self.segmenter = segmenter
        self.frame = -1
        self.last = Answer()
        self._asked = ""

    @property
    def identity(self) -> str:
        return str(self.segmenter.identity)

    @property
    def looks_ahead(self) -> bool:
        return bool(self.segmenter.looks_ahead)

    def candidates(self, rgb: Rgb, prompt: Prompt, next_rgb: Rgb | None) -> tuple[Candidate, ...]:
        if self._is_new(prompt) or prompt.candidate >= len(self.last.candidates):
            if isinstance(self.segmenter, ClassicSegmenter) and prompt.candidate == 0:
                found = self.segmenter.candidates(rgb, prompt, next_rgb, most=1)
                self._keep(prompt, Answer(found, more=found[0].name == "whole" and not prompt.boxes))
            else:
                self._keep(prompt, Answer(tuple(self.segmenter.candidates(rgb, prompt, next_rgb))))
        return self.last.candidates

    def answer_to(self, prompt: Prompt) -> Answer:
        """What it last said, where that was to this prompt; else the store knew the mask, and more can be asked."""
        return Answer(more=True) if self._is_new(prompt) else self.last

    def _is_new(self, prompt: Prompt) -> bool:
        return self._asked != digest_of((self.frame, replace(prompt, candidate=0)))

    def _keep(self, prompt: Prompt, answer: Answer) -> None:
        self.last = answer
        self._asked = digest_of((self.frame, replace(prompt, candidate=0)))


class RememberingSeen(Remembering):
    """The same for segmenters whose look at a picture is kept in the store: a click runs the decoder alone."""

    @property
    def embedder(self) -> str:
        return str(self.segmenter.embedder)

    def embed(self, rgb: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return dict(self.segmenter.embed(rgb))

    def answer(self, seen: Mapping[str, NDArray[Any]], prompt: Prompt) -> tuple[Candidate, ...]:
        if self._is_new(prompt):
            self._keep(prompt, Answer(tuple(self.segmenter.answer(seen, prompt))))
        return self.last.candidates


def remembering(segmenter: Any) -> Remembering:
    """The fitting one of the two."""
    return RememberingSeen(segmenter) if isinstance(segmenter, EmbeddingSegmenter) else Remembering(segmenter)

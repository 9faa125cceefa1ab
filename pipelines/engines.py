"""Which engines a run uses: names resolved before work starts, said aloud, and wrapped to what the stages ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, UsageError
from tam_edit.masks import Mask
from tam_edit.pipelines.context import Rgb
from tam_edit.pipelines.inpaint import Filler
from tam_edit.pipelines.keyframes import Candidate
from tam_edit.pipelines.passes import Tracker
from tam_edit.pipelines.prompts import boxes_inside, clicked, refused
from tam_edit.pipelines.refine import Rules
from tam_edit.script import Point, Prompt
from tam_edit.settings import Settings

if TYPE_CHECKING:
    from tam_edit.models.weights import FoundWeights

Box = tuple[float, float, float, float]

SEGMENTERS = ("classic", "sam")
TRACKERS = ("classic", "xmem")
INPAINTERS = ("classic", "e2fgvi", "e2fgvi-hq")

CLASSIC_SEGMENTER_VERSION = 3
CLASSIC_TRACKER_VERSION = 3
CLASSIC_FILLER_VERSION = 3


# From the thresholds at which SAM's own mask generator keeps a mask (predicted IoU .88, stability .95; a tracked object
# may be thinner than what it looks for).
SAM_RULES = Rules(score_from=0.88, stability_from=0.9, overlap_from=0.5, by_itself=True)
# From one frame the classic segmenter rarely knows better than the classic tracker (docs/tam.md has the figures), so
# only where it is asked to, and only its surest answers.
CLASSIC_RULES = Rules(score_from=0.75, stability_from=0.8, overlap_from=0.7, by_itself=False)


@dataclass(frozen=True)
class EngineOptions:
    """How neural engines run: device "auto", "cpu" or "cuda"; precision; weights named directly, by catalogue key.

    fast: XMem decodes only around where an object can be. commercial: engines whose weights forbid it are refused.
    """

    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    fast: bool = False
    weights: Mapping[str, Path] = field(default_factory=dict)
    commercial: bool = False


@dataclass(frozen=True)
class ClassicSegmenter:
    """Clicks to masks without weights; looks at the next frame's motion too."""

    looks_ahead: bool = True
    rules: Rules = CLASSIC_RULES

    @property
    def identity(self) -> str:
        return f"classic/{CLASSIC_SEGMENTER_VERSION}"

    def candidates(
        self, rgb: NDArray[np.uint8], prompt: Prompt, next_rgb: NDArray[np.uint8] | None, most: int = 3
    ) -> tuple[Candidate, ...]:
        """Masks best first; `most`: so many at most, the fewer the sooner."""
        if prompt.mask is not None:
            from tam_edit.models import classic

            return (Candidate(classic.polish(rgb, prompt.mask.mask()), 1.0, "polished"),)
        if prompt.prior is not None and prompt.box is None:
            mended = self._mended(rgb, prompt.prior.mask(), prompt, next_rgb)
            if mended is not None:
                return (Candidate(mended, 1.0, "mended"),)
        if prompt.boxes:
            return (self._joined(rgb, prompt, next_rgb),)
        return self._found(rgb, clicked(prompt), refused(prompt), prompt.box, next_rgb, most)

    def prepare(self, rgb: NDArray[np.uint8], next_rgb: NDArray[np.uint8] | None) -> None:
        """See ahead what clicks on this picture will need; no answer changes."""
        from tam_edit.models import classic

        classic.look(rgb, next_frame=next_rgb)

    def _joined(self, rgb: NDArray[np.uint8], prompt: Prompt, next_rgb: NDArray[np.uint8] | None) -> Candidate:
        """What each box holds, and what points beyond all boxes mean, together."""
        height, width = rgb.shape[:2]
        boxes = boxes_inside(prompt, (height, width))
        points = clicked(prompt)
        held = [[(x, y) for x, y in points if x0 <= x < x1 and y0 <= y < y1] for x0, y0, x1, y1 in boxes]
        free = [point for point in points if not any(point in mine for mine in held)]
        asked: list[tuple[Sequence[Point], Box | None]] = list(zip(held, boxes, strict=True))
        asked += [(free, None)] if free else []
        found = [self._found(rgb, mine, refused(prompt), box, next_rgb)[0] for mine, box in asked]
        return Candidate(
            np.logical_or.reduce([item.mask for item in found]), min(item.score for item in found), "whole"
        )

    def _found(
        self,
        rgb: NDArray[np.uint8],
        points: Sequence[Point],
        negative: Sequence[Point],
        box: Box | None,
        next_rgb: NDArray[np.uint8] | None,
        most: int = 1,
    ) -> tuple[Candidate, ...]:
        from tam_edit.models import classic

        found = classic.candidates(
            rgb,
            points=[*points, *negative],
            labels=[1] * len(points) + [0] * len(negative),
            box=box,
            next_frame=next_rgb,
            most=most,
        )
        return tuple(Candidate(item.mask, item.score, item.name) for item in found)

    def _mended(
        self, rgb: NDArray[np.uint8], prior: Mask, prompt: Prompt, next_rgb: NDArray[np.uint8] | None
    ) -> Mask | None:
        """The tracked mask with what was missed added and what was too much taken away.

        None when every click agrees with the mask already: then the clicks are meant to say it anew.
        """
        missed = [(x, y) for x, y in clicked(prompt) if not prior[int(y), int(x)]]
        too_much = [(x, y) for x, y in refused(prompt) if prior[int(y), int(x)]]
        if not missed and not too_much:
            return None
        mask = prior.copy()
        if missed:
            mask |= self._found(rgb, missed, refused(prompt), None, next_rgb)[0].mask
        if too_much:
            mask &= ~self._found(rgb, too_much, clicked(prompt), None, next_rgb)[0].mask
        return mask


class SamSegmenting:
    """Clicks to masks by SAM; what it sees of a frame is kept, so a second click costs only the decoder."""

    looks_ahead = False
    rules = SAM_RULES

    def __init__(self, found: FoundWeights, options: EngineOptions) -> None:
        self._found, self._options = found, options
        self._segmenter: Any = None

    @property
    def identity(self) -> str:
        return f"sam/1 {self.embedder}"

    @property
    def embedder(self) -> str:
        return f"sam/1 {self._found.sha256} {self._options.precision}"

    def embed(self, rgb: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return dict(self._loaded().embed(rgb).to_arrays())

    def answer(self, seen: Mapping[str, NDArray[Any]], prompt: Prompt) -> tuple[Candidate, ...]:
        from tam_edit.models import sam

        embedding = sam.Embedding.from_arrays(seen)
        if prompt.mask is not None:
            found = self._loaded().polish(embedding, prompt.mask.mask())
        else:
            prior, points, beside = None, clicked(prompt), refused(prompt)
            if prompt.prior is not None and not prompt.boxes:  # several boxes say anew where all of it is
                prior = sam.mask_logits(prompt.prior.mask(), embedding.size_hw, self._loaded().side)
            found = self._loaded().candidates(
                embedding,
                points=[*points, *beside],
                labels=[1] * len(points) + [0] * len(beside),
                boxes=boxes_inside(prompt, embedding.size_hw),
                mask_logits=prior,
            )
        names = ("best", "second", "third")
        return tuple(
            Candidate(item.mask, item.score, name, item.stability) for item, name in zip(found, names, strict=False)
        )

    def candidates(
        self,
        rgb: NDArray[np.uint8],
        prompt: Prompt,
        next_rgb: NDArray[np.uint8] | None,  # noqa: ARG002 - SAM looks at one picture
    ) -> tuple[Candidate, ...]:
        return self.answer(self.embed(rgb), prompt)

    def _loaded(self) -> Any:
        from tam_edit.models import sam

        if self._segmenter is None:
            network = sam.load(self._found.path, device=device_of(self._options), precision=self._options.precision)
            self._segmenter = sam.SamSegmenter(network)
        return self._segmenter


@dataclass(frozen=True)
class ClassicTracking:
    """Masks through the clip without weights, inside shots only: its memory of looks is too weak for more."""

    chunk: int = 16
    crosses_cuts: bool = False

    @property
    def identity(self) -> str:
        return f"classic/{CLASSIC_TRACKER_VERSION}"

    def make(self) -> Tracker:
        from tam_edit.models import classic

        return classic.Tracker()


@dataclass(frozen=True)
class ClassicFilling:
    """Holes filled from neighbouring frames without weights."""

    @property
    def identity(self) -> str:
        return f"classic/{CLASSIC_FILLER_VERSION}"

    def make(
        self, read: Callable[[int], tuple[Rgb, Mask]], read_mask: Callable[[int], Mask], frame_count: int
    ) -> Filler:
        from tam_edit.models.classic.fill import Filler, FillSettings

        return Filler(read, frame_count, FillSettings(), read_mask=read_mask)


class XMemTracking:
    """Masks through the clip by XMem; its memory of looks outlives cuts."""

    chunk = 32
    crosses_cuts = True

    def __init__(self, found: FoundWeights, options: EngineOptions) -> None:
        self._found, self._options = found, options
        self._network: Any = None

    @property
    def identity(self) -> str:
        return f"xmem/1 {self._found.sha256} {self._options.precision}{' fast' if self._options.fast else ''}"

    def make(self) -> Tracker:
        from tam_edit.models import xmem

        if self._network is None:
            self._network = xmem.load(
                self._found.path, device=device_of(self._options), precision=self._options.precision
            )
        return _XMemTracker(xmem.Tracker(self._network, xmem.MemorySettings(), fast=self._options.fast))


class _XMemTracker:
    """XMem's tracker under the stage's words."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(self._tracker.labels)

    def step(
        self, frame: Rgb, masks: Mapping[int, Mask] | None = None, *, last: bool = False, cut: bool = False
    ) -> NDArray[np.float32]:
        return np.asarray(self._tracker.step(frame, masks, last=last, cut=cut), dtype=np.float32)

    def teach(self, frame: Rgb, masks: Mapping[int, Mask]) -> None:
        self._tracker.memorise(frame, masks)

    def trust(self) -> Mapping[int, Any]:
        return dict(self._tracker.trust())

    def probes(self, label: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        inside, outside = self._tracker.probes(label, count)
        return inside, outside

    def snapshot(self) -> dict[str, NDArray[Any]]:
        return dict(self._tracker.snapshot())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._tracker.restore(state)


class E2fgviFilling:
    """Holes filled by E2FGVI or E2FGVI-HQ (weights CC BY-NC 4.0)."""

    def __init__(self, variant: str, found: FoundWeights, options: EngineOptions) -> None:
        self._variant, self._found, self._options = variant, found, options
        self._network: Any = None

    @property
    def identity(self) -> str:
        return f"e2fgvi-{self._variant}/1 {self._found.sha256} {self._options.precision}"

    def make(
        self,
        read: Callable[[int], tuple[Rgb, Mask]],
        read_mask: Callable[[int], Mask],  # noqa: ARG002 - its reads follow from the numbers alone
        frame_count: int,
    ) -> Filler:
        from tam_edit.models import e2fgvi

        if self._network is None:
            self._network = e2fgvi.load(
                self._found.path,
                variant=self._variant,
                device=device_of(self._options),
                precision=self._options.precision,
            )

        return e2fgvi.Filler(self._network, read, frame_count, e2fgvi.FillSettings())


@dataclass(frozen=True)
class Engines:
    """The engines of one run; `names` is what the screen and the report say, `warnings` what is odd about weights."""

    segmenter: Any
    tracker: Any
    inpainter: Any
    names: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def resolve(settings: Settings, options: EngineOptions) -> Engines:
    """Settle the three engines. "auto" takes the best whose weights are installed.

    Raises UsageError for unknown names, WeightsMissing with the command that fetches them, EngineError where
    --commercial forbids the weights' licence.
    """
    warnings: list[str] = []
    names = {
        "segmenter": _settle("segmenter", settings.segmenter, SEGMENTERS, options),
        "tracker": _settle("tracker", settings.tracker, TRACKERS, options),
        "inpainter": _settle("inpainter", settings.inpainter, INPAINTERS, options),
    }
    return Engines(
        _segmenter(names["segmenter"], options, warnings),
        _tracker(names["tracker"], options, warnings),
        _inpainter(names["inpainter"], options, warnings),
        names,
        tuple(warnings),
    )


def device_of(options: EngineOptions) -> str:
    """The device to run on; raises EngineError for one that is not there."""
    import torch

    if options.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineError(f"--device {options.device}: no such device here: use --device cpu")
    return options.device


def _settle(role: str, name: str, known: Iterable[str], options: EngineOptions) -> str:
    if name == "auto":
        from tam_edit.models.weights import find_for_engine

        best = {"segmenter": "sam", "tracker": "xmem", "inpainter": "e2fgvi-hq"}[role]
        allowed = not (options.commercial and best == "e2fgvi-hq")
        return best if allowed and find_for_engine(best, options.weights) else "classic"
    if name not in known:
        raise UsageError(f"no {role} {name!r}: there are auto, {', '.join(known)}")
    return name


def _segmenter(name: str, options: EngineOptions, warnings: list[str]) -> Any:
    if name == "classic":
        return ClassicSegmenter()
    from tam_edit.models.weights import require_for_engine

    return SamSegmenting(_noted(require_for_engine("sam", options.weights), warnings), options)


def _tracker(name: str, options: EngineOptions, warnings: list[str]) -> Any:
    if name == "classic":
        return ClassicTracking()
    from tam_edit.models.weights import require_for_engine

    return XMemTracking(_noted(require_for_engine("xmem", options.weights), warnings), options)


def _inpainter(name: str, options: EngineOptions, warnings: list[str]) -> Any:
    if name == "classic":
        return ClassicFilling()
    from tam_edit.models.catalogue import WEIGHTS
    from tam_edit.models.weights import require

    if options.commercial and not WEIGHTS[name].allows_commercial:
        raise EngineError(
            f"--commercial: the weights of {name} are under {WEIGHTS[name].licence}, which forbids it: "
            "use --inpainter classic"
        )
    warnings.append(f"the weights of {name} are under {WEIGHTS[name].licence}: no commercial use of the result")
    found = _noted(require(name, options.weights), warnings)
    return E2fgviFilling("hq" if name == "e2fgvi-hq" else "base", found, options)


def _noted(found: FoundWeights, warnings: list[str]) -> FoundWeights:
    if found.warning:
        warnings.append(found.warning)
    return found

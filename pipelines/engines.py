"""Which engines a run uses: names resolved before work starts, said aloud, and wrapped to what the stages ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, UsageError
from tam_edit.masks import Mask
from tam_edit.pipelines.context import Rgb
from tam_edit.pipelines.engine_options import EngineOptions, device_of
from tam_edit.pipelines.engines_segmenting import ClassicSegmenter, SamSegmenting
from tam_edit.pipelines.inpaint import Filler, Room
from tam_edit.pipelines.passes import Tracker
from tam_edit.settings import Settings

if TYPE_CHECKING:
    from tam_edit.models.weights import FoundWeights

__all__ = [
    "INPAINTERS",
    "SEGMENTERS",
    "TRACKERS",
    "ClassicFilling",
    "ClassicSegmenter",
    "ClassicTracking",
    "E2fgviFilling",
    "EngineOptions",
    "Engines",
    "SamSegmenting",
    "XMemTracking",
    "resolve",
]

SEGMENTERS = ("classic", "sam")
TRACKERS = ("classic", "xmem")
INPAINTERS = ("classic", "e2fgvi", "e2fgvi-hq")

CLASSIC_TRACKER_VERSION = 4
CLASSIC_FILLER_VERSION = 3


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
        self,
        read: Callable[[int], tuple[Rgb, Mask]],
        read_mask: Callable[[int], Mask],
        frame_count: int,
        room: Room,
    ) -> Filler:
        from tam_edit.models.classic.fill import Filler, FillSettings

        kept_bytes, folder = room.memory_bytes, room.folder
        return Filler(read, frame_count, FillSettings(), read_mask=read_mask, kept_bytes=kept_bytes, folder=folder)


class XMemTracking:
    """Masks through the clip by XMem; its memory of looks outlives cuts."""

    chunk = 32
    crosses_cuts = True

    def __init__(self, found: FoundWeights, options: EngineOptions) -> None:
        self._found, self._options = found, options
        self._network: Any = None

    @property
    def identity(self) -> str:
        return f"xmem/2 {self._found.sha256} {self._options.precision}{' fast' if self._options.fast else ''}"

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
        room: Room,  # noqa: ARG002 - it keeps a window's pictures and no more
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

"""The project's engines under the names of the command line, made ready to be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tam_edit.errors import EngineError
from tam_edit.masks import Mask
from tam_edit.models.weights import FoundWeights, require_for_engine
from tam_edit.pipelines.engine_options import EngineOptions, device_of
from tam_edit.pipelines.evaluate_clock import own_version
from tam_edit.pipelines.evaluate_inpainting import FillingEngine, telea, untouched
from tam_edit.pipelines.evaluate_tracking import Picture, Segment, SegmentingEngine, TrackingEngine

if TYPE_CHECKING:
    from tam_edit.models.sam import Embedding, SamSegmenter

__all__ = ["filling_engine", "segmenting_engine", "telea", "tracking_engine", "untouched"]

TRACKERS = ("classic", "xmem")
SEGMENTERS = ("classic", "sam")
FILLERS = ("classic", "e2fgvi", "e2fgvi-hq", "telea")


def tracking_engine(name: str, weights: Mapping[str, Path] | None = None, device: str = "cpu") -> TrackingEngine:
    """The tracker of that name.

    Raises EngineError (unknown), UsageError (no such device), and what tam_edit.models.weights raises.
    """
    options = EngineOptions(device=device)
    if name == "classic":
        from tam_edit.models import classic

        return TrackingEngine(name, own_version(), classic.Tracker)
    if name == "xmem":
        from tam_edit.models import xmem

        weights_found = require_for_engine(name, weights)
        network = xmem.load(weights_found.path, device=device_of(options))
        return TrackingEngine(name, _version(weights_found), lambda: xmem.Tracker(network))
    raise EngineError(f"no tracker called {name!r}: there are {', '.join(TRACKERS)}")


def segmenting_engine(name: str, weights: Mapping[str, Path] | None = None, device: str = "cpu") -> SegmentingEngine:
    """The segmenter of that name.

    Raises EngineError (unknown), UsageError (no such device), and what tam_edit.models.weights raises.
    """
    options = EngineOptions(device=device)
    if name == "classic":
        from tam_edit.models import classic

        return SegmentingEngine(name, own_version(), classic.segment)
    if name == "sam":
        from tam_edit.models import sam

        weights_found = require_for_engine(name, weights)
        segmenter = sam.SamSegmenter(sam.load(weights_found.path, device=device_of(options)))
        return SegmentingEngine(name, _version(weights_found), _with_one_look(segmenter))
    raise EngineError(f"no segmenter called {name!r}: there are {', '.join(SEGMENTERS)}")


def _with_one_look(segmenter: SamSegmenter) -> Segment:
    """SAM's best answer; a picture is embedded once, however many clicks it gets."""
    seen: list[tuple[Picture, Embedding]] = []

    def segment(
        picture: Picture,
        points: Sequence[tuple[float, float]],
        labels: Sequence[int],
        box: tuple[float, float, float, float] | None,
        next_frame: Picture | None = None,  # noqa: ARG001 - SAM looks at one picture
    ) -> Mask:
        if not seen or seen[0][0] is not picture:
            seen[:] = [(picture, segmenter.embed(picture))]
        return segmenter.candidates(seen[0][1], points, labels, box=box)[0].mask

    return segment


def filling_engine(name: str, weights: Mapping[str, Path] | None = None, device: str = "cpu") -> FillingEngine:
    """The filler of that name.

    Raises EngineError (unknown), UsageError (no such device), and what tam_edit.models.weights raises.
    """
    options = EngineOptions(device=device)
    if name == "telea":
        return telea()
    if name == "classic":
        from tam_edit.models.classic.fill import fill

        return FillingEngine(name, own_version(), lambda frames, masks: fill(frames, masks))
    if name in ("e2fgvi", "e2fgvi-hq"):
        from tam_edit.models.e2fgvi.filling import fill as fill_learned
        from tam_edit.models.e2fgvi.loading import load

        weights_found = require_for_engine(name, weights)
        network = load(weights_found.path, variant="hq" if name == "e2fgvi-hq" else "base", device=device_of(options))
        return FillingEngine(name, _version(weights_found), lambda frames, masks: fill_learned(network, frames, masks))
    raise EngineError(f"no inpainter called {name!r}: there are {', '.join(FILLERS)}")


def _version(weights: FoundWeights) -> str:
    return f"{own_version()}, {weights.path.name} {weights.sha256[:8]}"

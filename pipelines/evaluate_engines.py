"""The project's engines under the names of the command line, made ready to be measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, WeightsMissing
from tam_edit.masks import Mask
from tam_edit.pipelines.evaluate_clock import own_version
from tam_edit.pipelines.evaluate_inpainting import FillingEngine, telea, untouched
from tam_edit.pipelines.evaluate_tracking import SegmentingEngine, TrackingEngine

Picture = NDArray[np.uint8]

__all__ = ["filling_engine", "segmenting_engine", "telea", "tracking_engine", "untouched"]

TRACKERS = ("classic", "xmem")
SEGMENTERS = ("classic",)
FILLERS = ("classic", "e2fgvi", "e2fgvi-hq", "telea")
_FILES = {"xmem": "XMem.pth", "e2fgvi": "E2FGVI-CVPR22.pth", "e2fgvi-hq": "E2FGVI-HQ-CVPR22.pth"}


def tracking_engine(name: str, weights: Mapping[str, Path] | None = None, device: str = "cpu") -> TrackingEngine:
    """The tracker of that name; raises EngineError for an unknown one, WeightsMissing for one without weights."""
    if name == "classic":
        from tam_edit.models import classic

        return TrackingEngine(name, own_version(), classic.Tracker)
    if name == "xmem":
        path = _weights(name, weights)
        from tam_edit.models import xmem

        found: Any = xmem  # typed when the engine is
        network = found.load(path, device=device)
        return TrackingEngine(name, f"{own_version()}, {path.name}", lambda: found.Tracker(network))
    raise EngineError(f"no tracker called {name!r}: there are {', '.join(TRACKERS)}")


def segmenting_engine(name: str) -> SegmentingEngine:
    """The segmenter of that name; raises EngineError for an unknown one."""
    if name == "classic":
        from tam_edit.models import classic

        return SegmentingEngine(name, own_version(), classic.segment)
    raise EngineError(f"no segmenter called {name!r}: there are {', '.join(SEGMENTERS)}")


def filling_engine(name: str, weights: Mapping[str, Path] | None = None, device: str = "cpu") -> FillingEngine:
    """The filler of that name; raises EngineError for an unknown one, WeightsMissing for one without weights."""
    if name == "telea":
        return telea()
    if name == "classic":
        from tam_edit.models.classic.fill import fill

        return FillingEngine(name, own_version(), lambda frames, masks: fill(frames, masks))
    if name in ("e2fgvi", "e2fgvi-hq"):
        path = _weights(name, weights)
        from tam_edit.models import e2fgvi

        found: Any = e2fgvi  # typed when the engine is
        network = found.load(path, variant="hq" if name == "e2fgvi-hq" else "base", device=device)
        return FillingEngine(name, f"{own_version()}, {path.name}", _learned(found.fill, network))
    raise EngineError(f"no inpainter called {name!r}: there are {', '.join(FILLERS)}")


def _learned(
    fill: Callable[..., Iterator[Picture]], network: Any
) -> Callable[[Sequence[Picture], Sequence[Mask]], Iterator[Picture]]:
    return lambda frames, masks: fill(network, frames, masks)


def _weights(name: str, weights: Mapping[str, Path] | None) -> Path:
    if weights and name in weights:
        return weights[name]
    folder = os.environ.get("TAM_EDIT_WEIGHTS")
    path = Path(folder) / _FILES[name] if folder else None
    if path is None or not path.is_file():
        raise WeightsMissing(
            f"no weights for {name}: run `tam-edit models fetch {name}`, or name the file, --weights {name}=FILE"
        )
    return path

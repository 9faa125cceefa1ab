"""SAM, the Segment Anything Model (Kirillov et al., arXiv 2304.02643): masks from clicks, boxes and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tam_edit.models.sam.prompts import box_around, mask_logits, points_from_scribble, points_inside

if TYPE_CHECKING:
    from tam_edit.models.sam.network import SamNetwork, load
    from tam_edit.models.sam.segmenter import Embedding, SamCandidate, SamSegmenter

__all__ = [
    "Embedding",
    "SamCandidate",
    "SamNetwork",
    "SamSegmenter",
    "box_around",
    "load",
    "mask_logits",
    "points_from_scribble",
    "points_inside",
]
_HOMES = {"SamNetwork": "network", "load": "network"}


def __getattr__(name: str) -> object:
    """Bring in what needs torch only when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'segmenter')}"), name)

"""The classic engine: masks from prompts, masks through a clip and filled holes, without weights or torch."""

from __future__ import annotations

from tam_edit.models.classic.fill import Filler, FillSettings, fill
from tam_edit.models.classic.fill_shadow import shadowed
from tam_edit.models.classic.propagation import propagate
from tam_edit.models.classic.segmentation import Candidate, candidates, look, polish, segment
from tam_edit.models.classic.tracker import Tracker, TrackerSettings
from tam_edit.models.classic.trust import TrustParts

__all__ = [
    "Candidate",
    "FillSettings",
    "Filler",
    "Tracker",
    "TrackerSettings",
    "TrustParts",
    "candidates",
    "fill",
    "look",
    "polish",
    "propagate",
    "segment",
    "shadowed",
]

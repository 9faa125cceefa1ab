"""Matting: from hard masks to soft edges, steady in time, and the object's own colours beneath them. Arrays only."""

from __future__ import annotations

from tam_edit.models.matting.contour import coverage, mended, shifted, signed_distance, softened
from tam_edit.models.matting.foreground import foreground
from tam_edit.models.matting.guided import refined
from tam_edit.models.matting.shadow import Shadows
from tam_edit.models.matting.steady import Field, Motion, motions, steadied

__all__ = [
    "Field",
    "Motion",
    "Shadows",
    "coverage",
    "foreground",
    "mended",
    "motions",
    "refined",
    "shifted",
    "signed_distance",
    "softened",
    "steadied",
]

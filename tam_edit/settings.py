"""Settings of an edit: what shapes the result, the same for all of its effects."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tam_edit.errors import PromptError

REFINE = ("auto", "never", "always")


@dataclass(frozen=True)
class Settings:
    """What shapes the result. Sizes in pixels; None lets the size follow from the picture's.

    segmenter, tracker, inpainter: an engine's name or "auto". refine: whether the segmenter is asked about doubtful
    tracked masks: "auto" (where it pays), "never" or "always". dilate_px grows the masks before removal, feather_px is
    the width of the soft edge beyond that.
    """

    segmenter: str = "auto"
    tracker: str = "auto"
    inpainter: str = "auto"
    refine: str = "auto"
    dilate_px: int | None = None
    feather_px: float | None = None

    def __post_init__(self) -> None:
        if self.refine not in REFINE:
            raise PromptError(f"refine {self.refine!r}: {', '.join(REFINE)} are possible")
        if self.dilate_px is not None and not 0 <= self.dilate_px <= 500:
            raise PromptError(f"dilate {self.dilate_px}: 0 to 500 pixels are possible")
        if self.feather_px is not None and not (math.isfinite(self.feather_px) and 0 <= self.feather_px <= 500):
            raise PromptError(f"feather {self.feather_px}: 0 to 500 pixels are possible")

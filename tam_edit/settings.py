"""Settings of an edit: what shapes the result, the same for all of its effects."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tam_edit.errors import PromptError

REFINE = ("auto", "never", "always")
MATTES = ("auto", "contour", "hard")
SHADOWS = ("auto", "none")


@dataclass(frozen=True)
class Settings:
    """What shapes the result. Sizes in pixels; None lets the size follow from the picture's.

    segmenter, tracker, inpainter: an engine's name or "auto". refine: whether the segmenter is asked about doubtful
    tracked masks: "auto" (where it pays), "never" or "always". dilate_px and erode_px grow and shrink the masks,
    feather_px is the width of the soft edge. matte: where that edge comes from: "auto" (contour and picture),
    "contour", or "hard" (the mask's own pixels). smooth holds edges still in time, mend fills small holes and leaves
    out specks. shadow: whether removal takes attached shadows along: "auto" or "none".
    """

    segmenter: str = "auto"
    tracker: str = "auto"
    inpainter: str = "auto"
    refine: str = "auto"
    dilate_px: int | None = None
    erode_px: int | None = None
    feather_px: float | None = None
    matte: str = "auto"
    smooth: bool = True
    mend: bool = True
    shadow: str = "none"

    def __post_init__(self) -> None:
        if self.refine not in REFINE:
            raise PromptError(f"refine {self.refine!r}: {', '.join(REFINE)} are possible")
        for name, value, known in (("matte", self.matte, MATTES), ("shadow", self.shadow, SHADOWS)):
            if value not in known:
                raise PromptError(f"{name} {value!r}: {', '.join(known)} are possible")
        for name, pixels in (("dilate", self.dilate_px), ("erode", self.erode_px)):
            if pixels is not None and not 0 <= pixels <= 500:
                raise PromptError(f"{name} {pixels}: 0 to 500 pixels are possible")
        if self.feather_px is not None and not (math.isfinite(self.feather_px) and 0 <= self.feather_px <= 500):
            raise PromptError(f"feather {self.feather_px}: 0 to 500 pixels are possible")

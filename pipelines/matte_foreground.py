"""What is kept over a new background: the object's own colours under its soft edge, nothing of what was behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tam_edit.digest import digest_of
from tam_edit.masks import Matte
from tam_edit.models.matting import foreground
from tam_edit.models.matting.foreground import WIDE_SHARE
from tam_edit.pipelines.context import Rgb
from tam_edit.pipelines.encode import Layer
from tam_edit.pipelines.matte import Mattes

VERSION = 1
"""Goes into the keys of whatever is made with these colours; to be bumped when they change."""


class Pictures(Protocol):
    """Where the colours come from: the clip, or the clip under earlier effects."""

    def rgb(self, frame: int) -> Rgb:
        """RGB uint8 [H, W, 3]."""
        ...


@dataclass(frozen=True)
class Cutouts:
    """What mattes keep of a clip, for formats with straight alpha.

    elsewhere: the alpha of frames that they say nothing of.
    """

    pictures: Pictures
    mattes: Mattes
    elsewhere: float = 0.0

    def rgb(self, frame: int) -> Rgb:
        """Colours, uint8 [H, W, 3]: the object's own under its soft edge."""
        rgb = self.pictures.rgb(frame)
        return own_colours(rgb, self.mattes.series.load(frame)) if self.mattes.has_hole(frame) else rgb

    def alpha(self, frame: int) -> NDArray[np.float32]:
        """Alpha, float32 [H, W] in 0..1."""
        if self.mattes.has_hole(frame):
            return self.mattes.series.load(frame).full()
        height, width = self.pictures.rgb(frame).shape[:2]
        silent = frame not in self.mattes.series.digests
        return np.full((height, width), self.elsewhere if silent else 0.0, np.float32)


def foreground_reads(frames: Iterable[int]) -> dict[str, dict[int, str | None]]:
    """What keys say about the estimate; the picture and the matte that it is made of stand there anyway."""
    digest = digest_of(("foreground colours", VERSION))
    return {"foreground": dict.fromkeys(frames, digest)}


def own_colours(rgb: Rgb, kept: Matte) -> Rgb:
    """A picture [H, W, 3] with the object's own colours under and just beyond its soft edge; the rest as it is."""
    x0, y0, x1, y1 = kept.box
    if x0 == x1:
        return rgb
    short_side = min(kept.size_wh)
    margin = math.ceil(WIDE_SHARE * short_side)
    x0, y0 = max(x0 - margin, 0), max(y0 - margin, 0)
    x1, y1 = min(x1 + margin, kept.size_wh[0]), min(y1 + margin, kept.size_wh[1])
    result = rgb.copy()
    result[y0:y1, x0:x1] = foreground(rgb[y0:y1, x0:x1], kept.full()[y0:y1, x0:x1], short_side)
    return result


def composed(rgb: Rgb, kept: Matte, behind: Rgb) -> Layer:
    """The layer that puts a background behind what is kept: opaque wherever anything of the background shows."""
    alpha = kept.full()
    whole = alpha >= 1
    mixed = behind.copy()
    x0, y0, x1, y1 = kept.box
    part = slice(y0, y1), slice(x0, x1)
    edge = np.zeros(alpha.shape, bool)
    edge[part] = (alpha[part] > 0) & ~whole[part]
    if edge.any():
        share = alpha[edge][:, None]
        front = own_colours(rgb, kept)[edge].astype(np.float32)
        mixed[edge] = np.rint(share * front + (1 - share) * behind[edge]).astype(np.uint8)
    return Layer(mixed, (~whole).astype(np.float32), (0, 0))

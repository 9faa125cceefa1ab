"""Backgrounds for replacing: a colour, a picture, a video, the blurred plate, or another project's frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import ClipSource
from tam_edit.digest import digest_of
from tam_edit.errors import SourceUnreadable, UsageError
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.encode import Overlay

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
USUAL_BLUR_SHARE = 0.03
"""Sigma of the blurred background as a share of the short side."""

_COLOUR = re.compile(r"#([0-9a-fA-F]{6})")
_BLUR = re.compile(r"blur(?::(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Colour:
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Blur:
    """The clip itself, its objects removed, out of focus; sigma_px None: 3 % of the short side."""

    sigma_px: float | None


@dataclass(frozen=True)
class Transparent:
    pass


@dataclass(frozen=True)
class File:
    """A picture, a video, a folder of pictures, or an edit project."""

    path: Path


Choice = Colour | Blur | Transparent | File


def parse_background(text: str) -> Choice:
    """Read BG of the command line. Raises UsageError with what is possible."""
    if match := _COLOUR.fullmatch(text):
        value = int(match[1], 16)
        return Colour((value >> 16, value >> 8 & 255, value & 255))
    if match := _BLUR.fullmatch(text):
        sigma = float(match[1]) if match[1] else None
        if sigma is not None and not 0 < sigma <= 1000:
            raise UsageError(f"background {text!r}: a blur's sigma is above 0 and at most 1000 pixels")
        return Blur(sigma)
    if text == "transparent":
        return Transparent()
    path = Path(text)
    if not path.exists():
        raise UsageError(
            f"background {text!r}: no such file; give a picture, a video, an edit project, #RRGGBB, blur[:SIGMA] or "
            "transparent"
        )
    return File(path)


@dataclass(frozen=True)
class PlainBackground:
    """One picture or colour for all frames, RGB uint8 [H, W, 3]."""

    rgb: Rgb
    digest: str

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        return {"background": dict.fromkeys(frames, self.digest)}

    def load(self, frame: int) -> Rgb:  # noqa: ARG002 - the same for every frame
        return self.rgb


def colour_background(colour: Colour, size_wh: tuple[int, int]) -> PlainBackground:
    rgb = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    rgb[:] = colour.rgb
    return PlainBackground(rgb, digest_of(("colour", colour.rgb)))


def picture_background(path: Path, size_wh: tuple[int, int]) -> PlainBackground:
    """A picture that covers the frame: scaled until it does, then cut evenly. Raises SourceUnreadable."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            rgb = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise SourceUnreadable(f"the background {path} cannot be read as a picture ({error}): give another") from error
    covering = cover(rgb, size_wh)
    return PlainBackground(covering, digest_of(("picture", covering)))


def cover(rgb: NDArray[np.uint8], size_wh: tuple[int, int]) -> Rgb:
    """Scale so that the picture covers the size and cut the rest evenly; the shape of things is kept."""
    import cv2

    height, width = rgb.shape[:2]
    if (width, height) == size_wh:
        return np.ascontiguousarray(rgb)
    scale = max(size_wh[0] / width, size_wh[1] / height)
    inner_wh = (max(round(width * scale), size_wh[0]), max(round(height * scale), size_wh[1]))
    sampling = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(rgb, inner_wh, interpolation=sampling)
    x0, y0 = (inner_wh[0] - size_wh[0]) // 2, (inner_wh[1] - size_wh[1]) // 2
    return np.ascontiguousarray(scaled[y0 : y0 + size_wh[1], x0 : x0 + size_wh[0]], dtype=np.uint8)


@dataclass
class VideoBackground:
    """Another clip behind the objects: at each frame what is on screen at that time; it begins again at its end."""

    clip: ClipSource
    source: ClipSource
    _context: Context = field(repr=False)

    def frame_for(self, frame: int) -> int:
        """Which frame of the background goes with one of the clip, by exact time."""
        since: Fraction = self.source.time(frame) - self.source.time(0)
        return self.clip.frame_at(self.clip.time(0) + since % self.clip.duration)

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        return {"background": {frame: self._context.picture_digest(self.frame_for(frame)) for frame in frames}}

    def load(self, frame: int) -> Rgb:
        return cover(self._context.rgb(self.frame_for(frame)), self.source.size_wh)


@dataclass
class PlateBackground:
    """A clip's own frames under an overlay (its objects removed), optionally out of focus.

    sigma_px 0 keeps it sharp. Frame-aligned: frame i goes behind frame i.
    """

    context: Context
    overlay: Overlay
    sigma_px: float
    size_wh: tuple[int, int]

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        known = [frame for frame in frames if frame < self.context.source.frames]
        return {
            "plate": self.context.picture_reads(known),
            "plate's blur": dict.fromkeys(known, digest_of(self.sigma_px)),
            **{f"plate's {name}": digests for name, digests in self.overlay.reads(known).items()},
        }

    def load(self, frame: int) -> Rgb:
        import cv2

        rgb = self.context.rgb(frame).copy()
        layer = self.overlay.layer(frame)
        if layer is not None:
            x, y = layer.at_xy
            height, width = layer.alpha.shape
            under = rgb[y : y + height, x : x + width].astype(np.float32)
            mixed = under + layer.alpha[..., None] * (layer.rgb.astype(np.float32) - under)
            rgb[y : y + height, x : x + width] = np.rint(mixed).astype(np.uint8)
        if self.sigma_px > 0:
            rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), self.sigma_px), dtype=np.uint8)
        return cover(rgb, self.size_wh)


def blur_sigma_px(choice: Blur, size_wh: tuple[int, int]) -> float:
    return choice.sigma_px if choice.sigma_px is not None else USUAL_BLUR_SHARE * min(size_wh)

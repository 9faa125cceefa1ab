"""Backgrounds that are colours, pictures and plates, and what BG of the command line means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_edit.digest import digest_of
from tam_edit.effects import Look
from tam_edit.errors import SourceUnreadable, UsageError
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.encode import Overlay
from tam_edit.pipelines.placement import placed
from tam_edit.pipelines.stack import over

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
USUAL_BLUR_SHARE = 0.03
"""Sigma of the blurred background as a share of the short side."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_BLUR = re.compile(r"blur(?::(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Colour:
    """One colour, 0..255."""

    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Blur:
    """The clip itself, its objects removed, out of focus; sigma_px None: 3 % of the short side."""

    sigma_px: float | None


@dataclass(frozen=True)
class Transparent:
    """Nothing: what is kept is cut out, with alpha."""


@dataclass(frozen=True)
class File:
    """A picture, a video, a folder of pictures, or an edit project."""

    path: Path


Choice = Colour | Blur | Transparent | File


def parse_background(text: str) -> Choice:
    """Read BG of the command line. Raises UsageError with what is possible."""
    if _COLOUR.fullmatch(text):
        return Colour(rgb_of(text))
    if match := _BLUR.fullmatch(text):
        sigma = float(match[1]) if match[1] else None
        if sigma is not None and not 0 < sigma <= 1000:
            raise UsageError(f"background {text!r}: a blur's sigma is above 0 and at most 1000 pixels")
        return Blur(sigma)
    if text == "transparent":
        return Transparent()
    path = Path(text)
    if text.startswith("#"):
        raise UsageError(f"background {text!r}: a colour is written #RRGGBB, such as #336699")
    if not path.exists():
        raise UsageError(
            f"background {text!r}: no such file; give a picture, a video, an edit project, #RRGGBB, blur[:SIGMA] or "
            "transparent"
        )
    return File(path)


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of #RRGGBB."""
    value = int(colour[1:], 16)
    return value >> 16, value >> 8 & 255, value & 255


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()


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


def picture_background(path: Path, size_wh: tuple[int, int], look: Look) -> PlainBackground:
    """A picture laid on the frame. Raises SourceUnreadable."""
    frame = placed(read_picture(path), size_wh, look)
    return PlainBackground(frame, picture_digest(frame))


def picture_digest(rgb: Rgb) -> str:
    return digest_of(("picture", rgb))


def read_picture(path: Path) -> Rgb:
    """A picture's pixels, upright, uint8 [H, W, 3]. Raises SourceUnreadable."""
    return np.ascontiguousarray(read_rgba(path)[..., :3])


def read_rgba(path: Path) -> NDArray[np.uint8]:
    """A picture's pixels with their opacity, upright, uint8 [H, W, 4]. Raises SourceUnreadable."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGBA"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise SourceUnreadable(f"{path} cannot be read as a picture ({error}): give another") from error


@dataclass
class PlateBackground:
    """A clip's own frames under an overlay (its objects removed), optionally out of focus.

    sigma_px 0 keeps it sharp. Frame-aligned: frame i goes behind frame i.
    """

    context: Context
    overlay: Overlay
    sigma_px: float
    size_wh: tuple[int, int]
    look: Look = field(default_factory=Look)

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        known = [frame for frame in frames if frame < self.context.source.frames]
        return {
            "plate": self.context.picture_reads(known),
            "plate's look": dict.fromkeys(known, digest_of((self.sigma_px, placing_of(self.look)))),
            **{f"plate's {name}": digests for name, digests in self.overlay.reads(known).items()},
        }

    def load(self, frame: int) -> Rgb:
        import cv2

        rgb = over(self.context.rgb(frame), self.overlay.layer(frame))
        if self.sigma_px > 0:
            rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), self.sigma_px), dtype=np.uint8)
        same = (rgb.shape[1], rgb.shape[0]) == self.size_wh and self.look == Look()
        return rgb if same else placed(rgb, self.size_wh, self.look)


def placing_of(look: Look) -> tuple[object, ...]:
    """What of a look decides where a picture lies, for keys."""
    return (look.fit, look.scale, look.offset_px)


def blur_sigma_px(choice: Blur, size_wh: tuple[int, int]) -> float:
    return choice.sigma_px if choice.sigma_px is not None else USUAL_BLUR_SHARE * min(size_wh)

"""Label maps as indexed PNG with the DAVIS palette: the one picture format whose pixels are the labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tam_edit.errors import MaskError
from tam_edit.masks import LabelMap

_NAMES = "tam-edit objects"


@cache
def davis_palette() -> bytes:
    """256 colours as 768 bytes: bit k of a label's each third bit goes to bit 7 - k of red, green and blue.

    Source: the colour map of PASCAL VOC, which DAVIS took over for its first 22 entries and beyond.
    """
    palette = np.zeros((256, 3), np.uint8)
    for label in range(256):
        rest, weight = label, 128
        while rest:
            for channel in range(3):
                palette[label, channel] |= weight * (rest >> channel & 1)
            rest, weight = rest >> 3, weight >> 1
    return palette.tobytes()


def write_label_png(path: Path, label_map: LabelMap, names: Sequence[str] = ()) -> None:
    """Write uint8 [H, W] as an indexed PNG; viewers show the DAVIS colours, readers get the labels.

    names: of labels 1, 2, ..; they go into a text chunk, which other programs ignore.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    picture = Image.fromarray(label_map)
    picture.putpalette(davis_palette())
    notes = PngInfo()
    if names:
        notes.add_itxt(_NAMES, json.dumps(list(names), ensure_ascii=False))
    picture.save(path, format="PNG", pnginfo=notes)


def label_names(path: Path) -> dict[int, str]:
    """The names that `write_label_png` left in a PNG, by label; empty for anyone else's."""
    from PIL import Image

    with Image.open(path) as picture:
        text = getattr(picture, "text", {}).get(_NAMES)
    if text is None:
        return {}
    try:
        names = json.loads(text)
    except json.JSONDecodeError:
        return {}  # someone else's note of the same name
    return {label: str(name) for label, name in enumerate(names, start=1)} if isinstance(names, list) else {}


def read_label_png(path: Path) -> LabelMap:
    """Labels from a picture, uint8 [H, W]: indices of an indexed one, values of a grey one.

    A picture of 0 and 255 only is a plain mask, so 255 becomes label 1; so does all that is brighter than half in
    a picture with colours or in a JPEG, whatever its name says. Raises MaskError when it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            compressed_with_loss = picture.format in ("JPEG", "WEBP", "MPO")
            if picture.mode in ("P", "L") and not compressed_with_loss:
                labels = np.array(picture, dtype=np.uint8)
            elif picture.mode in ("1", "I;16", "I"):
                labels = (np.asarray(picture) > 0).astype(np.uint8)
            elif picture.mode == "RGBA":
                labels = (np.asarray(picture.getchannel("A")) > 127).astype(np.uint8)
            else:
                labels = (np.asarray(picture.convert("L")) > 127).astype(np.uint8)
    except FileNotFoundError as error:
        raise MaskError(f"no mask at {path}: check the folder") from error
    except (UnidentifiedImageError, OSError) as error:
        raise MaskError(f"{path} cannot be read as a picture ({error}): give a PNG of labels") from error
    return (labels == 255).astype(np.uint8) if _is_plain(labels) else labels


def _is_plain(labels: LabelMap) -> bool:
    return bool((labels == 255).any()) and not bool(((labels > 0) & (labels < 255)).any())

"""Picture sequences with alpha: PNG with straight colour, OpenEXR with premultiplied linear light."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import MaskError
from tam_edit.media.placing import check_destination, placed
from tam_edit.pipelines.export.ingested import Ingested, LabelBook, numbered
from tam_edit.pipelines.export.request import ExportResult, Request, check_folder


def write_png(request: Request) -> ExportResult:
    """00000.png and on: 8 bits, straight alpha; colour goes on 8 px beyond the soft edge and is black farther out."""
    from PIL import Image

    check_destination(request.destination, request.clip.path)
    check_folder(request.destination, r"\d{5,}\.png")
    with placed(request.destination) as folder:
        folder.mkdir()
        for index, (rgb, alpha) in enumerate(request.cutouts()):
            rgba = np.dstack([rgb, np.rint(alpha * np.float32(255)).astype(np.uint8)])
            Image.fromarray(rgba).save(folder / f"{index:05}.png", compress_level=3)
    return ExportResult((request.destination,))


def write_exr(request: Request) -> ExportResult:
    """00000.exr and on: half floats, linear light of BT.709 primaries, premultiplied: what compositors expect."""
    from tam_edit.media.alpha import exr_bytes

    check_destination(request.destination, request.clip.path)
    check_folder(request.destination, r"\d{5,}\.exr")
    with placed(request.destination) as folder:
        folder.mkdir()
        for index, (rgb, alpha) in enumerate(request.cutouts()):
            colour = linear_light()[rgb] * alpha[:, :, None]
            (folder / f"{index:05}.exr").write_bytes(exr_bytes(np.dstack([colour, alpha])))
    return ExportResult((request.destination,))


def read_png(path: Path, size_wh: tuple[int, int], frames: int) -> Ingested:
    """One object from the alpha of RGBA pictures: more than half covered is inside. Raises MaskError without alpha."""
    from PIL import Image, UnidentifiedImageError

    book = LabelBook(size_wh, frames)
    name = path.name or "object"
    for index, file in numbered(path, (".png",), frames).items():
        try:
            with Image.open(file) as picture:
                if "A" not in picture.getbands():
                    raise MaskError(f"{file} has no alpha: import plain masks with --format davis")
                alpha = np.asarray(picture.getchannel("A"))
        except (UnidentifiedImageError, OSError) as error:
            raise MaskError(f"{file} cannot be read as a picture ({error})") from error
        book.open(index, str(file))
        book.add(index, name, alpha > 127, str(file))
    return book.done()


@cache
def linear_light() -> NDArray[np.float32]:
    """The light of each 8-bit value, float32 [256] in 0..1. Source: IEC 61966-2-1 (sRGB)."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)

"""Video results: the matte in grey, colour with alpha as ProRes 4444 and as VP9, every frame at its own time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_edit.media.placing import check_destination, placed
from tam_edit.pipelines.export.request import ExportResult, Request, need_suffix

_ROUNDED = "{} counts time in milliseconds: the clip's times are rounded to them (.mov and .mp4 keep them exactly)"


def write_matte(request: Request) -> ExportResult:
    """Grey video: .mkv exact (FFV1), .mp4 and .mov near lossless (H.264, full range, plays everywhere)."""
    need_suffix(request.destination, ".mp4", ".mov", ".mkv")
    check_destination(request.destination, request.clip.path)
    with placed(request.destination) as file:
        write_matte_file(request, file)
    return ExportResult((request.destination,), _of_milliseconds(request, ".mkv"))


def write_matte_file(request: Request, file: Path) -> None:
    """The grey matte into a file that is placed by the caller."""
    from tam_edit.media.alpha import write_grey

    def mattes() -> Iterator[NDArray[np.uint8]]:
        for index in range(len(request)):
            yield np.rint(request.alpha(index) * np.float32(255)).astype(np.uint8)

    write_grey(file, request.clip, mattes())


def write_prores(request: Request) -> ExportResult:
    """ProRes 4444 in .mov: 10 bits of 4:4:4 colour, straight alpha."""
    from tam_edit.media.alpha import write_prores4444

    need_suffix(request.destination, ".mov")
    check_destination(request.destination, request.clip.path)
    with placed(request.destination) as file:
        write_prores4444(file, request.clip, request.cutouts())
    return ExportResult((request.destination,))


def write_webm(request: Request) -> ExportResult:
    """VP9 in .webm: 8 bits 4:2:0, straight alpha; browsers play it, decoders other than libvpx drop the alpha."""
    from tam_edit.media.alpha import write_webm_alpha

    need_suffix(request.destination, ".webm")
    check_destination(request.destination, request.clip.path)
    with placed(request.destination) as file:
        write_webm_alpha(file, request.clip, request.cutouts())
    return ExportResult((request.destination,), _of_milliseconds(request, ".webm"))


def _of_milliseconds(request: Request, suffix: str) -> tuple[str, ...]:
    """A warning where the container's clock cannot say the clip's times."""
    if request.destination.suffix.lower() != suffix:
        return ()
    clip = request.clip
    if all((stamp * clip.time_base / Fraction(1, 1000)).denominator == 1 for stamp in clip.pts):
        return ()
    return (_ROUNDED.format(suffix),)

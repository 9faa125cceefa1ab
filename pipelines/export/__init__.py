"""Masks and mattes in the formats of other tools, out and back in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tam_edit.clip import ClipSource
from tam_edit.errors import UsageError
from tam_edit.masks import MaskTube
from tam_edit.pipelines.export.ingested import Ingested
from tam_edit.pipelines.export.request import Alpha, ExportResult, Request, Rgb

__all__ = ["EXPORTS", "IMPORTS", "ExportResult", "Ingested", "export", "ingest"]

# Format -> module and function; modules are read when they are used.
EXPORTS = {
    "davis": ("davis", "write"),
    "coco": ("coco", "write"),
    "yolo": ("yolo", "write"),
    "cvat": ("cvat", "write"),
    "mot": ("mot", "write"),
    "matte": ("videos", "write_matte"),
    "prores4444": ("videos", "write_prores"),
    "webm-alpha": ("videos", "write_webm"),
    "png": ("pictures", "write_png"),
    "exr": ("pictures", "write_exr"),
    "otio": ("timeline", "write"),
}
IMPORTS = {
    "davis": ("davis", "read"),
    "coco": ("coco", "read"),
    "yolo": ("yolo", "read"),
    "cvat": ("cvat", "read"),
    "mot": ("mot", "read"),
    "png": ("pictures", "read_png"),
}


def export(
    format: str,
    tube: MaskTube,
    pictures: Callable[[int], Rgb],
    clip: ClipSource,
    destination: Path,
    matte: Callable[[int], Alpha] | None = None,
    objects: Sequence[str] | None = None,
) -> ExportResult:
    """Write masks (or what they cut out) in a format of EXPORTS; whole under its name or not at all.

    tube: masks of the whole clip; pictures: frame number -> uint8 RGB [H, W, 3], upright, asked for in order
    and only by formats with colour; matte: frame number -> soft alpha float32 [H, W] in 0..1 of the chosen
    objects together (hard masks without it); objects: names that take part, in order (all by default);
    they get labels 1, 2, ..
    Raises UsageError, ContainerUnknown, MaskError, OutputIsSource and OutputUnwritable.
    """
    write = _lookup(EXPORTS, format, "export")
    chosen = tube.objects if objects is None else tuple(dict.fromkeys(objects))
    result: ExportResult = write(Request(tube, pictures, clip, Path(destination), matte, chosen))
    return result


def ingest(format: str, path: Path, size_wh: tuple[int, int], frames: int) -> Ingested:
    """Read masks in a format of IMPORTS as keyframes of a clip of that size and length.

    Raises UsageError for an unknown format, SourceMissing, MaskError and MaskSizeMismatch for what does not fit.
    """
    read = _lookup(IMPORTS, format, "import")
    found: Ingested = read(Path(path), size_wh, frames)
    return found


def _lookup(known: dict[str, tuple[str, str]], format: str, what: str) -> Callable[..., Any]:
    if format not in known:
        raise UsageError(f"cannot {what} the format {format!r}: there are {', '.join(known)}")
    module, function = known[format]
    found: Callable[..., Any] = getattr(import_module(f"tam_edit.pipelines.export.{module}"), function)
    return found

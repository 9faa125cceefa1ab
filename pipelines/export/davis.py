"""DAVIS: a folder of indexed PNG, 00000.png and on, one a frame; pixels are labels."""

from __future__ import annotations

from pathlib import Path

from tam_edit.media.placing import check_destination, placed
from tam_edit.pipelines.export.ingested import Ingested, LabelBook, numbered
from tam_edit.pipelines.export.palette import label_names, read_label_png, write_label_png
from tam_edit.pipelines.export.request import ExportResult, Request, check_folder


def write(request: Request) -> ExportResult:
    """One PNG a frame with the DAVIS palette; names lie in a text chunk, so that they survive the way back."""
    check_destination(request.destination, request.clip.path)
    check_folder(request.destination, r"\d{5,}\.png")
    with placed(request.destination) as folder:
        folder.mkdir()
        for index in range(len(request)):
            write_label_png(folder / f"{index:05}.png", request.label_map(index), request.objects)
    return ExportResult((request.destination,))


def read(path: Path, size_wh: tuple[int, int], frames: int) -> Ingested:
    """Label maps from a folder of PNG masks; the numbers in the file names are the frames."""
    files = numbered(path, (".png",), frames)
    book = LabelBook(size_wh, frames)
    for index, file in files.items():
        label_map = read_label_png(file)
        names = label_names(file)
        for label in sorted(names):
            book.name(names[label])
        book.add_map(index, label_map, names, file)
    return book.done()

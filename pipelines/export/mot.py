"""MOTChallenge: boxes only, gt/gt.txt with frames, ids and corners counted from 1."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tam_edit.errors import MaskError, MaskSizeMismatch, SourceMissing
from tam_edit.masks import box_of
from tam_edit.media.placing import check_destination, placed
from tam_edit.pipelines.export.ingested import Ingested, LabelBook
from tam_edit.pipelines.export.request import ExportResult, Request, check_folder


def write(request: Request) -> ExportResult:
    """A sequence folder: gt/gt.txt, gt/labels.txt (names by class, as CVAT reads them) and seqinfo.ini.

    Rows: frame, id, left, top, width, height, 1, class, 1. Everything counts from 1, as MOTChallenge has it.
    """
    check_destination(request.destination, request.clip.path)
    check_folder(request.destination, r"gt|seqinfo\.ini")
    rows = []
    for index in range(len(request)):
        label_map = request.label_map(index)
        for label in range(1, len(request.objects) + 1):
            box = box_of(label_map == label)
            if box is not None:
                x0, y0, x1, y1 = box
                rows.append(f"{index + 1},{label},{x0 + 1},{y0 + 1},{x1 - x0},{y1 - y0},1,{label},1.0\n")
    rate = request.clip.frame_rate
    width, height = request.clip.size_wh
    with placed(request.destination) as folder:
        (folder / "gt").mkdir(parents=True)
        (folder / "gt" / "gt.txt").write_text("".join(rows), encoding="ascii")
        names = "".join(f"{name}\n" for name in request.objects)
        (folder / "gt" / "labels.txt").write_text(names, encoding="utf-8")
        (folder / "seqinfo.ini").write_text(
            f"[Sequence]\nname={request.destination.name}\nimDir=img1\n"
            f"frameRate={rate if rate.denominator == 1 else f'{float(rate):.6g}'}\n"
            f"seqLength={len(request)}\nimWidth={width}\nimHeight={height}\nimExt=.png\n",
            encoding="utf-8",
        )
    return ExportResult((request.destination,), ("MOT holds boxes: the masks' shapes are not in it",))


def read(path: Path, size_wh: tuple[int, int], frames: int) -> Ingested:
    """Boxes as rectangular masks, from a sequence folder or its gt.txt; rows with a confidence of 0 are left out."""
    file = path if path.is_file() else path / "gt" / "gt.txt"
    if not file.is_file():
        raise SourceMissing(f"no {file}: give a MOT sequence folder or its gt.txt")
    labels = file.with_name("labels.txt")
    names = labels.read_text(encoding="utf-8").splitlines() if labels.is_file() else []
    info = file.parent.parent / "seqinfo.ini"
    book = LabelBook(size_wh, frames)
    if info.is_file() and _length(info, size_wh) == frames:
        for index in range(frames):  # a whole sequence: where an object has no box, it is absent
            book.open(index, str(file))
    rows = [row for row in _rows(file) if len(row) < 7 or row[6] != 0]
    titles = {int(row[1]): _title(row, names) for row in rows}
    for track in sorted(titles):
        book.name(titles[track])
    for frame, track_id, left, top, width, height, *_ in rows:
        x0, y0 = round(left - 1), round(top - 1)
        mask = np.zeros((size_wh[1], size_wh[0]), bool)
        mask[max(0, y0) : max(0, y0 + round(height)), max(0, x0) : max(0, x0 + round(width))] = True
        book.add(int(frame) - 1, titles[int(track_id)], mask, str(file))
    book.warnings.append("MOT holds boxes: the masks are rectangles, to be corrected or used as box prompts")
    return book.done()


def _rows(file: Path) -> Iterator[list[float]]:
    """The numbers of every line; raises MaskError for fewer than six."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = [float(value) for value in line.split(",")]
        except ValueError as error:
            raise MaskError(f"{file}, line {number}: {error}: frame,id,left,top,width,height,.. is meant") from error
        if len(row) < 6:
            raise MaskError(f"{file}, line {number}: {len(row)} numbers: frame,id,left,top,width,height,.. is meant")
        yield row


def _title(row: list[float], names: list[str]) -> str:
    """An object's name: that of its class where every object is a class of its own, as we write it."""
    track, kind = int(row[1]), int(row[7]) if len(row) > 7 else 0
    return names[kind - 1] if kind == track and 0 < kind <= len(names) else f"object {track}"


def _length(info: Path, size_wh: tuple[int, int]) -> int | None:
    """How many frames a seqinfo.ini tells of, None without it; raises MaskSizeMismatch for another picture size."""
    parser = configparser.ConfigParser()
    try:
        parser.read_string(info.read_text(encoding="utf-8"))
        found = parser.getint("Sequence", "imWidth"), parser.getint("Sequence", "imHeight")
        length = parser.getint("Sequence", "seqLength")
    except (configparser.Error, ValueError):
        return None  # the file is optional, and so is what is in it
    if found != size_wh:
        raise MaskSizeMismatch(f"{info} is of {found} pixels, the clip of {size_wh}: is it of another clip?")
    return length

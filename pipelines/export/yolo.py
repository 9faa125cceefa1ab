"""YOLO segmentation: data.yaml with the names, and labels/00000.txt and on, one polygon a line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tam_edit.errors import MaskError, SourceMissing
from tam_edit.masks import Mask
from tam_edit.media.placing import check_destination, placed
from tam_edit.pipelines.export.ingested import Ingested, LabelBook, numbered
from tam_edit.pipelines.export.outlines import pixel_rings
from tam_edit.pipelines.export.request import ExportResult, Request, check_folder


def write(request: Request) -> ExportResult:
    """A folder with data.yaml and a text file a frame: class, then x y of polygon points as shares of the size.

    Points are pixel centres: cv2.fillPoly at the clip's size gives the masks back exactly. An object in several parts
    has several lines; a frame without objects has an empty file, which YOLO takes as background.
    """
    check_destination(request.destination, request.clip.path)
    check_folder(request.destination, r"labels|data\.yaml")
    width, height = request.clip.size_wh
    with placed(request.destination) as folder:
        (folder / "labels").mkdir(parents=True)
        for index in range(len(request)):
            lines = []
            label_map = request.label_map(index)
            for label in range(1, len(request.objects) + 1):
                for ring in pixel_rings(label_map == label):
                    points = (ring * 3)[: max(3, len(ring))]  # readers want three points, also of a single pixel
                    shares = (f"{(x + 0.5) / width:.7f} {(y + 0.5) / height:.7f}" for x, y in points)
                    lines.append(f"{label - 1} {' '.join(shares)}\n")
            (folder / "labels" / f"{index:05}.txt").write_text("".join(lines), encoding="ascii")
        names = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(request.objects))
        text = f"path: .\ntrain: images\nval: images\nnames:\n{names}"
        (folder / "data.yaml").write_text(text, encoding="utf-8")
    return ExportResult((request.destination,))


def read(path: Path, size_wh: tuple[int, int], frames: int) -> Ingested:
    """Masks from a folder with labels/*.txt (or from that folder itself); a line with four numbers is a box.

    Raises MaskError for lines that are neither boxes nor polygons.
    """
    folder = path / "labels" if (path / "labels").is_dir() else path
    names = _names(next((p for p in (path / "data.yaml", path.parent / "data.yaml") if p.is_file()), None))
    book = LabelBook(size_wh, frames)
    for label in sorted(names):
        book.name(names[label])
    for index, file in numbered(folder, (".txt",), frames).items():
        book.open(index, str(file))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                kind, mask = _mask(line, size_wh, f"{file}, line {number}")
                book.add(index, names.get(kind, f"class {kind}"), mask, str(file))
    return book.done()


def _mask(line: str, size_wh: tuple[int, int], where: str) -> tuple[int, Mask]:
    import cv2

    fields = line.split()
    try:
        kind, values = int(fields[0]), np.array([float(field) for field in fields[1:]])
    except ValueError as error:
        raise MaskError(f"{where}: {error}: write the class and numbers from 0 to 1") from error
    if len(values) < 4 or len(values) % 2 or not np.isfinite(values).all():
        raise MaskError(f"{where}: {len(values)} numbers are neither a box nor a polygon")
    if len(values) == 4:  # centre and size
        x, y, w, h = values
        values = np.array([x - w / 2, y - h / 2, x + w / 2, y - h / 2, x + w / 2, y + h / 2, x - w / 2, y + h / 2])
        last = (1 / size_wh[0], 1 / size_wh[1])  # a box ends before its right and lower edge
        values -= np.array([0, 0, last[0], 0, last[0], last[1], 0, last[1]])
        points = np.rint(values.reshape(-1, 2) * size_wh)
    else:
        points = np.floor(values.reshape(-1, 2) * size_wh)
    canvas = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
    return kind, canvas > 0


def _names(path: Path | None) -> dict[int, str]:
    """The names in a data.yaml: a mapping from numbers, a list of items, or a list in brackets."""
    if path is None:
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SourceMissing(f"{path} cannot be read ({error}): check its permissions") from error
    start = next((i for i, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        return {}
    rest = lines[start].partition(":")[2].strip()
    if rest.startswith("["):
        items = rest.strip("[]").split(",")
        return {i: _unquoted(item) for i, item in enumerate(items)}
    names: dict[int, str] = {}
    for line in lines[start + 1 :]:
        text = line.strip()
        if text and not line.startswith((" ", "-", "\t")):
            break
        if text.startswith("- "):
            names[len(names)] = _unquoted(text[2:])
        elif ":" in text and text.partition(":")[0].strip().isdigit():
            key, _, value = text.partition(":")
            names[int(key)] = _unquoted(value)
    return names


def _unquoted(text: str) -> str:
    text = text.strip()
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            return text.strip('"')
    return text.strip("'")

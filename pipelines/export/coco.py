"""COCO: one JSON for the clip, exact run lengths, polygons beside, and a track id for every object."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tam_edit.errors import MaskError, MaskSizeMismatch, SourceMissing
from tam_edit.masks import Mask, box_of, counts_from_text, mask_from_counts, rle_counts, rle_text
from tam_edit.media.placing import check_destination, placed
from tam_edit.pipelines.export.ingested import Ingested, LabelBook
from tam_edit.pipelines.export.outlines import edge_rings
from tam_edit.pipelines.export.request import ExportResult, Request, need_suffix


def write(request: Request) -> ExportResult:
    """NAME.json with compressed run lengths, and NAME_polygons.json with the same masks as polygons.

    Both give the masks back exactly in pycocotools. Frames are images, 1-based ids as COCO has them, with the frame's
    number and time in seconds beside.
    """
    need_suffix(request.destination, ".json")
    second = request.destination.with_name(f"{request.destination.stem}_polygons.json")
    for path in (request.destination, second):
        check_destination(path, request.clip.path)
    exact: list[dict[str, Any]] = []
    outlined: list[dict[str, Any]] = []
    for index in range(len(request)):
        label_map = request.label_map(index)
        for track in range(1, len(request.objects) + 1):
            mask: Mask = label_map == track
            box = box_of(mask)
            if box is None:
                continue
            x0, y0, x1, y1 = box
            common = {
                "id": len(exact) + 1,
                "image_id": index + 1,
                "category_id": track,
                "track_id": track,
                "area": int(mask.sum()),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": 0,
            }
            runs = {"size": [mask.shape[0], mask.shape[1]], "counts": rle_text(rle_counts(mask))}
            exact.append(common | {"segmentation": runs})
            crop = edge_rings(mask[y0:y1, x0:x1])
            rings = [[value for x, y in ring for value in (x + x0, y + y0)] for ring in crop]
            outlined.append(common | {"segmentation": rings})
    head = _head(request)
    with placed(request.destination) as first_file, placed(second) as second_file:
        for file, annotations in ((first_file, exact), (second_file, outlined)):
            file.write_text(json.dumps(head | {"annotations": annotations}) + "\n", encoding="utf-8")
    return ExportResult((request.destination, second))


def _head(request: Request) -> dict[str, Any]:
    clip = request.clip
    width, height = clip.size_wh
    name = Path(clip.path).name
    images = [
        {
            "id": index + 1,
            "file_name": f"{index:05}.png",
            "width": width,
            "height": height,
            "frame_id": index,
            "video_id": 1,
            "seconds": float(clip.time(index)),
        }
        for index in range(clip.frames)
    ]
    return {
        "info": {"description": f"Masks of {name}", "version": "1.0"},
        "videos": [{"id": 1, "name": name, "width": width, "height": height, "length": clip.frames}],
        "images": images,
        "categories": [{"id": i, "name": name} for i, name in enumerate(request.objects, start=1)],
    }


def read(path: Path, size_wh: tuple[int, int], frames: int) -> Ingested:
    """Masks from a COCO JSON, run lengths or polygons, its own or other tools'.

    Objects are told apart by track id (or instance id) where there is one, else by category.
    """
    if not path.is_file():
        raise SourceMissing(f"no file {path}: give the COCO JSON")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        images = {image["id"]: image for image in found["images"]}
        categories = {category["id"]: str(category["name"]) for category in found["categories"]}
        annotations = list(found["annotations"])
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MaskError(f"{path} is no COCO annotation file (it is no JSON): name the file with the masks") from error
    except (KeyError, TypeError) as error:
        raise MaskError(f"{path} is no COCO annotation file ({error!r}): export it again") from error
    book = LabelBook(size_wh, frames)
    for image in images.values():
        size = image.get("width", size_wh[0]), image.get("height", size_wh[1])
        if size != size_wh:
            raise MaskSizeMismatch(f"{path} is of {size} pixels, the clip of {size_wh}: is it of another clip?")
    index_of = _frames_of(images, path)
    for index in index_of.values():
        book.open(index, str(path))
    names = _names(annotations, categories)
    for name in sorted(set(names), key=lambda name: _place(annotations[names.index(name)])):
        book.name(name)
    for annotation, name in zip(annotations, names, strict=True):
        try:
            index, segmentation = index_of[annotation["image_id"]], annotation["segmentation"]
        except KeyError as error:
            raise MaskError(f"{path}: an annotation without {error}: export it again") from error
        if segmentation:
            book.add(index, name, _mask(segmentation, size_wh, path), str(path))
    return book.done()


def _frames_of(images: Mapping[Any, Mapping[str, Any]], path: Path) -> dict[Any, int]:
    """Image id -> frame: as written, else the number in the file name, else the order of the ids."""
    found = {}
    for order, key in enumerate(sorted(images)):
        image = images[key]
        digits = re.findall(r"\d+", Path(str(image.get("file_name", ""))).stem)
        found[key] = int(image.get("frame_id", digits[-1] if digits else order))
    if len(set(found.values())) != len(found):
        raise MaskError(f"{path}: several images are one frame: give a file of one video")
    return found


def _names(annotations: list[dict[str, Any]], categories: Mapping[Any, str]) -> list[str]:
    keys = [(one.get("category_id"), one.get("track_id", one.get("instance_id"))) for one in annotations]
    tracks = Counter(category for category, _ in set(keys))
    names = []
    for category, track in keys:
        name = categories.get(category, f"category {category}")
        names.append(name if tracks[category] == 1 else f"{name} {track}")
    return names


def _place(annotation: Mapping[str, Any]) -> tuple[int, int]:
    """Where an object stands in the order of labels."""
    return int(annotation.get("category_id", 0)), int(annotation.get("track_id", annotation.get("instance_id", 0)))


def _mask(segmentation: Any, size_wh: tuple[int, int], path: Path) -> Mask:
    if isinstance(segmentation, dict):
        height, width = segmentation["size"]
        counts = segmentation["counts"]
        return mask_from_counts(counts_from_text(counts) if isinstance(counts, str) else counts, (width, height))
    if not isinstance(segmentation, list):
        raise MaskError(f"{path}: a segmentation is neither run lengths nor polygons: export it again")
    mask = np.zeros((size_wh[1], size_wh[0]), bool)
    for ring in segmentation:
        mask |= fill_edges(ring, size_wh)
    return mask


def fill_edges(ring: list[float], size_wh: tuple[int, int]) -> Mask:
    """Pixels whose centre lies in a polygon [x0, y0, x1, y1, ..] by the even-odd rule, bool [H, W]."""
    width, height = size_wh
    x0, y0 = np.asarray(ring, np.float64).reshape(-1, 2).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # Every edge crosses the middles of some rows, from `first` on: one entry for each crossing.
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    beyond = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    edge = np.repeat(np.arange(len(x0)), beyond - first)
    starts = np.cumsum(beyond - first) - (beyond - first)
    rows = first[edge] + np.arange(len(edge)) - starts[edge]
    crossing = x0[edge] + (rows + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    changes = np.bincount(rows * (width + 1) + columns, minlength=height * (width + 1)).reshape(height, width + 1)
    inside: Mask = np.cumsum(changes[:, :width], axis=1) % 2 == 1
    return inside

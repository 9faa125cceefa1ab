"""CVAT for video 1.1: one XML with every mask as exact run lengths, ready to be uploaded to a task of the clip."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tam_edit.errors import MaskError, SourceMissing
from tam_edit.masks import Mask, box_of
from tam_edit.media.placing import check_destination, placed
from tam_edit.pipelines.export.coco import fill_edges
from tam_edit.pipelines.export.ingested import Ingested, LabelBook
from tam_edit.pipelines.export.request import ExportResult, Request, need_suffix

_COMPLETE = "every_frame_is_annotated"


def write(request: Request) -> ExportResult:
    """The XML, with one track for every mask: so CVAT itself writes masks, which it cannot interpolate.

    A track with several masks would lose all but its first on upload. Which object a mask is of, its label says.
    """
    need_suffix(request.destination, ".xml")
    check_destination(request.destination, request.clip.path)
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    root.append(_meta(request))
    tracks = 0
    for index in range(len(request)):
        label_map = request.label_map(index)
        for label, name in enumerate(request.objects, start=1):
            mask: Mask = label_map == label
            box = box_of(mask)
            if box is None:
                continue
            attributes = {"id": str(tracks), "label": name, "source": "file", "group_id": str(label)}
            track = ElementTree.SubElement(root, "track", attributes)
            shape = _shape(mask, box)
            ElementTree.SubElement(track, "mask", {"frame": str(index), "outside": "0", **shape})
            if index + 1 < len(request):
                ElementTree.SubElement(track, "mask", {"frame": str(index + 1), "outside": "1", **shape})
            tracks += 1
    ElementTree.indent(root)
    with placed(request.destination) as file:
        ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    return ExportResult((request.destination,))


def _shape(mask: Mask, box: tuple[int, int, int, int]) -> dict[str, str]:
    """Run lengths along the rows of the box, background first."""
    x0, y0, x1, y1 = box
    flat = mask[y0:y1, x0:x1].reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(edges, prepend=0, append=flat.size).tolist()
    return {
        "keyframe": "1",
        "occluded": "0",
        "rle": ", ".join(str(count) for count in ([0, *counts] if flat[0] else counts)),
        "left": str(x0),
        "top": str(y0),
        "width": str(x1 - x0),
        "height": str(y1 - y0),
        "z_order": "0",
    }


def _meta(request: Request) -> ElementTree.Element:
    meta = ElementTree.Element("meta")
    # CVAT skips what it does not know: our own import learns that frames without a mask are frames without the object.
    ElementTree.SubElement(meta, _COMPLETE).text = str(len(request))
    task = ElementTree.SubElement(meta, "task")
    for key, value in (
        ("name", Path(request.clip.path).name),
        ("size", str(len(request))),
        ("mode", "interpolation"),
        ("overlap", "0"),
        ("start_frame", "0"),
        ("stop_frame", str(len(request) - 1)),
        ("frame_filter", ""),
    ):
        ElementTree.SubElement(task, key).text = value
    labels = ElementTree.SubElement(task, "labels")
    for name in request.objects:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "type").text = "mask"
        ElementTree.SubElement(label, "attributes")
    size = ElementTree.SubElement(task, "original_size")
    ElementTree.SubElement(size, "width").text = str(request.clip.size_wh[0])
    ElementTree.SubElement(size, "height").text = str(request.clip.size_wh[1])
    return meta


def read(path: Path, size_wh: tuple[int, int], frames: int) -> Ingested:
    """Masks, polygons and boxes of a CVAT XML, for video (tracks, their keyframes only) or for images.

    Objects are told apart by label; by label and track where several tracks of one label share a frame.
    """
    if not path.is_file():
        raise SourceMissing(f"no file {path}: give the XML that CVAT exported")
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise MaskError(f"{path} is no XML ({error}): export it from CVAT again") from error
    if root.tag != "annotations":
        raise MaskError(f"{path} is no CVAT annotation file: it begins with <{root.tag}>")
    shapes = _shapes(root)
    book = LabelBook(size_wh, frames)
    for label in root.iterfind("./meta//labels/label/name"):
        if label.text in {name for _, name, _, _ in shapes}:
            book.name(str(label.text))
    if root.findtext(f"./meta/{_COMPLETE}") == str(frames):
        for index in range(frames):
            book.open(index, str(path))
    busy: dict[tuple[int, str], set[str]] = {}
    for index, name, track, _ in shapes:
        busy.setdefault((index, name), set()).add(track)
    crowded = {name for (_, name), tracks in busy.items() if len(tracks) > 1}
    for index, name, track, element in shapes:
        own = f"{name} {track}" if name in crowded else name
        try:
            mask = _mask(element, size_wh)
        except (KeyError, ValueError) as error:
            raise MaskError(f"{path}: a <{element.tag}> of frame {index} cannot be read ({error!r})") from error
        book.add(index, own, mask, str(path))
    if crowded:
        book.warnings.append(f"several tracks are called {', '.join(sorted(crowded))}: their numbers tell them apart")
    return book.done()


def _shapes(root: ElementTree.Element) -> list[tuple[int, str, str, ElementTree.Element]]:
    """Frame, label, track number, element: of every shape that shows something."""
    found = []
    for track in root.iterfind("track"):
        found += [
            (int(shape.get("frame", "0")), track.get("label", "object"), track.get("id", "0"), shape)
            for shape in track
            if shape.tag in ("mask", "polygon", "box") and shape.get("outside") != "1" and shape.get("keyframe") != "0"
        ]
    for image in root.iterfind("image"):
        found += [
            (int(image.get("id", "0")), shape.get("label", "object"), shape.get("group_id", "0"), shape)
            for shape in sorted(image, key=lambda shape: int(shape.get("z_order", "0")))
            if shape.tag in ("mask", "polygon", "box")
        ]
    return found


def _mask(element: ElementTree.Element, size_wh: tuple[int, int]) -> Mask:
    mask = np.zeros((size_wh[1], size_wh[0]), bool)
    if element.tag == "mask":
        left, top = int(element.attrib["left"]), int(element.attrib["top"])
        width, height = int(element.attrib["width"]), int(element.attrib["height"])
        counts = np.array([int(count) for count in element.attrib["rle"].split(",")])
        values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        if left < 0 or top < 0 or left + width > size_wh[0] or top + height > size_wh[1]:
            raise MaskError(f"a mask reaches {left + width}, {top + height}, beyond {size_wh}: of another clip?")
        mask[top : top + height, left : left + width] = values.reshape(height, width)
        return mask
    if element.tag == "box":
        x0, y0, x1, y1 = (round(float(element.attrib[key])) for key in ("xtl", "ytl", "xbr", "ybr"))
        mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
        return mask
    points = [float(value) for pair in element.attrib["points"].split(";") for value in pair.split(",")]
    return fill_edges(points, size_wh)

"""Mask formats read back by the programs they are meant for, pixel by pixel."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from PIL import Image

from tam_edit.errors import ContainerUnknown, MaskError, MaskSizeMismatch, OutputIsSource, OutputUnwritable, UsageError
from tam_edit.masks import MaskTube
from tam_edit.pipelines.export import EXPORTS
from tam_edit.pipelines.export.outlines import edge_rings, pixel_rings
from tests.export.scenes import FRAMES, NAMES, SIZE, TUBE, clip, label_map, write

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


@settings(max_examples=150, deadline=None)
@given(masks)
def test_polygons_along_edges_give_any_mask_back_in_pycocotools(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    rings = edge_rings(mask)
    assert bool(rings) == mask.any()
    assert len(rings) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
    if rings:
        runs = coco.frPyObjects([[float(v) for point in ring for v in point] for ring in rings], *mask.shape)
        assert np.array_equal(coco.decode(coco.merge(runs)), mask)


@settings(max_examples=150, deadline=None)
@given(masks)
def test_polygons_through_pixels_give_any_mask_back_in_opencv(mask: np.ndarray) -> None:
    canvas = np.zeros(mask.shape, np.uint8)
    for ring in pixel_rings(mask):
        cv2.fillPoly(canvas, [np.array(ring, np.int32)], 1)
    assert np.array_equal(canvas, mask)


def test_davis_folders_are_read_by_pil_and_scored_perfect_by_vos_benchmark(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    result = write("davis", tmp_path / "root" / "clip")
    assert result.paths == (tmp_path / "root" / "clip",)
    files = sorted(result.paths[0].iterdir())
    assert [path.name for path in files] == [f"{i:05}.png" for i in range(FRAMES)]
    for index, path in enumerate(files):
        with Image.open(path) as read:
            assert read.mode == "P" and read.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # type: ignore[index]
            assert np.array_equal(np.array(read), label_map(index))
    module = pytest.importorskip("vos_benchmark.benchmark")
    root = [str(tmp_path / "root")]
    j_and_f, *_ = module.benchmark(root, root, num_processes=1, verbose=False, skip_first_and_last=False)
    assert j_and_f == [100.0]


@pytest.mark.parametrize("name", ["masks.json", "masks_polygons.json"])
def test_coco_files_are_read_by_pycocotools(tmp_path: Path, name: str) -> None:
    COCO = pytest.importorskip("pycocotools.coco").COCO
    result = write("coco", tmp_path / "masks.json")
    assert [path.name for path in result.paths] == ["masks.json", "masks_polygons.json"]
    coco = COCO(str(tmp_path / name))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(NAMES)
    assert len(coco.getImgIds()) == FRAMES, "frames without objects too"
    for image in coco.loadImgs(coco.getImgIds()):
        found = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            mask = coco.annToMask(annotation) > 0
            found[mask] = annotation["track_id"]
            assert annotation["area"] == mask.sum()
            x, y, width, height = annotation["bbox"]
            assert mask[y : y + height, x : x + width].sum() == mask.sum()
        assert np.array_equal(found, label_map(image["frame_id"]))
    seconds = [image["seconds"] for image in coco.loadImgs(coco.getImgIds())]
    assert seconds[3] == pytest.approx(4600 / 30000, abs=1e-12)


def test_yolo_folders_are_filled_by_opencv(tmp_path: Path) -> None:
    (folder,) = write("yolo", tmp_path / "yolo").paths
    assert sorted(path.name for path in folder.iterdir()) == ["data.yaml", "labels"]
    for index in range(FRAMES):
        found = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        for line in (folder / "labels" / f"{index:05}.txt").read_text().splitlines():
            kind, *values = line.split()
            shares = np.array(values, np.float64).reshape(-1, 2)
            assert len(shares) >= 3 and (shares > 0).all() and (shares < 1).all()
            cv2.fillPoly(found, [(shares * SIZE).astype(np.int32)], int(kind) + 1)
        assert np.array_equal(found, label_map(index))


def test_cvat_files_hold_one_mask_a_track_as_cvat_itself_writes_them(tmp_path: Path) -> None:
    (file,) = write("cvat", tmp_path / "masks.xml").paths
    root = ElementTree.parse(file).getroot()
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/size") == str(FRAMES)
    assert [name.text for name in root.iterfind("meta/task/labels/label/name")] == list(NAMES)
    found = np.zeros((FRAMES, SIZE[1], SIZE[0]), np.uint8)
    for track in root.iterfind("track"):
        shown, *hidden = track.findall("mask")
        assert shown.get("outside") == "0" and [mask.get("outside") for mask in hidden] in ([], ["1"])
        counts = [int(count) for count in shown.attrib["rle"].split(",")]
        left, top, width, height = (int(shown.attrib[key]) for key in ("left", "top", "width", "height"))
        pixels = [value for i, count in enumerate(counts) for value in [i % 2] * count]
        crop = np.array(pixels).reshape(height, width) > 0
        index = int(shown.attrib["frame"])
        found[index, top : top + height, left : left + width][crop] = NAMES.index(track.attrib["label"]) + 1
        assert all(int(mask.attrib["frame"]) == index + 1 for mask in hidden)
    assert all(np.array_equal(found[index], label_map(index)) for index in range(FRAMES))


def test_mot_folders_hold_the_boxes_counted_from_one(tmp_path: Path) -> None:
    result = write("mot", tmp_path / "mot")
    assert "boxes" in result.warnings[0]
    rows = np.loadtxt(tmp_path / "mot" / "gt" / "gt.txt", delimiter=",")
    for index in range(FRAMES):
        for label in (1, 2):
            box = TUBE.box(NAMES[label - 1], index)
            found = rows[(rows[:, 0] == index + 1) & (rows[:, 1] == label)]
            assert len(found) == (box is not None)
            if box is not None:
                x, y, w, h = found[0, 2:6]
                assert (x - 1, y - 1, x - 1 + w, y - 1 + h) == box
    info = (tmp_path / "mot" / "seqinfo.ini").read_text()
    assert "seqLength=7" in info and "frameRate=29.97" in info and "imWidth=97" in info
    assert (tmp_path / "mot" / "gt" / "labels.txt").read_text(encoding="utf-8").splitlines() == list(NAMES)


def test_some_objects_in_another_order_get_labels_anew(tmp_path: Path) -> None:
    (folder,) = write("davis", tmp_path / "one", objects=[NAMES[1]]).paths
    assert np.array_equal(np.array(Image.open(folder / "00000.png")), label_map(0) == 2)
    (file, _) = write("coco", tmp_path / "two.json", objects=[NAMES[1], NAMES[0]]).paths
    assert [c["name"] for c in json.loads(file.read_text())["categories"]] == [NAMES[1], NAMES[0]]


@pytest.mark.parametrize("format", ["davis", "coco", "yolo", "cvat", "mot"])
def test_the_same_masks_give_the_same_bytes_and_replace_an_earlier_export(tmp_path: Path, format: str) -> None:
    name = {"coco": "out.json", "cvat": "out.xml"}.get(format, "out")

    def content() -> dict[str, bytes]:
        return {str(p.relative_to(tmp_path)): p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}

    write(format, tmp_path / name)
    first = content()
    write(format, tmp_path / name)
    assert content() == first and len(first) > 0
    assert not list(tmp_path.rglob(".*")), "no temporary names stay"


@pytest.mark.parametrize("format", sorted(EXPORTS))
def test_what_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, format: str) -> None:
    suffix = {
        "coco": ".json",
        "cvat": ".xml",
        "matte": ".mkv",
        "prores4444": ".mov",
        "webm-alpha": ".webm",
        "otio": ".otio",
    }
    place = tmp_path / f"out{suffix.get(format, '')}"
    if suffix.get(format):
        place.write_text("earlier")

    def breaking(index: int) -> np.ndarray:
        if index == 4:
            raise MaskError("frame 4 is lost")
        return label_map(index)

    with pytest.raises(MaskError, match="frame 4 is lost"):
        write(format, place, tube=MaskTube(NAMES, FRAMES, SIZE, breaking))
    assert [path.name for path in tmp_path.iterdir()] == ([place.name] if suffix.get(format) else [])
    assert not place.is_file() or place.read_text() == "earlier"


def test_what_cannot_be_meant_is_refused_before_work_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'gif': there are davis, coco, .* otio"):
        write("gif", tmp_path / "out")
    with pytest.raises(UsageError, match="no object 'cat'"):
        write("davis", tmp_path / "out", objects=["cat"])
    with pytest.raises(MaskError, match="no object to export"):
        write("davis", tmp_path / "out", objects=[])
    with pytest.raises(MaskError, match="7 frames for a clip of 3"):
        write("davis", tmp_path / "out", clip=clip((0, 1, 2)))
    with pytest.raises(MaskSizeMismatch):
        write("davis", tmp_path / "out", clip=clip(size_wh=(61, 97)))
    for format in ("coco", "cvat", "matte", "prores4444", "webm-alpha", "otio"):
        with pytest.raises(ContainerUnknown, match=r"must end in \."):
            write(format, tmp_path / "out.xyz")
    with pytest.raises(OutputIsSource):
        write("davis", Path(clip().path))
    with pytest.raises(OutputUnwritable, match="no such folder"):
        write("davis", tmp_path / "none" / "out")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.png").write_text("precious")
    for format in ("davis", "yolo", "mot", "png", "exr"):
        with pytest.raises(OutputUnwritable, match=r"holiday\.png"):
            write(format, tmp_path / "photos")
    assert (tmp_path / "photos" / "holiday.png").read_text() == "precious"

"""Imports: round trips that are exact where the format is, and other tools' ways of writing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tam_edit.errors import MaskError, MaskSizeMismatch, SourceMissing, UsageError
from tam_edit.pipelines.export import IMPORTS, Ingested, ingest
from tests.export.scenes import FRAMES, NAMES, SIZE, TUBE, label_map, matte, write

ENDING = {"coco": ".json", "cvat": ".xml"}


def back(format: str, place: Path) -> Ingested:
    return ingest(format, place, SIZE, FRAMES)


@pytest.mark.parametrize("format", ["davis", "coco", "yolo", "cvat"])
def test_exact_formats_come_back_exactly(tmp_path: Path, format: str) -> None:
    place = tmp_path / f"out{ENDING.get(format, '')}"
    write(format, place)
    found = back(format, place)
    assert found.names == NAMES
    assert list(found.keyframes) == list(range(FRAMES))
    for index, read in found.keyframes.items():
        assert read.dtype == np.uint8
        assert np.array_equal(read, label_map(index)), index


def test_a_frame_without_any_object_is_a_frame_without_it(tmp_path: Path) -> None:
    for format in ("davis", "coco", "yolo", "cvat", "mot"):
        place = tmp_path / f"{format}{ENDING.get(format, '')}"
        write(format, place, objects=[NAMES[1]])
        found = back(format, place).keyframes
        assert list(found) == list(range(FRAMES)) and not found[3].any(), format
    (tmp_path / "mot" / "seqinfo.ini").unlink()
    assert sorted(back("mot", tmp_path / "mot").keyframes) == [0, 1, 2, 5, 6], "a plain list says nothing of the rest"


def test_polygons_of_coco_come_back_exactly_too(tmp_path: Path) -> None:
    _, polygons = write("coco", tmp_path / "out.json").paths
    found = back("coco", polygons)
    assert all(np.array_equal(found.keyframes[index], label_map(index)) for index in range(FRAMES))


def test_boxes_come_back_as_rectangles(tmp_path: Path) -> None:
    write("mot", tmp_path / "out", objects=[NAMES[1]])
    found = back("mot", tmp_path / "out")
    assert found.names == (NAMES[1],) and "rectangles" in found.warnings[0]
    assert list(found.keyframes) == list(range(FRAMES)), "an object without a box is absent"
    assert [bool(read.any()) for read in found.keyframes.values()] == [True] * 3 + [False] * 2 + [True] * 2
    for index, read in found.keyframes.items():
        x0, y0, x1, y1 = TUBE.box(NAMES[1], index) or (0, 0, 0, 0)
        expected = np.zeros_like(read)
        expected[y0:y1, x0:x1] = 1
        assert np.array_equal(read, expected)


def test_the_alpha_of_pictures_comes_back_as_one_object(tmp_path: Path) -> None:
    write("png", tmp_path / "ball cut out", matte=matte)
    found = back("png", tmp_path / "ball cut out")
    assert found.names == ("ball cut out",)
    for index, read in found.keyframes.items():
        assert np.array_equal(read > 0, np.rint(matte(index) * 255) > 127)


def test_plain_masks_need_neither_every_frame_nor_a_palette(tmp_path: Path) -> None:
    for index in (2, 5):
        Image.fromarray(((label_map(index) == 1) * 255).astype(np.uint8)).save(tmp_path / f"frame_{index}.png")
    found = back("davis", tmp_path)
    assert found.names == ("object 1",) and sorted(found.keyframes) == [2, 5]
    assert np.array_equal(found.keyframes[5] > 0, label_map(5) == 1)


def test_numbers_that_do_not_fit_mean_the_order_when_there_is_one_for_every_frame(tmp_path: Path) -> None:
    for index in range(FRAMES):
        Image.fromarray(label_map(index)).save(tmp_path / f"{100 + index}.png")
    assert np.array_equal(back("davis", tmp_path).keyframes[6], label_map(6))
    (tmp_path / "103.png").unlink()
    with pytest.raises(MaskError, match="6 masks up to"):
        back("davis", tmp_path)


def test_coco_of_other_tools_several_tracks_of_one_category(tmp_path: Path) -> None:
    square = [10, 10, 20, 10, 20, 20, 10, 20]
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 3, "instance_id": 1, "segmentation": [square]},
        {"id": 2, "image_id": 7, "category_id": 3, "instance_id": 2, "segmentation": [[v + 30 for v in square]]},
        {"id": 3, "image_id": 9, "category_id": 4, "segmentation": {"size": [61, 97], "counts": [0, 61, 5856]}},
    ]
    content = {
        "images": [{"id": 7, "file_name": "img_0000.jpg"}, {"id": 9, "file_name": "img_0004.jpg"}],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "person"}, {"id": 4, "name": "wall"}],
    }
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(content))
    found = back("coco", path)
    assert found.names == ("person 1", "person 2", "wall") and sorted(found.keyframes) == [0, 4]
    assert (found.keyframes[0] == 1).sum() == 100 and found.keyframes[0][45, 45] == 2
    assert (found.keyframes[4][:, 0] == 3).all() and (found.keyframes[4] == 3).sum() == 61


def test_cvat_polygons_and_boxes_of_tracks_and_images(tmp_path: Path) -> None:
    path = tmp_path / "theirs.xml"
    path.write_text(
        """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
        <track id="0" label="car"><box frame="1" keyframe="1" outside="0" xtl="10.00" ytl="5" xbr="30.2" ybr="9"/>
        <box frame="2" keyframe="0" outside="0" xtl="0" ytl="0" xbr="9" ybr="9"/>
        <box frame="3" keyframe="1" outside="1" xtl="0" ytl="0" xbr="9" ybr="9"/></track>
        <track id="1" label="man"><polygon frame="1" keyframe="1" outside="0" points="40,20;60,20;60,40;40,40"/></track>
        <track id="2" label="man"><polygon frame="1" keyframe="1" outside="0" points="70,20;80,20;80,40"/></track>
        </annotations>"""
    )
    found = back("cvat", path)
    assert found.names == ("car", "man 1", "man 2") and "several tracks" in found.warnings[0]
    assert list(found.keyframes) == [1], "what CVAT interpolated or hid is no keyframe"
    assert [(found.keyframes[1] == label).sum() for label in (1, 2)] == [80, 400]
    assert abs(int((found.keyframes[1] == 3).sum()) - 100) <= 10


def test_yolo_boxes_and_lists_of_names(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for text in ("names: [cat, 'dog']\n", "nc: 2\nnames:\n- cat\n- dog\n", "names:\n  0: cat\n  1: dog\npath: x\n"):
        (tmp_path / "data.yaml").write_text(text)
        (tmp_path / "labels" / "00003.txt").write_text("1 0.5 0.5 0.25 0.5\n")
        found = back("yolo", tmp_path)
        assert found.names == ("cat", "dog")
        assert abs(int((found.keyframes[3] == 2).sum()) - 97 * 61 / 8) < 60


@pytest.mark.parametrize("format", sorted(IMPORTS))
def test_what_is_not_there_or_not_meant_is_said(tmp_path: Path, format: str) -> None:
    with pytest.raises(SourceMissing):
        back(format, tmp_path / "absent")
    place = tmp_path / "wrong"
    if format in ENDING:
        place.write_text("{ no such thing")
    elif format == "mot":
        (place / "gt").mkdir(parents=True)
        (place / "gt" / "gt.txt").write_text("1,2,three\n")
    else:
        (place / "labels").mkdir(parents=True)
        (place / "labels" / "00000.txt").write_text("0 0.5 zero\n")
        (place / "00000.png").write_text("no picture")
    with pytest.raises(MaskError):
        back(format, place)


def test_masks_of_another_clip_are_refused(tmp_path: Path) -> None:
    write("davis", tmp_path / "davis")
    with pytest.raises(MaskSizeMismatch):
        ingest("davis", tmp_path / "davis", (SIZE[1], SIZE[0]), FRAMES)
    write("coco", tmp_path / "coco.json")
    with pytest.raises(MaskError, match="frame 3, the clip has frames 0 to 2"):
        ingest("coco", tmp_path / "coco.json", SIZE, 3)
    with pytest.raises(MaskSizeMismatch, match=r"\(97, 61\) pixels"):
        ingest("coco", tmp_path / "coco.json", (98, 61), FRAMES)
    write("mot", tmp_path / "mot")
    with pytest.raises(MaskSizeMismatch, match=r"seqinfo\.ini"):
        ingest("mot", tmp_path / "mot", (98, 61), FRAMES)
    with pytest.raises(UsageError, match="'exr': there are davis, coco, yolo, cvat, mot, png"):
        back("exr", tmp_path)

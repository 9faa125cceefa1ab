"""Masks from prompts: points obeyed, three extents, boxes kept, bad prompts refused; and real footage."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tam_edit.errors import EngineError, MaskEmpty, MaskSizeMismatch, PromptError
from tam_edit.models.classic import candidates, polish, segment
from tests.classic.clips import moving, overlap, texture
from tests.support import FOOTAGE, needs_footage


def test_one_click_finds_a_disc() -> None:
    frames, maps = moving(2)
    y, x = np.argwhere(maps[0] == 1).mean(axis=0)
    assert overlap(segment(frames[0], [(x, y)]), maps[0] == 1) > 0.85
    assert overlap(segment(frames[0], [(x, y)], next_frame=frames[1]), maps[0] == 1) > 0.85


def test_points_lie_on_their_side_of_every_candidate() -> None:
    frames, _ = moving(1, colours=((190, 60, 60), (60, 70, 200)))
    random = np.random.default_rng(3)
    for _ in range(4):
        points = [(float(x), float(y)) for x, y in random.uniform((0, 0), (160, 96), (5, 2))]
        labels = [1, 0, 1, 0, 0]
        for candidate in candidates(frames[0], points, labels):
            for (x, y), label in zip(points, labels, strict=True):
                assert candidate.mask[int(y), int(x)] == bool(label)


def test_three_candidates_of_different_extent_best_first() -> None:
    frames, _ = moving(1)
    found = candidates(frames[0], [(30, 48)])
    assert sorted(c.name for c in found) == ["group", "part", "whole"]
    sizes = {c.name: int(c.mask.sum()) for c in found}
    assert sizes["part"] <= sizes["whole"] <= sizes["group"]
    assert all(0 <= c.score <= 1 for c in found)
    assert found[0].score == max(c.score for c in found)
    assert np.array_equal(found[0].mask, segment(frames[0], [(30, 48)]))


def test_a_negative_point_takes_a_part_away() -> None:
    frame = texture(1, (160, 96), (70, 120, 80))
    frame[30:70, 30:70] = texture(2, (40, 40), (190, 60, 60))
    frame[30:70, 70:110] = texture(3, (40, 40), (190, 70, 70))
    both = segment(frame, [(50, 50), (90, 50)])
    one = segment(frame, [(50, 50)], [1])
    less = segment(frame, [(50, 50), (90, 50)], [1, 0])
    assert both[50, 50]
    assert both[50, 90]
    assert less[30:70, 75:110].mean() < both[30:70, 75:110].mean()
    assert less[50, 50]
    assert not less[50, 90]
    assert one[50, 50]


def test_a_box_holds_the_mask() -> None:
    frames, maps = moving(1)
    rows, columns = np.nonzero(maps[0])
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    mask = segment(frames[0], box=box)
    assert overlap(mask, maps[0] == 1) > 0.85
    outside = np.ones(mask.shape, bool)
    outside[box[1] : box[3], box[0] : box[2]] = False
    assert not mask[outside].any()


def test_the_same_prompts_give_the_same_mask() -> None:
    frames, _ = moving(1)
    assert np.array_equal(segment(frames[0], [(31.5, 47.2)]), segment(frames[0].copy(), [(31.5, 47.2)]))


@pytest.mark.parametrize("size_wh", [(40, 30), (33, 121), (500, 300)])
def test_any_size_of_picture(size_wh: tuple[int, int]) -> None:
    frame = texture(1, size_wh, (70, 120, 80))
    mask = segment(frame, [(size_wh[0] / 2, size_wh[1] / 2)])
    assert mask.shape == frame.shape[:2]
    assert mask.dtype == np.bool_


def test_polish_snaps_a_rough_mask_to_the_edge() -> None:
    frames, maps = moving(1, size_wh=(320, 192))
    truth = maps[0] == 1
    rough = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    polished = polish(frames[0], rough)
    assert np.array_equal(polish(frames[0], rough * np.uint8(255)), polished)
    assert overlap(polished, truth) > overlap(rough, truth)
    assert overlap(polished, truth) > 0.9


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ({}, "nothing says where"),
        ({"points": [(5, 5)], "labels": [0]}, "nothing says where"),
        ({"points": [(5, 5)], "labels": [1, 0]}, "1 points but 2 labels"),
        ({"points": [(5, 5)], "labels": [3]}, "1 marks the object"),
        ({"points": [(160, 5)]}, "outside the 160x96 picture"),
        ({"points": [(-1, 5)]}, "outside the 160x96 picture"),
        ({"box": (10, 10, 10, 50)}, "holds no pixel"),
        ({"box": (10, 10, 50)}, "x0, y0, x1, y1"),
        ({"box": (float("nan"), 10, 20, 50)}, "x0, y0, x1, y1"),
        ({"points": (5, 5)}, r"\(x, y\) for each"),
        ({"points": [(5, 5, 5)]}, r"\(x, y\) for each"),
        ({"points": [(5,), (5, 5)]}, r"\(x, y\) for each"),
        ({"points": [("a", 5)]}, r"\(x, y\) for each"),
        ({"points": None}, r"\(x, y\) for each"),
        ({"points": [(5, 5)], "labels": 1}, "1 or 0 for each point"),
        ({"points": [(5, 5), (9, 9)], "labels": [1, 0.5]}, "1 marks the object"),
    ],
)
def test_prompts_that_cannot_be_meant(prompts: dict[str, object], words: str) -> None:
    frames, _ = moving(1)
    with pytest.raises(PromptError, match=words):
        segment(frames[0], **prompts)  # type: ignore[arg-type]


def test_wrong_pictures_and_masks() -> None:
    frames, maps = moving(1)
    with pytest.raises(EngineError, match="uint8"):
        segment(frames[0][..., 0], [(5, 5)])
    with pytest.raises(EngineError, match="list"):
        segment(frames[0].tolist(), [(5, 5)])  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="no pixel"):
        segment(frames[0][:0], [(5, 5)])
    with pytest.raises(MaskSizeMismatch):
        polish(frames[0], np.ones((3, 3), bool))
    with pytest.raises(MaskEmpty):
        polish(frames[0], np.zeros(maps[0].shape, bool))


@needs_footage
def test_real_footage_clicks_and_boxes() -> None:
    root = FOOTAGE / "davis"
    clicked, boxed = [], []
    for name in ("blackswan", "camel", "car-roundabout", "cows", "dog", "goat"):
        frame = cv2.cvtColor(cv2.imread(str(root / f"JPEGImages/480p/{name}/00000.jpg")), cv2.COLOR_BGR2RGB)
        truth = cv2.imread(str(root / f"Annotations/480p/{name}/00000.png"), 0) > 0
        depth = cv2.distanceTransform(np.pad(truth.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        clicked.append(overlap(segment(frame, [(float(x), float(y))]), truth))
        rows, columns = np.nonzero(truth)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        boxed.append(overlap(segment(frame, box=box), truth))
    assert np.mean(clicked) > 0.55
    assert np.mean(boxed) > 0.6

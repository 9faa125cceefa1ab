"""Which frames windows see, and where crops lie: arithmetic, checked for shots of every length."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit.errors import UsageError
from tam_edit.models import e2fgvi
from tam_edit.models.e2fgvi.regions import find_regions
from tam_edit.models.e2fgvi.windows import End, weights, window, windows_of

SETTINGS = e2fgvi.FillSettings(chunk=8, overlap=3, reference_span=30)


def shot(count: int) -> End:
    return lambda limit: min(count, limit)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 11, 12, 16, 19, 20, 45])
@pytest.mark.parametrize("settings", [SETTINGS, e2fgvi.FillSettings(chunk=5, overlap=0), e2fgvi.FillSettings()])
def test_every_frame_is_filled_with_weights_that_add_up(count: int, settings: e2fgvi.FillSettings) -> None:
    end = shot(count)
    for index in range(count):
        number = index // settings.chunk
        parts = weights(index, number, end, settings)
        assert sum(share for _, share in parts) == pytest.approx(1)
        assert all(share > 0 for _, share in parts)
        known = dict(windows_of(number, end, settings))
        assert all(index in known[n].neighbours for n, _ in parts)


def test_a_window_is_the_authors_length_and_its_references_are_bounded() -> None:
    middle = window(5, shot(200), SETTINGS)
    assert middle is not None
    assert middle.neighbours == range(40, 51)
    assert middle.references == (10, 20, 30, 60, 70, 80)
    assert window(0, shot(200), SETTINGS) == window(0, shot(42), SETTINGS)  # what lies behind its reach is not asked


def test_a_short_rest_belongs_to_the_window_before() -> None:
    assert window(1, shot(11), SETTINGS) is None
    assert weights(10, 1, shot(11), SETTINGS) == ((0, 1.0),)
    assert window(1, shot(12), SETTINGS) is not None


def test_frames_of_two_windows_fade() -> None:
    shares = [dict(weights(index, 1, shot(100), SETTINGS)) for index in range(8, 12)]
    assert shares == [{0: 0.75, 1: 0.25}, {0: 0.5, 1: 0.5}, {0: 0.25, 1: 0.75}, {1: 1.0}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunk": 0},
        {"chunk": 7.5},
        {"overlap": 20},
        {"overlap": 2.5},
        {"reference_step": 0},
        {"context": float("nan")},
        {"max_pixels": 5},
    ],
)
def test_impossible_settings_are_said(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        e2fgvi.FillSettings(**wrong)  # type: ignore[arg-type]


def holes(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (720, 1280)) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def test_a_small_hole_in_a_large_picture_costs_a_small_crop() -> None:
    (region,) = find_regions([holes((300, 600, 360, 650))] * 5, 0, "hq", SETTINGS)
    crop = region.crop(0)
    assert crop.height % 60 == 0 and crop.width % 108 == 0
    assert crop.height * crop.width <= 432 * 240
    assert crop.top <= 300 - 40 and crop.top + crop.height >= 360 + 40
    assert crop.left <= 600 - 40 and crop.left + crop.width >= 650 + 40


def test_far_holes_are_regions_of_their_own_and_near_ones_are_not() -> None:
    far = find_regions([holes((10, 10, 60, 60), (600, 1100, 660, 1160))], 0, "hq", SETTINGS)
    assert len(far) == 2
    near = find_regions([holes((300, 300, 340, 340), (350, 350, 380, 390))], 0, "hq", SETTINGS)
    assert len(near) == 1


def test_regions_answer_for_every_masked_pixel_exactly_once() -> None:
    random = np.random.default_rng(3)
    for _ in range(30):
        boxes = []
        for _ in range(random.integers(1, 6)):
            top, left = int(random.integers(0, 700)), int(random.integers(0, 1250))
            boxes.append((top, left, top + int(random.integers(1, 200)), left + int(random.integers(1, 300))))
        masks = [holes(*boxes), holes(boxes[0]), holes()]
        regions = find_regions(masks, 7, "hq", SETTINGS)
        answers = np.zeros(masks[0].shape, int)
        for region in regions:
            hole = region.hole
            answers[hole.top : hole.bottom, hole.left : hole.right] += 1
            for index, mask in enumerate(masks):
                crop = region.crop(7 + index)
                inside = np.zeros_like(mask)
                inside[crop.slices] = True
                part = np.zeros_like(mask)
                part[hole.top : hole.bottom, hole.left : hole.right] = True
                assert not (mask & part & ~inside).any()
                assert inside.sum() == crop.height * crop.width  # never outside the picture
        assert (answers[masks[0]] == 1).all()


def test_a_crop_follows_a_hole_that_crosses_the_picture() -> None:
    masks = [holes((300, 40 + 100 * t, 360, 100 + 100 * t)) for t in range(11)]
    (region,) = find_regions(masks, 20, "hq", SETTINGS)
    lefts = [region.crop(20 + t).left for t in range(11)]
    assert region.crop(20).width < 800
    assert lefts == sorted(lefts) and lefts[-1] > lefts[0]
    assert max(abs(a - b) for a, b in pairwise(lefts)) <= 124
    for t in range(11):
        crop = region.crop(20 + t)
        assert crop.left <= 40 + 100 * t and 100 + 100 * t <= crop.left + crop.width
    assert region.crop(0) == region.crop(20) and region.crop(90) == region.crop(30)  # references


def test_the_base_variant_gets_its_shape_and_size() -> None:
    (region,) = find_regions([holes((200, 300, 560, 700))], 0, "base", SETTINGS)
    crop = region.crop(0)
    assert crop.scaled_hw == (240, 432)
    assert crop.width / crop.height == pytest.approx(432 / 240, rel=0.02)


def test_a_region_too_large_is_made_smaller() -> None:
    settings = e2fgvi.FillSettings(max_pixels=400_000)
    (region,) = find_regions([holes((0, 0, 720, 1280))], 0, "hq", settings)
    scaled = region.crop(0).scaled_hw
    assert region.crop(0).height == 720
    assert scaled[0] * scaled[1] <= 401_000
    assert scaled[1] / scaled[0] == pytest.approx(1280 / 720, rel=0.01)

"""Points from scribbles and masks, and masks as logits."""

from __future__ import annotations

import numpy as np
import pytest

from tam_edit.errors import MaskEmpty, MaskSizeMismatch, PromptError
from tam_edit.models import sam
from tam_edit.models.sam.prompts import fitted_size


def test_polyline_is_sampled_evenly_along_its_length() -> None:
    line = [(0, 0), (10, 0), (10, 0), (10, 30)]
    points = sam.points_from_scribble(line, 4)
    np.testing.assert_allclose(points, [(5, 0), (10, 5), (10, 15), (10, 25)])
    np.testing.assert_allclose(sam.points_from_scribble([(3, 4)], 5), [(3, 4)])
    np.testing.assert_allclose(sam.points_from_scribble([(3, 4), (3, 4)], 5), [(3, 4)])


def test_mask_points_are_deep_and_apart() -> None:
    mask = np.zeros((60, 100), bool)
    mask[10:51, 5:46] = True  # a large square, its middle at 25, 30
    mask[20:31, 80:91] = True  # a small one
    points = sam.points_inside(mask, 2)
    np.testing.assert_array_equal(points[0], (25, 30))
    assert 80 <= points[1, 0] <= 90 and 20 <= points[1, 1] <= 30
    many = sam.points_from_scribble(mask, 12)
    assert len(np.unique(many, axis=0)) == 12
    assert all(mask[int(y), int(x)] for x, y in many)
    np.testing.assert_array_equal(many, sam.points_inside(mask, 12))


def test_a_mask_at_the_border_counts_as_bounded_there() -> None:
    mask = np.zeros((21, 40), bool)
    mask[:, :21] = True
    np.testing.assert_array_equal(sam.points_inside(mask, 1), [(10, 10)])


def test_few_pixels_give_few_points() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = mask[0, 0] = True
    assert sorted(map(tuple, sam.points_inside(mask, 9))) == [(0, 0), (3, 2)]


@pytest.mark.parametrize("scribble", [[], [(1, 2, 3)], [(1, float("nan"))], np.zeros(4)])
def test_scribbles_that_are_none(scribble: object) -> None:
    with pytest.raises(PromptError):
        sam.points_from_scribble(scribble, 3)  # type: ignore[arg-type]


def test_empty_masks_and_no_points() -> None:
    with pytest.raises(MaskEmpty):
        sam.points_from_scribble(np.zeros((4, 4), bool), 2)
    with pytest.raises(MaskEmpty):
        sam.box_around(np.zeros((4, 4), bool))
    with pytest.raises(PromptError):
        sam.points_from_scribble([(1, 2)], 0)
    with pytest.raises(PromptError):
        sam.points_inside(np.ones((4, 4), bool), 0)


@pytest.mark.parametrize("size", [(480, 854), (100, 60), (1080, 1920), (1024, 1024)])
def test_logits_lie_where_the_frame_lies(size: tuple[int, int]) -> None:
    """Read back as SAM does (to the square, cut, to size), the logits give the mask up to its edge."""
    import cv2

    height, width = size
    mask = np.zeros(size, bool)
    mask[height // 4 : height // 2, width // 5 : width - width // 5] = True
    logits = sam.mask_logits(mask, size, 1024)
    assert logits.shape == (256, 256) and logits.dtype == np.float32
    fitted = fitted_size(height, width, 1024)
    square = cv2.resize(logits, (1024, 1024))[: fitted[0], : fitted[1]]
    back = cv2.resize(square, (width, height)) > 0
    assert (back & mask).sum() / (back | mask).sum() > 0.95
    beyond = logits[fitted[0] // 4 + 1 :], logits[:, fitted[1] // 4 + 1 :]
    assert all((part < -6).all() for part in beyond)
    assert logits.max() > 6


def test_logits_refuse() -> None:
    with pytest.raises(MaskSizeMismatch):
        sam.mask_logits(np.ones((4, 5), bool), (5, 4), 1024)
    with pytest.raises(MaskEmpty):
        sam.mask_logits(np.zeros((4, 5), bool), (4, 5), 1024)

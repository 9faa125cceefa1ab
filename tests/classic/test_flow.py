"""Flow: the same answer whatever was asked before, and none of OpenCV's falls over small pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tam_edit.models.classic import flow
from tests.classic.clips import Bytes, texture


def textured(height: int, width: int, seed: int) -> Bytes:
    return np.ascontiguousarray(texture(seed, (width, height), (120, 120, 120))[..., 0])


def test_what_was_asked_before_does_not_matter() -> None:
    large, small = textured(120, 160, 1), textured(75, 98, 2)
    first = flow.between(small, np.roll(small, 2, axis=1))
    for fast in (False, True):
        flow.between(large, np.roll(large, 5, axis=0), fast=fast)
    np.testing.assert_array_equal(flow.between(small, np.roll(small, 2, axis=1)), first)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (12, 100), (100, 12), (24, 24), (30, 400), (41, 39)])
def test_small_and_narrow_pictures_have_a_flow_of_their_size(size: tuple[int, int], fast: bool) -> None:
    grey = textured(*size, 3)
    found = flow.between(grey, grey, fast=fast)
    assert found.shape == (*size, 2) and np.isfinite(found).all()
    assert np.abs(found).max() < 1, "nothing moved"

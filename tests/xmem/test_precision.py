"""What bfloat16 may change on a CPU: masks of one object by rounding, masks of several not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tam_edit.models.xmem import Network, Tracker, load
from tests.xmem.clips import moving_discs
from tests.xmem.reference import State


def tracked(network: Network, objects: int) -> list[np.ndarray]:
    clip, truth = moving_discs(7, 96, 128, objects)
    tracker = Tracker(network)
    return [tracker.step(frame, truth[0] if index == 0 else None) for index, frame in enumerate(clip)]


@pytest.fixture
def own(state: State) -> Network:
    """A network of the test's own, for its precision is changed."""
    return load(state)


def test_one_object_is_rounded(own: Network) -> None:
    exact = tracked(own, 1)
    swift = tracked(own.to_precision("bf16"), 1)
    assert not all(np.array_equal(a, b) for a, b in zip(exact, swift, strict=True))
    assert np.mean([np.mean(a.argmax(0) == b.argmax(0)) for a, b in zip(exact, swift, strict=True)]) > 0.995
    assert own.dtype == torch.float32


def test_several_objects_are_exact(own: Network) -> None:
    exact = tracked(own, 3)
    for a, b in zip(exact, tracked(own.to_precision("bf16"), 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_back_to_exact_after_use(own: Network) -> None:
    exact = tracked(own, 1)
    tracked(own.to_precision("bf16"), 1)
    for a, b in zip(exact, tracked(own.to_precision("fp32"), 1), strict=True):
        np.testing.assert_array_equal(a, b)

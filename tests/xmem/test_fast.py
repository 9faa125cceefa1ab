"""The fast mode decodes less, says so by its crops, and is the exact mode where objects fill the picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from tam_edit.models.xmem import Network, Tracker, load
from tam_edit.models.xmem.focus import Box, _cheapest
from tests.xmem.clips import moving_discs
from tests.xmem.reference import State
from tests.xmem.test_tracker import BUSY

HEIGHT, WIDTH = 160, 208


@pytest.fixture(scope="module")
def shy(state: State) -> Network:
    """Weights that find objects nowhere unless told: random ones see them everywhere."""
    quiet = dict(state)
    quiet["decoder.pred.bias"] = torch.full((1,), -9.0)
    return load(quiet)


@contextmanager
def decoded(network: Network) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
    """Objects and patches of each call of the decoder."""
    calls: list[tuple[int, tuple[int, ...]]] = []
    plain = Network.decode

    def noted(self: Network, features, readout, hidden, update):  # type: ignore[no-untyped-def]
        calls.append((len(readout), tuple(features.f16.shape[2:])))
        return plain(self, features, readout, hidden, update)

    Network.decode = noted  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        Network.decode = plain  # type: ignore[method-assign]


def fast(network: Network) -> Tracker:
    return Tracker(network, BUSY, short_side=None, fast=True)


def disc(row: int, column: int, radius: int = 10) -> np.ndarray:
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    return (y - row) ** 2 + (x - column) ** 2 < radius**2


def test_a_small_object_is_decoded_alone(shy: Network) -> None:
    clip, _ = moving_discs(2, HEIGHT, WIDTH, 1)
    tracker = fast(shy)
    tracker.step(clip[0], {1: disc(80, 100)})
    with decoded(shy) as calls:
        out = tracker.step(clip[1])
    assert len(calls) == 1
    objects, (rows, columns) = calls[0]
    assert objects == 1 and rows * columns < 0.7 * 10 * 13
    assert out.shape == (2, HEIGHT, WIDTH) and np.all(out[1, :8, :8] < 1e-6)
    np.testing.assert_allclose(out.sum(0), 1, atol=1e-5)


def test_objects_far_apart_are_decoded_apart() -> None:
    near, far = Box(0, 3, 0, 3), Box(20, 23, 40, 43)
    assert _cheapest([near, None, far]) == [([0], near), ([2], far)]
    assert _cheapest([Box(0, 10, 0, 10), Box(1, 10, 1, 10)]) == [([0, 1], Box(0, 10, 0, 10))]
    assert _cheapest([None]) == []


def test_a_large_object_is_decoded_exactly(shy: Network) -> None:
    clip, _ = moving_discs(2, HEIGHT, WIDTH, 1)
    mask = {1: disc(80, 100, 85)}
    exact = Tracker(shy, BUSY, short_side=None)
    outs = []
    for tracker in (exact, fast(shy)):
        tracker.step(clip[0], mask)
        outs.append(tracker.step(clip[1]))
    assert np.array_equal(*outs)


def test_what_is_nowhere_is_background_and_costs_nothing(shy: Network) -> None:
    clip, _ = moving_discs(3, HEIGHT, WIDTH, 1)
    tracker = fast(shy)
    tracker.step(clip[0], {1: np.zeros((HEIGHT, WIDTH), dtype=bool)})
    with decoded(shy) as calls:
        out = tracker.step(clip[1])
    assert calls == [] and np.all(out.argmax(0) == 0)


def test_restored_fast_tracker(shy: Network) -> None:
    clip, _ = moving_discs(8, HEIGHT, WIDTH, 1)
    tracker, other = fast(shy), fast(shy)
    tracker.step(clip[0], {1: disc(80, 100)})
    tracker.step(clip[1], {3: disc(30, 40)})
    other.restore(tracker.snapshot())
    for index in (2, 3, 4):
        if index == 3:
            for each in (tracker, other):
                each.memorise(clip[6], {2: disc(100, 60)})
        assert np.array_equal(tracker.step(clip[index]), other.step(clip[index]))

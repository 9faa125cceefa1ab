"""A restored tracker goes on bit for bit, and what trust and probes say of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from tam_edit.errors import EngineError, UsageError
from tam_edit.models.xmem import MemorySettings, Network, Tracker, load
from tests.xmem.clips import moving_discs
from tests.xmem.reference import State
from tests.xmem.test_tracker import BUSY, entering, new


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_restored_equals_unbroken(state: State, tmp_path, precision: str) -> None:
    network = load(state, precision=precision)
    clip, truth = moving_discs(22, 48, 64, 3)
    masks = entering(truth)
    tracker = new(network)
    outs, snapshots = [], []
    for index, frame in enumerate(clip):
        if index == 10:
            tracker.memorise(clip[20], {1: truth[20][1]})
        outs.append(tracker.step(frame, masks.get(index), cut=index == 13))
        snapshots.append(tracker.snapshot())
    for at in (4, 12, 18):
        np.savez(tmp_path / "state.npz", **snapshots[at])  # survives storage without pickles
        with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
            other = new(network)
            other.restore(dict(stored))
        again = other.snapshot()
        assert again.keys() == snapshots[at].keys()
        assert all(np.array_equal(again[name], snapshots[at][name]) for name in again)
        for index in range(at + 1, len(clip)):
            if index == 10:
                other.memorise(clip[20], {1: truth[20][1]})
            assert np.array_equal(other.step(clip[index], masks.get(index), cut=index == 13), outs[index]), (at, index)


def test_snapshots_are_copies_and_bounded(network: Network) -> None:
    clip, truth = moving_discs(40, 32, 32, 1)
    tracker, sizes = new(network), []
    tracker.step(clip[0], truth[0])
    first = tracker.snapshot()
    kept = {name: array.copy() for name, array in first.items()}
    for frame in clip[1:]:
        tracker.step(frame)
        sizes.append(sum(array.nbytes for array in tracker.snapshot().values()))
    assert all(np.array_equal(first[name], kept[name]) for name in first)
    assert max(sizes[20:]) <= max(sizes[:20])


def test_empty_snapshot(network: Network) -> None:
    tracker, other = new(network), new(network)
    other.restore(tracker.snapshot())
    clip, truth = moving_discs(2, 32, 32, 1)
    assert np.array_equal(tracker.step(clip[0], truth[0]), other.step(clip[0], truth[0]))


def test_other_conditions_are_refused(network: Network) -> None:
    clip, truth = moving_discs(2, 32, 32, 1)
    tracker = new(network)
    tracker.step(clip[0], truth[0])
    state = tracker.snapshot()
    with pytest.raises(EngineError, match="same settings"):
        Tracker(network, MemorySettings(mem_every=9), short_side=None).restore(state)
    with pytest.raises(EngineError, match="same settings"):
        Tracker(network, BUSY, short_side=24).restore(state)
    with pytest.raises(EngineError, match="no snapshot"):
        tracker.restore({"x": np.zeros(1)})
    other = new(network)
    for name in ("times", "bank.elements", "bank.members", "bank.valid.1"):
        with pytest.raises(EngineError, match="damaged"):
            other.restore({**state, name: np.zeros(1, np.float32)})
    del state["bank.usage"]
    with pytest.raises(EngineError, match="damaged"):
        other.restore(state)
    assert other.labels == []


def test_trust_affinity_and_probes(network: Network) -> None:
    clip, truth = moving_discs(4, 64, 96, 2)
    tracker = Tracker(network, BUSY, short_side=48)
    with pytest.raises(UsageError, match="step"):
        tracker.trust()
    tracker.step(clip[0], truth[0])
    assert {label: (t.margin, t.contour, t.memory) for label, t in tracker.trust().items()} == dict.fromkeys(
        (1, 2), (1.0, 1.0, 1.0)
    )
    for points, wanted in zip(tracker.probes(1, 4), (True, False), strict=True):
        assert 1 <= len(points) <= 4
        assert all(truth[0][1][y, x] == wanted for x, y in points)
    tracker.step(clip[1], {1: truth[1][1]})
    trust = tracker.trust()
    assert trust[1].margin == 1.0
    assert all(0 <= part <= 1 for part in (trust[2].margin, trust[2].contour, trust[2].memory))
    own = tracker.affinity(2)
    assert own.shape == (64, 96) and own.min() >= 0 and own.max() <= 1.0001
    with pytest.raises(UsageError, match="not known"):
        tracker.affinity(9)


def test_memory_on_the_object_itself(network: Network) -> None:
    """On the very frame that is in memory, most affinity of an object's pixels falls on itself."""
    clip, truth = moving_discs(1, 96, 96, 1)
    tracker = new(network)
    tracker.step(clip[0], truth[0])
    tracker.step(clip[0])
    own = tracker.affinity(1)
    assert own[truth[0][1]].mean() > own[~truth[0][1]].mean() + 0.2

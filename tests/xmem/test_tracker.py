"""The tracker without recordings: against the plain reference, and what must hold for any weights, clip and order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tam_edit.models.xmem import MemorySettings, Network, Tracker, layers
from tests.xmem.clips import Masks, moving_discs
from tests.xmem.reference import Reference, ReferenceTracker, State

# Fills, consolidates and forgets within a few small frames.
BUSY = MemorySettings(
    mem_every=1, top_k=12, max_mid_term_frames=4, min_mid_term_frames=2, num_prototypes=8, max_long_term_elements=24
)


def track(tracker: Tracker, clip: np.ndarray, masks: dict[int, Masks], start: int = 0) -> list[np.ndarray]:
    return [tracker.step(frame, masks.get(index)) for index, frame in enumerate(clip[start:], start)]


def new(network: Network, settings: MemorySettings = BUSY) -> Tracker:
    return Tracker(network, settings, short_side=None)


@pytest.mark.parametrize(
    ("size", "objects", "settings"),
    [
        ((48, 64), 2, BUSY),
        ((37, 53), 1, MemorySettings(mem_every=2, top_k=7, enable_long_term=False)),
        ((70, 33), 3, MemorySettings(mem_every=3, max_mid_term_frames=3, min_mid_term_frames=1, num_prototypes=500)),
        ((9, 11), 1, BUSY),
        ((34, 34), 4, MemorySettings(mem_every=2, max_mid_term_frames=5, min_mid_term_frames=3, num_prototypes=5)),
    ],
    ids=["forgetting", "odd", "portrait", "below-a-patch", "four-objects"],
)
@torch.inference_mode()
def test_equals_the_plain_reference(
    network: Network, state: State, size: tuple[int, int], objects: int, settings: MemorySettings
) -> None:
    clip, truth = moving_discs(10, *size, objects)
    corrected = {0: truth[0], 7: truth[7]}
    plain = ReferenceTracker(Reference(state), settings)
    for index, (frame, got) in enumerate(zip(clip, track(new(network, settings), clip, corrected), strict=True)):
        masks = corrected.get(index)
        given = None if masks is None else torch.from_numpy(np.stack(list(masks.values())))
        wanted = plain.step(torch.from_numpy(frame), given).numpy()
        assert got.dtype == np.float32 and got.shape == (1 + objects, *size)
        np.testing.assert_allclose(got, wanted, atol=1e-3, err_msg=f"frame {index}")


@torch.inference_mode()
def test_winograd_equals_direct(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, truth = moving_discs(3, 64, 80, 2)
    ways = []
    for least in (0, 10**9):
        monkeypatch.setattr(layers, "LEAST_TILES", least)
        ways.append(np.stack(track(new(network), clip, {0: truth[0]})))
    assert not np.array_equal(*ways)  # they did take different ways
    np.testing.assert_allclose(*ways, atol=5e-4)


def test_order_and_names_of_objects_do_not_matter(network: Network) -> None:
    clip, truth = moving_discs(10, 48, 48, 3)
    plain = track(new(network), clip, {0: truth[0]})
    renamed = {1: 200, 2: 7, 3: 90}
    other = track(new(network), clip, {0: {renamed[label]: mask for label, mask in truth[0].items()}})
    order = [0, 2, 3, 1]  # background, then labels 7, 90, 200
    for a, b in zip(plain, other, strict=True):
        np.testing.assert_allclose(b, a[order], atol=1e-4)


def test_a_mask_in_the_middle_starts_the_clip_there(network: Network) -> None:
    clip, truth = moving_discs(9, 32, 48, 1)
    late = track(new(network), clip, {4: truth[4]})
    assert all(np.array_equal(out, np.ones((1, 32, 48), dtype=np.float32)) for out in late[:4])
    from_there = track(new(network), clip[4:], {0: truth[4]})
    assert all(np.array_equal(a, b) for a, b in zip(late[4:], from_there, strict=True))


def test_given_masks_come_back_and_others_keep_their_plane(network: Network) -> None:
    clip, truth = moving_discs(6, 48, 64, 2)
    tracker = new(network)
    out = track(tracker, clip[:4], {0: truth[0]})
    assert np.array_equal(out[0].argmax(0) == 1, truth[0][1])
    mixed = tracker.step(clip[4], {1: truth[4][1]})
    assert np.array_equal(mixed.argmax(0)[truth[4][1]], np.ones(truth[4][1].sum()))
    assert np.all(mixed[1][~truth[4][1]] < 1e-3)
    assert mixed[2][~truth[4][1]].max() > 0.01  # still predicted, elsewhere


def test_absent_objects_are_an_answer(network: Network) -> None:
    clip, truth = moving_discs(4, 48, 48, 1)
    tracker = new(network)
    tracker.step(clip[0], truth[0])
    out = tracker.step(clip[1], {1: np.zeros((48, 48), dtype=bool), 2: np.zeros((48, 48), dtype=bool)})
    assert out.shape == (3, 48, 48) and np.all(out.argmax(0) == 0)
    assert np.isfinite(tracker.step(clip[2])).all()


@pytest.mark.parametrize("objects", [1, 20])
def test_counts_of_objects(network: Network, objects: int) -> None:
    clip, truth = moving_discs(3, 48, 64, objects)
    for out in track(new(network), clip, {0: truth[0]}):
        assert out.shape == (1 + objects, 48, 64)
        np.testing.assert_allclose(out.sum(0), 1, atol=1e-5)


def entering(truth: list[Masks]) -> dict[int, Masks]:
    """Three objects that enter at different times, one of them corrected later."""
    return {0: {1: truth[0][1]}, 3: {2: truth[3][2]}, 8: {3: truth[8][3]}, 11: {2: truth[11][2]}}


def test_late_objects_are_remembered_and_forgotten_in_bounds(network: Network) -> None:
    clip, truth = moving_discs(30, 48, 48, 3)
    tracker = new(network)
    for index, frame in enumerate(clip):
        out = tracker.step(frame, entering(truth).get(index))
        assert np.isfinite(out).all()
        bank = tracker._bank
        assert bank is not None and bank.long <= BUSY.max_long_term_elements
        assert len(bank.frames) <= BUSY.max_mid_term_frames + 2 * len(tracker.labels)
        for label, memory in bank.objects.items():
            held = memory.valid[bank.occupied()]
            assert held.any(), f"object {label} lost all memory at frame {index}"
            assert torch.isfinite(memory.value[torch.from_numpy(bank.occupied()[held])]).all()
    assert bank.long == BUSY.max_long_term_elements
    assert all(memory.valid[: bank.long].any() for memory in bank.objects.values())


def test_prototypes_of_a_late_object_are_its_own(network: Network) -> None:
    """Each prototype that counts for a late object comes from a frame after its entry, and reads its candidates."""
    clip, truth = moving_discs(12, 48, 48, 2)
    settings = MemorySettings(
        mem_every=1, max_mid_term_frames=8, min_mid_term_frames=2, num_prototypes=9 * 5, max_long_term_elements=500
    )
    tracker = new(network, settings)
    track(tracker, clip[:7], {0: {1: truth[0][1]}, 2: {2: truth[2][2]}})
    bank = tracker._bank
    assert bank is not None
    held = [(frame.key.clone(), set(frame.members)) for frame in bank.frames]
    values = [bank.objects[2].value[bank.rows_of(index)].clone() for index in range(7)]
    tracker.step(clip[7])
    # Consolidated: frames 1 to 6, 54 candidates, of which 45 become prototypes; object 2 entered at 2, so 3 to 6 count.
    assert [sorted(frame.members) for frame in bank.frames] == [[1], [2], [1, 2]]
    keys = torch.cat([key for key, _ in held[3:7]])
    candidates = torch.cat(values[3:7])
    own = bank.objects[2].valid[: bank.long]
    assert 0 < own.sum() < bank.long == 45
    for row in np.flatnonzero(own):
        scale = -bank.packed[row, -1]
        prototype = bank.packed[row, 64:128] / (2 * scale)
        assert (keys - prototype).abs().amax(1).min() < 1e-3
        low, high = candidates.amin(0), candidates.amax(0)
        assert ((bank.objects[2].value[row] >= low - 1e-4) & (bank.objects[2].value[row] <= high + 1e-4)).all()


def test_exactly_full_long_term_memory(network: Network) -> None:
    clip, truth = moving_discs(12, 48, 48, 1)
    settings = MemorySettings(
        mem_every=1, max_mid_term_frames=3, min_mid_term_frames=2, num_prototypes=4, max_long_term_elements=8
    )
    tracker = new(network, settings)
    sizes = []
    for index, frame in enumerate(clip):
        assert np.isfinite(tracker.step(frame, truth[0] if index == 0 else None)).all()
        assert tracker._bank is not None
        sizes.append(tracker._bank.long)
    assert sizes[2:] == [4, *[8] * 9]


@pytest.mark.parametrize("counted", [True, False])
@torch.inference_mode()
def test_what_is_forgotten(network: Network, counted: bool) -> None:
    clip, truth = moving_discs(9, 48, 48, 1)
    settings = MemorySettings(
        mem_every=1,
        max_mid_term_frames=3,
        min_mid_term_frames=2,
        num_prototypes=4,
        max_long_term_elements=12,
        enable_long_term_count_usage=counted,
    )
    tracker = new(network, settings)
    track(tracker, clip[:5], {0: truth[0]})
    bank = tracker._bank
    assert bank is not None and bank.long == 12
    before, usage = bank.packed[:12].clone(), (bank.usage / bank.life)[:12].clone()
    bank._forget(8)
    dropped = [row for row in range(12) if not (bank.packed[:8] == before[row]).all(1).any()]
    assert dropped == (sorted(usage.argsort(stable=True)[:4].tolist()) if counted else [0, 1, 2, 3])


def test_a_cut_keeps_memory_and_drops_the_hidden_state(network: Network) -> None:
    clip, truth = moving_discs(6, 48, 48, 1)
    tracker, other = new(network), new(network)
    track(tracker, clip[:4], {0: truth[0]})
    track(other, clip[:4], {0: truth[0]})
    plain, cut = tracker.step(clip[4]), other.step(clip[4], cut=True)
    assert not np.array_equal(plain, cut)
    assert len(tracker._bank.frames) == len(other._bank.frames)  # type: ignore[union-attr]


def test_backward_is_the_clip_reversed_and_deterministic(network: Network) -> None:
    clip, truth = moving_discs(6, 48, 48, 2)
    runs = [np.stack(track(new(network), clip[::-1], {0: truth[-1]})) for _ in range(2)]
    assert np.array_equal(*runs)


def test_permanent_frames(network: Network) -> None:
    clip, truth = moving_discs(16, 48, 48, 2)
    tracker = new(network)
    track(tracker, clip[:3], {0: truth[0]})
    before = tracker.step(clip[3])
    tracker.memorise(clip[12], {2: truth[12][2]})
    assert tracker.labels == [1, 2]
    after = track(tracker, clip[4:], {})
    assert before.shape == after[0].shape
    assert [frame.members for frame in tracker._bank.frames if frame.permanent] == [{2}]  # type: ignore[union-attr]
    tracker.memorise(clip[0], {5: truth[0][1]})
    assert tracker.step(clip[5]).shape[0] == 4


def test_deep_update_every(network: Network) -> None:
    clip, truth = moving_discs(8, 32, 32, 1)
    outs = {
        every: np.stack(track(new(network, MemorySettings(mem_every=2, deep_update_every=every)), clip, {0: truth[0]}))
        for every in (-1, 1, 100)
    }
    assert not np.array_equal(outs[-1], outs[1]) and not np.array_equal(outs[1], outs[100])


def test_the_internal_size(network: Network) -> None:
    clip, truth = moving_discs(3, 96, 130, 2)
    tracker = Tracker(network, BUSY, short_side=48)
    outs = track(tracker, clip, {0: truth[0]})
    assert all(out.shape == (3, 96, 130) for out in outs)
    assert np.array_equal(outs[0].argmax(0) == 1, truth[0][1])  # a given mask keeps its own edges
    np.testing.assert_allclose(outs[2].sum(0), 1, atol=1e-5)
    assert tracker._bank is not None and tracker._bank.elements == 3 * 5
    small = Tracker(network, BUSY, short_side=480)
    as_given = new(network)
    for a, b in zip(track(small, clip, {0: truth[0]}), track(as_given, clip, {0: truth[0]}), strict=True):
        assert np.array_equal(a, b)  # never enlarged

"""The tracker: locking, snapshots, order of labels, absence, cuts, scale, trust."""

from __future__ import annotations

import numpy as np
import pytest

from tam_edit.errors import EngineError, MaskSizeMismatch
from tam_edit.models.classic import Tracker, TrackerSettings
from tam_edit.models.classic import scale as scales
from tests.classic.clips import moving, overlap, texture

QUICK = TrackerSettings(random_features=64, samples=500, margin_px=24)
COLOURS = ((190, 60, 60), (60, 70, 200), (220, 210, 60))


def test_one_disc_is_followed() -> None:
    frames, maps = moving(10)
    tracker = Tracker(QUICK)
    tracker.step(frames[0], {1: maps[0] == 1})
    for frame, label_map in zip(frames[1:], maps[1:], strict=True):
        probability = tracker.step(frame)
        assert probability.dtype == np.float32
        assert probability.shape == (2, *frame.shape[:2])
        np.testing.assert_allclose(probability.sum(axis=0), 1, atol=1e-5)
        assert overlap(probability[1] > 0.5, label_map == 1) > 0.85


def test_given_masks_are_locked_and_others_go_on() -> None:
    frames, maps = moving(4, colours=COLOURS[:2])
    tracker = Tracker(QUICK)
    tracker.step(frames[0], {1: maps[0] == 1, 2: maps[0] == 2})
    tracker.step(frames[1])
    odd = np.zeros(maps[0].shape, bool)
    odd[3:9, 5:50] = True
    probability = tracker.step(frames[2], {1: odd})
    assert np.array_equal(probability[1], odd.astype(np.float32))
    assert np.all(probability[2][odd] == 0)
    assert overlap(probability[2] > 0.5, maps[2] == 2) > 0.8


def test_an_object_may_enter_late_and_channels_follow_labels() -> None:
    frames, maps = moving(5, colours=COLOURS[:2])
    tracker = Tracker(QUICK)
    assert tracker.step(frames[0]).shape[0] == 1  # nothing is known yet: background only
    tracker.step(frames[1], {7: maps[1] == 2})
    assert tracker.labels == (7,)
    probability = tracker.step(frames[2], {3: maps[2] == 1})
    assert tracker.labels == (3, 7)
    assert np.array_equal(probability[1] > 0.5, maps[2] == 1)
    assert overlap(tracker.step(frames[3])[2] > 0.5, maps[3] == 2) > 0.8


@pytest.mark.parametrize("cut_at", [1, 4])
def test_a_restored_run_goes_on_bit_for_bit(cut_at: int) -> None:
    frames, maps = moving(8, colours=COLOURS)
    whole = Tracker(QUICK)
    whole.step(frames[0], {k: maps[0] == k for k in (1, 2, 3)})
    for frame in frames[1 : cut_at + 1]:
        whole.step(frame)
    state = whole.snapshot()
    kept = {name: np.array(values) for name, values in state.items()}
    other = Tracker(QUICK)
    other.restore(kept)
    for frame in frames[cut_at + 1 :]:
        assert np.array_equal(whole.step(frame), other.step(frame))
        assert whole.trust() == other.trust()
    for name in kept:  # stepping on must not write into a snapshot
        assert np.array_equal(kept[name], state[name]), name


def test_a_snapshot_of_something_else_is_refused() -> None:
    with pytest.raises(EngineError, match="not a snapshot"):
        Tracker(QUICK).restore({"labels": np.array([1], np.uint8)})


def test_the_order_of_labels_does_not_matter() -> None:
    frames, maps = moving(6, colours=COLOURS)
    one, other = Tracker(QUICK), Tracker(QUICK)
    renamed = {1: 30, 2: 10, 3: 20}
    one.step(frames[0], {k: maps[0] == k for k in (1, 2, 3)})
    other.step(frames[0], {renamed[k]: maps[0] == k for k in (1, 2, 3)})
    for frame in frames[1:]:
        p, q = one.step(frame), other.step(frame)
        for label, new in renamed.items():
            difference = np.abs(p[one.labels.index(label) + 1] - q[other.labels.index(new) + 1])
            assert difference.max() < 1e-2
            assert difference.mean() < 1e-5


def test_neighbours_compete() -> None:
    frames, maps = moving(8, colours=COLOURS)
    tracker = Tracker(QUICK)
    tracker.step(frames[0], {k: maps[0] == k for k in (1, 2, 3)})
    for frame in frames[1:]:
        probability = tracker.step(frame)
    best = probability.argmax(axis=0)
    for label in (1, 2, 3):
        assert overlap(best == label, maps[-1] == label) > 0.8


def test_an_absent_object_stays_away_until_it_is_seen_again() -> None:
    frames, maps = moving(6)
    bare = texture(1, (160, 96), (70, 120, 80))
    tracker = Tracker(QUICK)
    tracker.step(frames[0], {1: maps[0] == 1})
    tracker.step(frames[1])
    gone = tracker.step(bare, {1: np.zeros(maps[0].shape, bool)})
    assert gone[1].max() == 0
    assert tracker.step(bare)[1].max() < 0.5
    back = [tracker.step(frames[i])[1] for i in (3, 4, 5)]
    assert overlap(back[-1] > 0.5, maps[5] == 1) > 0.7


def test_nothing_moves_over_a_cut_but_the_object_is_found_elsewhere() -> None:
    frames, maps = moving(3)
    tracker = Tracker(QUICK)
    tracker.step(frames[0], {1: maps[0] == 1})
    tracker.step(frames[1])
    other_shot = texture(99, (160, 96), (120, 110, 160))
    assert tracker.step(other_shot, cut=True)[1].max() < 0.5
    assert tracker.step(other_shot)[1].max() < 0.5
    again = tracker.step(frames[2][:, ::-1].copy(), cut=True)  # on the other side of the picture
    assert overlap(again[1] > 0.5, maps[2][:, ::-1] == 1) > 0.7


def test_teaching_is_learning_without_stepping() -> None:
    frames, maps = moving(12)
    tracker = Tracker(QUICK)
    tracker.teach(frames[11], {1: maps[11] == 1})
    tracker.step(frames[0], {1: maps[0] == 1})
    taught = tracker.step(frames[1])
    plain = Tracker(QUICK)
    plain.step(frames[0], {1: maps[0] == 1})
    untaught = plain.step(frames[1])
    assert overlap(taught[1] > 0.5, maps[1] == 1) > 0.85
    assert not np.array_equal(taught, untaught)


def test_trust_is_full_where_a_person_spoke_and_falls_where_the_object_vanishes() -> None:
    frames, maps = moving(6)
    tracker = Tracker(QUICK)
    tracker.step(frames[0], {1: maps[0] == 1})
    assert tracker.trust()[1].combined == 1
    tracker.step(frames[1])
    good = tracker.trust()[1]
    for part in (good.margin, good.agreement, good.flow, good.area, good.position, good.combined):
        assert 0 <= part <= 1
    tracker.step(texture(5, (160, 96), (70, 120, 80)))
    assert tracker.trust()[1].combined < 0.7 * good.combined


def test_trust_in_an_object_that_fills_the_picture_is_a_number() -> None:
    frames, maps = moving(2)
    tracker = Tracker(QUICK)
    tracker.step(frames[0], {1: np.ones(maps[0].shape, bool)})
    assert tracker.step(frames[1])[1].min() > 0.5
    assert 0.5 < tracker.trust()[1].combined <= 1


def test_wrong_sizes_and_types_are_refused() -> None:
    frames, _ = moving(1)
    with pytest.raises(MaskSizeMismatch, match="object 4 is 50x40"):
        Tracker(QUICK).step(frames[0], {4: np.ones((40, 50), bool)})
    with pytest.raises(EngineError, match="uint8"):
        Tracker(QUICK).step(frames[0].astype(np.float32))


def test_a_small_object_is_looked_at_finely_and_a_large_one_coarsely() -> None:
    shape, budget = (1080, 1920), 200_000
    small = scales.choose(shape, (500, 560, 900, 980), budget, 60, None)
    large = scales.choose(shape, (100, 1000, 200, 1800), budget, 60, None)
    assert small == scales.scales(shape, budget)[-1]
    assert large == scales.scales(shape, budget)[0]
    # the window never costs much more than its budget
    for size in range(40, 1080, 40):
        chosen = scales.choose(shape, (0, size, 0, size), budget, 60, None)
        assert min(1080 * chosen, size * chosen + 120) * min(1920 * chosen, size * chosen + 120) <= 1.01 * budget


def test_the_scale_waits_before_it_changes() -> None:
    shape, budget = (1080, 1920), 200_000
    current = scales.choose(shape, (0, 400, 0, 400), budget, 60, None)
    slightly_larger = scales.choose(shape, (0, 430, 0, 430), budget, 60, current)
    much_larger = scales.choose(shape, (0, 1000, 0, 1500), budget, 60, current)
    assert slightly_larger == current
    assert much_larger < current


def test_an_object_that_grows_is_followed_through_a_change_of_scale() -> None:
    settings = TrackerSettings(random_features=64, samples=500, margin_px=16, work_area=96 * 64)
    wall, coat = texture(1, (480, 320), (70, 120, 80)), texture(2, (480, 320), (190, 60, 60))
    y, x = np.mgrid[:320, :480]
    tracker, used = Tracker(settings), set()
    for number in range(14):
        mask = np.hypot(x - 240, y - 160) < 22 + 7 * number
        frame = np.where(mask[..., None], coat, wall).astype(np.uint8)
        probability = tracker.step(frame, {1: mask} if number == 0 else None)
        used.add(float(tracker.snapshot()["scale"]))
        assert overlap(probability[1] > 0.5, mask) > 0.7, number
    assert len(used) > 1

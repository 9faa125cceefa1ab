"""Label maps through a clip: exact keyframes, both directions, iterators, cuts; and real footage."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tam_edit.errors import EngineError, MaskEmpty, MaskError, MaskSizeMismatch, UsageError
from tam_edit.models.classic import TrackerSettings, propagate
from tam_edit.models.fusion import fuse
from tests.classic.clips import moving, overlap, texture
from tests.support import FOOTAGE, needs_footage

QUICK = TrackerSettings(random_features=64, samples=500, margin_px=24)
COLOURS = ((190, 60, 60), (60, 70, 200))


def test_keyframes_come_back_exactly_and_frames_between_are_right() -> None:
    frames, maps = moving(11, colours=COLOURS)
    keyframes = {2: maps[2], 8: maps[8]}
    result = list(propagate(frames, keyframes, settings=QUICK))
    assert len(result) == 11
    for number, label_map in keyframes.items():
        assert np.array_equal(result[number], label_map)
    for label_map, truth in zip(result, maps, strict=True):
        assert label_map.dtype == np.uint8
        for label in (1, 2):
            assert overlap(label_map == label, truth == label) > 0.85


def test_an_iterator_gives_the_same_as_a_sequence() -> None:
    frames, maps = moving(9)
    keyframes = {1: maps[1], 4: maps[4], 5: maps[5]}
    placed = list(propagate(frames, keyframes, settings=QUICK))
    streamed = list(propagate(iter(frames), keyframes, settings=QUICK))
    assert all(np.array_equal(a, b) for a, b in zip(placed, streamed, strict=True))


def test_after_the_last_keyframe_frames_are_asked_for_one_by_one() -> None:
    frames, maps = moving(6)
    taken = 0

    def clip() -> Iterator[np.ndarray]:
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    results = propagate(clip(), {0: maps[0]}, settings=QUICK)
    for number in range(6):
        next(results)
        assert taken == number + 1


def test_a_map_of_new_objects_only_adds_them() -> None:
    frames, maps = moving(7, colours=COLOURS)
    first, second = np.where(maps[0] == 1, 1, 0), np.where(maps[4] == 2, 2, 0)
    result = list(propagate(frames, {0: first.astype(np.uint8), 4: second.astype(np.uint8)}, settings=QUICK))
    assert np.array_equal(result[4] == 2, maps[4] == 2)
    assert overlap(result[4] == 1, maps[4] == 1) > 0.8  # the first object goes on
    assert overlap(result[2] == 2, maps[2] == 2) > 0.8  # the second one is known before, from behind
    assert overlap(result[6] == 1, maps[6] == 1) > 0.8


def test_a_map_without_a_known_object_says_that_it_is_absent() -> None:
    frames, maps = moving(5, colours=COLOURS)
    without = np.where(maps[3] == 2, 0, maps[3]).astype(np.uint8)
    result = list(propagate(frames, {0: maps[0], 3: without}, settings=QUICK))
    assert np.array_equal(result[3], without)


def test_a_second_keyframe_mends_what_the_first_cannot_know() -> None:
    frames, maps = moving(10)
    other = texture(77, (160, 96), (60, 110, 200))
    for number in range(5, 10):  # the object changes its coat
        frames[number] = np.where(maps[number][..., None] == 1, other, frames[number]).astype(np.uint8)
    once = list(propagate(frames, {0: maps[0]}, settings=QUICK))
    twice = list(propagate(frames, {0: maps[0], 9: maps[9]}, settings=QUICK))
    late = range(5, 9)
    before = np.mean([overlap(once[i] == 1, maps[i] == 1) for i in late])
    after = np.mean([overlap(twice[i] == 1, maps[i] == 1) for i in late])
    assert after > max(0.8, before)


@pytest.mark.parametrize("level", [0, 255])
def test_a_clip_that_begins_in_one_colour(level: int) -> None:
    frames, maps = moving(3)
    faded = [np.full_like(frames[0], level), *frames]
    masks = list(propagate(faded, {0: maps[0], 1: maps[0]}))
    assert all(overlap(mask == 1, truth == 1) > 0.9 for mask, truth in zip(masks[1:], maps, strict=True))


def test_a_tube_stays_in_its_shot() -> None:
    frames, maps = moving(4)
    elsewhere = [texture(50 + i // 10, (160, 96), (130, 120, 170)) for i in range(4)]
    result = list(propagate(frames + elsewhere, {1: maps[1]}, cuts=[4], settings=QUICK))
    assert all((label_map > 0).any() for label_map in result[:4])
    assert not any((label_map > 0).any() for label_map in result[4:])


def test_across_a_cut_the_nearer_shot_s_keyframe_decides() -> None:
    frames, maps = moving(4)
    shown = [frame[:, ::-1].copy() for frame in frames]
    seen = [np.ascontiguousarray(m[:, ::-1]) for m in maps]
    result = list(propagate(frames + shown, {0: maps[0], 7: seen[3]}, cuts=[4], settings=QUICK))
    for label_map, truth in zip(result, maps + seen, strict=True):
        assert overlap(label_map == 1, truth == 1) > 0.8


def test_what_cannot_be_meant_is_refused() -> None:
    frames, maps = moving(3)
    with pytest.raises(MaskEmpty, match="no keyframe"):
        list(propagate(frames, {0: np.zeros_like(maps[0])}, settings=QUICK))
    with pytest.raises(EngineError, match="beyond the clip's 3 frames"):
        list(propagate(frames, {5: maps[0]}, settings=QUICK))
    with pytest.raises(EngineError, match="beyond the clip's 3 frames"):
        list(propagate(iter(frames), {5: maps[0]}, settings=QUICK))
    with pytest.raises(MaskSizeMismatch):
        list(propagate(frames, {0: maps[0][:, :-1]}, settings=QUICK))
    for wrong in (maps[0] * np.int64(300), -maps[0].astype(int), maps[0] * 0.5, maps[0] * np.nan, maps[0].astype(str)):
        with pytest.raises(MaskError, match="keyframe 0 is no label map"):
            list(propagate(frames, {0: wrong}, settings=QUICK))
    for numbers in ([maps[0]], {"0": maps[0]}, {0.5: maps[0]}):
        with pytest.raises(EngineError, match="frame number: label map"):
            list(propagate(frames, numbers, settings=QUICK))  # type: ignore[arg-type]


@pytest.mark.parametrize("keyframe", [0, 2])
@pytest.mark.parametrize("given_as", [list, iter])
def test_frames_of_another_size_or_kind_are_refused(keyframe: int, given_as: Callable[[object], object]) -> None:
    frames, maps = moving(3)
    other = [frames[0], frames[1][:50], frames[2]]
    for wrong, words in ((other, "one size"), ([frame / 255 for frame in frames], "float64")):
        with pytest.raises(EngineError, match=words):
            list(propagate(given_as(wrong), {keyframe: maps[0]}, settings=QUICK))  # type: ignore[arg-type]


def _probabilities(seed: int, objects: int) -> np.ndarray:
    values = np.random.default_rng(seed).random((1 + objects, 5, 6)).astype(np.float32) ** 3
    return np.asarray(values / values.sum(axis=0), np.float32)


@given(st.integers(0, 50), st.integers(0, 3), st.integers(0, 40), st.integers(0, 40))
@examples(max_examples=40, deadline=None)
def test_fusing_keeps_a_distribution_between_its_sources(seed: int, objects: int, ahead: int, behind: int) -> None:
    forward, backward = _probabilities(seed, objects), _probabilities(seed + 1000, objects)
    result = fuse(forward, backward, ahead, behind)
    np.testing.assert_allclose(result.sum(axis=0), 1, atol=1e-5)
    assert np.all(result >= np.minimum(forward, backward) - 1e-5)
    assert np.all(result <= np.maximum(forward, backward) + 1e-5)
    np.testing.assert_allclose(result, fuse(backward, forward, behind, ahead) if ahead != behind else result, atol=1e-5)


def test_fusing_is_one_direction_at_its_keyframe_and_moves_over_evenly() -> None:
    forward, backward = _probabilities(1, 2), _probabilities(2, 2)
    assert np.array_equal(fuse(forward, backward, 0, 9), forward)
    assert np.array_equal(fuse(forward, backward, 9, 0), backward)
    steps = [np.abs(fuse(forward, backward, n, 10 - n) - forward).mean() for n in range(11)]
    assert steps == sorted(steps)


def test_the_surer_direction_counts_more() -> None:
    sure, doubtful = np.full((2, 1, 1), 0.5, np.float32), np.full((2, 1, 1), 0.5, np.float32)
    sure[:, 0, 0], doubtful[:, 0, 0] = (0.02, 0.98), (0.6, 0.4)
    assert fuse(sure, doubtful, 5, 5)[1, 0, 0] > 0.85


def test_fusing_refuses_other_shapes() -> None:
    with pytest.raises(UsageError, match="same objects"):
        fuse(_probabilities(0, 1), _probabilities(0, 2), 1, 1)


@needs_footage
@pytest.mark.parametrize(("name", "floor"), [("blackswan", 0.8), ("camel", 0.85), ("dog", 0.78)])
def test_real_footage_reaches_its_floor(name: str, floor: float) -> None:
    root = FOOTAGE / "davis"
    paths = sorted((root / "JPEGImages/480p" / name).glob("*.jpg"))[:10]
    frames = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    truth = [cv2.imread(str(root / "Annotations/480p" / name / f"{path.stem}.png"), 0) > 0 for path in paths]
    result = list(propagate(frames, {0: truth[0].astype(np.uint8)}))
    assert np.mean([overlap(m > 0, t) for m, t in zip(result[1:], truth[1:], strict=True)]) > floor

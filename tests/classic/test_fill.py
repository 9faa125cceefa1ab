"""Filling without weights: what comes out, and which frames it was made from."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tam_edit.errors import EngineError, MaskError, MaskSizeMismatch, UsageError
from tam_edit.models.classic import Filler, FillSettings, fill, shadowed
from tam_edit.models.classic.fill_membrane import membrane
from tam_edit.models.classic.fill_scene import Scene
from tests.support import SHARED, needs_footage

QUICK = FillSettings(reach=8, chunk=4, references=4, plate=8, far_reach=8)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured noise, uint8 [H, W, 3]: something flow can hold on to."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    fine, coarse = cv2.GaussianBlur(noise, (0, 0), 1.6), cv2.GaussianBlur(noise, (0, 0), 8)
    mixed = (fine - 0.5) * 4 + (coarse - 0.5) * 20
    return np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8)


def pan(count: int, height: int = 96, width: int = 128, speed_px: int = 2, seed: int = 0) -> list[np.ndarray]:
    wall = texture(height, width + speed_px * count, seed)
    return [wall[:, speed_px * index : speed_px * index + width].copy() for index in range(count)]


def moving_hole(count: int, height: int = 96, width: int = 128, step_px: int = 5) -> list[np.ndarray]:
    masks = []
    for index in range(count):
        mask = np.zeros((height, width), bool)
        left = (10 + step_px * index) % (width - 24)
        mask[30:60, left : left + 22] = True
        masks.append(mask)
    return masks


def hidden(frames: list[np.ndarray], masks: list[np.ndarray]) -> list[np.ndarray]:
    """The frames with a loud object where the masks are: nothing of it may show in a result."""
    return [np.where(mask[..., None], np.uint8([255, 0, 255]), rgb) for rgb, mask in zip(frames, masks, strict=True)]


def psnr(truth: np.ndarray, result: np.ndarray, mask: np.ndarray) -> float:
    error = (truth[mask].astype(float) - result[mask].astype(float)) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-9)))


def test_a_pan_behind_a_moving_hole_is_found_again_and_the_rest_untouched() -> None:
    frames, masks = pan(14), moving_hole(14)
    results = list(fill(hidden(frames, masks), masks, settings=QUICK))
    assert len(results) == len(frames)
    for truth, mask, result in zip(frames, masks, results, strict=True):
        assert result.dtype == np.uint8
        assert np.array_equal(result[~mask], truth[~mask])
        assert psnr(truth, result, mask) > 27


def test_much_better_than_a_fill_of_single_frames() -> None:
    frames, masks = pan(12, seed=3), moving_hole(12)
    shown = hidden(frames, masks)
    results = list(fill(shown, masks, settings=QUICK))
    for index in (3, 6, 9):
        alone = cv2.inpaint(shown[index], masks[index].astype(np.uint8), 3, cv2.INPAINT_TELEA)
        gain = psnr(frames[index], results[index], masks[index]) - psnr(frames[index], alone, masks[index])
        assert gain > 6


def test_texture_comes_from_full_size() -> None:
    frames, masks = pan(9, 480, 640, speed_px=6), moving_hole(9, 480, 640, step_px=60)
    result = list(fill(hidden(frames, masks), masks, settings=QUICK))[4]
    small = cv2.resize(cv2.resize(frames[4], (320, 240), interpolation=cv2.INTER_AREA), (640, 480))
    assert psnr(frames[4], result, masks[4]) > psnr(frames[4], small, masks[4])


def test_chunks_in_any_order_equal_the_stream_and_read_only_what_they_say() -> None:
    frames, masks = pan(22), moving_hole(22)
    shown = hidden(frames, masks)
    stream = list(fill(shown, masks, settings=QUICK))
    forward = Filler(lambda index: (shown[index], masks[index]), 22, QUICK)
    for start in (0, 4, 8, 12, 16, 20):
        assert all(map(np.array_equal, forward.fill(start, min(start + 4, 22)), stream[start : start + 4]))
    for start in (20, 8, 0):
        stop = min(start + 4, 22)
        allowed = Filler(lambda index: (shown[index], masks[index]), 22, QUICK).reads(start, stop)
        assert len(allowed) <= 4 + 2 * (8 + 12)
        asked: set[int] = set()

        def read(index: int, asked: set[int] = asked) -> tuple[np.ndarray, np.ndarray]:
            asked.add(index)
            return shown[index], masks[index]

        alone = Filler(read, 22, QUICK, read_mask=lambda index: masks[index])
        assert all(map(np.array_equal, alone.fill(start, stop), stream[start:stop]))
        assert asked <= set(allowed)


def test_a_stream_is_bounded() -> None:
    taken = 0
    frames, masks = pan(40), moving_hole(40)

    def counted() -> Iterator[np.ndarray]:
        nonlocal taken
        for rgb in hidden(frames, masks):
            taken += 1
            yield rgb

    next(fill(counted(), iter(masks), settings=QUICK))
    assert taken <= QUICK.chunk + QUICK.reach + 13


def test_cuts_are_never_crossed() -> None:
    frames = pan(7, seed=1) + pan(6, seed=2)
    masks = moving_hole(13)
    shown = hidden(frames, masks)
    together = list(fill(shown, masks, cuts=[7], settings=QUICK))
    apart = [*fill(shown[:7], masks[:7], settings=QUICK), *fill(shown[7:], masks[7:], settings=QUICK)]
    assert all(map(np.array_equal, together, apart))
    uncut = list(fill(shown, masks, settings=QUICK))
    assert not all(map(np.array_equal, together, uncut))


def test_frames_without_a_mask_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = pan(10)
    masks = [np.zeros((96, 128), bool)] * 10

    def forbidden(*_: object) -> None:
        raise AssertionError("nothing is hidden, so no motion is needed")

    monkeypatch.setattr(Scene, "step", forbidden)
    filler = Filler(lambda index: (frames[index], masks[index]), 10, QUICK)
    assert all(map(np.array_equal, filler.fill(0, 4), frames[:4]))
    assert not filler.notes


def test_who_stands_still_longer_than_the_reach_is_seen_through_from_afar() -> None:
    wall = texture(96, 128)
    grain = np.random.default_rng(5)
    frames = [np.clip(wall + grain.normal(0, 1.5, wall.shape), 0, 255).astype(np.uint8) for _ in range(64)]
    masks = [np.zeros((96, 128), bool) for _ in frames]
    for index in range(14, 50):
        masks[index][20:70, 40:80] = True
    shown = hidden(frames, masks)
    far = FillSettings(reach=6, chunk=8, references=2, plate=6, far_reach=40)
    near = FillSettings(reach=6, chunk=8, references=2, plate=6, far_reach=6)

    def middle(settings: FillSettings) -> tuple[float, range]:
        filler = Filler(lambda index: (shown[index], masks[index]), len(frames), settings)
        result = next(filler.fill(32, 40))
        assert bool(filler.notes) == (settings is near)
        return psnr(wall, result, masks[32]), filler.reads(32, 40)

    seen, reads = middle(far)
    unseen, few = middle(near)
    assert seen > 35
    assert seen > unseen + 8
    assert set(few) < set(reads)
    assert len(Filler(lambda index: (shown[index], masks[index]), 64, far).reads(0, 8)) < len(reads)


def test_what_is_never_seen_is_said() -> None:
    frames = [texture(64, 96)] * 6
    part = np.zeros((64, 96), bool)
    part[20:40, 30:60] = True
    whole = np.ones((64, 96), bool)
    filler = Filler(lambda index: (frames[index], whole if index == 3 else part), 6, QUICK)
    results = list(filler.fill(0, 4))
    assert np.array_equal(results[3], frames[3])
    assert [frames for _, frames in filler.notes] == [[0, 1, 2], [3]]
    assert "made up" in filler.notes[0][0] and "whole picture" in filler.notes[1][0]


def test_a_shadow_at_the_foot_joins_the_mask_and_dark_things_apart_do_not() -> None:
    rgb = np.full((120, 160, 3), 150, np.uint8)
    mask = np.zeros((120, 160), bool)
    mask[20:80, 60:100] = True
    rgb[mask] = 200
    shadow = np.zeros_like(mask)
    shadow[80:88, 56:108] = True
    rgb[shadow] = 60
    rgb[100:110, 10:30] = 40
    rgb[25:35, 100:110] = 50
    found = shadowed(rgb, mask)
    assert (found & shadow).sum() > 0.9 * shadow.sum()
    assert not found[100:110, 10:30].any()
    assert not found[25:35, 101:110].any()
    assert np.array_equal(shadowed(np.where(shadow[..., None], np.uint8(150), rgb), mask), mask)


def test_the_same_input_gives_the_same_bytes() -> None:
    frames, masks = pan(8, seed=9), moving_hole(8)
    first = list(fill(hidden(frames, masks), masks, settings=QUICK))
    again = list(fill(hidden(frames, masks), masks, settings=QUICK))
    assert all(map(np.array_equal, first, again))


@pytest.mark.parametrize("size", [(9, 14), (16, 16), (33, 21)])
def test_tiny_pictures_are_filled_too(size: tuple[int, int]) -> None:
    frames = pan(4, *size, speed_px=1)
    mask = np.zeros(size, bool)
    mask[3:6, 4:8] = True
    results = list(fill(frames, [mask] * 4, settings=QUICK))
    assert all(np.array_equal(result[~mask], rgb[~mask]) for result, rgb in zip(results, frames, strict=True))


@pytest.mark.parametrize("size", [(1, 9), (8, 8), (48, 64)])
def test_one_visible_pixel_is_little_to_fill_from_but_enough(size: tuple[int, int]) -> None:
    frames = pan(6, *size, speed_px=1)
    mask = np.ones(size, bool)
    mask[0, 0] = False
    results = list(fill(frames, [mask] * 6, settings=QUICK))
    assert all(np.array_equal(result[0, 0], rgb[0, 0]) for result, rgb in zip(results, frames, strict=True))


def test_bad_input_is_told_what_and_where() -> None:
    frames = pan(3)
    masks = moving_hole(3)
    with pytest.raises(UsageError, match="no mask 2"):
        list(fill(frames, masks[:2], settings=QUICK))
    with pytest.raises(UsageError, match="no frame 3"):
        list(fill(frames, [*masks, masks[0]], settings=QUICK))
    with pytest.raises(MaskSizeMismatch, match="frame 1 is 64x48, its picture 128x96"):
        list(fill(frames, [masks[0], masks[1][:48, :64], masks[2]], settings=QUICK))
    with pytest.raises(EngineError, match="not uint8"):
        list(fill([rgb.astype(np.float32) for rgb in frames], masks, settings=QUICK))
    with pytest.raises(EngineError, match="one size"):
        list(fill([frames[0], frames[1][:48], frames[2]], [masks[0], masks[1][:48], masks[2]], settings=QUICK))
    with pytest.raises(UsageError, match="negative"):
        list(fill(frames, masks, cuts=[-1], settings=QUICK))
    with pytest.raises(UsageError, match="no chunk"):
        list(Filler(lambda index: (frames[index], masks[index]), 3, QUICK).fill(1, 3))
    for wrong in (masks[0], [mask[..., None] for mask in masks]):
        with pytest.raises(MaskError, match="mask of frame 0 has shape"):
            list(fill(frames, wrong, settings=QUICK))
    with pytest.raises(EngineError, match="not uint8"):
        list(fill([rgb.tolist() for rgb in frames], masks, settings=QUICK))
    for setting in ({"reach": 0}, {"chunk": 2.5}, {"plate": -1}, {"guard_px": True}):
        with pytest.raises(UsageError, match=f"{next(iter(setting))}.*whole number"):
            FillSettings(**setting)  # type: ignore[arg-type]


def test_drawing_on_results_changes_neither_the_clip_nor_what_follows() -> None:
    frames, masks = pan(8), moving_hole(8)
    masks[0][:] = masks[4][:] = False
    expected = [rgb.copy() for rgb in fill(frames, masks, settings=QUICK)]
    before = [rgb.copy() for rgb in frames]
    for rgb, mine in zip(fill(frames, masks, settings=QUICK), expected, strict=True):
        assert np.array_equal(rgb, mine)
        rgb[:] = 0
    assert np.array_equal(frames, before)


def test_a_membrane_continues_a_slope_and_keeps_what_is_known() -> None:
    x, y = np.meshgrid(np.arange(61, dtype=np.float32), np.arange(47, dtype=np.float32))
    slope = np.stack([x, 2 * y], -1)
    known = np.ones(slope.shape[:2], bool)
    known[15:30, 20:45] = False
    filled = membrane(np.where(known[..., None], slope, np.float32(999)), known)
    assert np.array_equal(filled[known], slope[known])
    assert np.abs(filled - slope).max() < 6
    assert not membrane(slope, np.zeros_like(known)).any()


@needs_footage
def test_real_footage_beats_telea() -> None:
    folder = SHARED / "footage" / "davis"
    frames, masks = [], []
    for index in range(0, 20):
        bgr = cv2.imread(str(folder / "JPEGImages/480p/cows" / f"{index:05d}.jpg"))
        frames.append(cv2.resize(bgr[..., ::-1], (432, 240), interpolation=cv2.INTER_AREA))
        other = cv2.imread(str(folder / "Annotations/480p/goat" / f"{index:05d}.png"), cv2.IMREAD_GRAYSCALE)
        masks.append(cv2.resize(other, (432, 240), interpolation=cv2.INTER_NEAREST) > 0)
    shown = hidden(frames, masks)
    settings = FillSettings(chunk=4)
    filler = Filler(lambda index: (shown[index], masks[index]), 20, settings)
    gains = []
    for truth, mask, rgb, result in zip(frames[8:], masks[8:], shown[8:], filler.fill(8, 12), strict=False):
        alone = cv2.inpaint(rgb, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        gains.append(psnr(truth, result, mask) - psnr(truth, alone, mask))
    assert min(gains) > 2

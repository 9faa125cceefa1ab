"""Full pictures beyond memory: what is read of them is the same wherever they lie."""

from __future__ import annotations

import errno
import gc
import os
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tam_edit.errors import EngineError
from tam_edit.models.classic import Filler
from tam_edit.models.classic.fill_pictures import LEAST, Pictures, sampled
from tests.classic.test_fill import QUICK, hidden, moving_hole, pan

HEIGHT, WIDTH, FRAMES = 97, 131, 12


def shot(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), rng.random((HEIGHT, WIDTH)) < 0.3)
        for _ in range(FRAMES)
    ]


def places(seed: int, count: int) -> np.ndarray:
    """Points inside, on the rims and beyond them, many a whole or half pixel; from everywhere or from a few rows."""
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.uniform(-30, HEIGHT + 30, 2))
    xy = np.stack([rng.uniform(-20, WIDTH + 20, count), rng.uniform(low, high, count)], -1)
    xy[::3] = np.rint(xy[::3] * 2) / 2
    xy[1::3] = np.rint(xy[1::3] * 64) / 64  # between the steps in which OpenCV places a sample
    return xy.astype(np.float32)


@pytest.mark.parametrize("kept", [0, 5 * HEIGHT * WIDTH * 4, None])
def test_pictures_and_samples_are_the_same_wherever_they_lie(kept: int | None, tmp_path: Path) -> None:
    frames = shot()
    reads: list[int] = []

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        reads.append(index)
        return frames[index]

    pictures = Pictures(read, FRAMES, kept, tmp_path)
    rng = np.random.default_rng(1)
    for index in [*range(FRAMES), *rng.integers(0, FRAMES, 60)]:
        rgb, mask = frames[index]
        if rng.random() < 0.5:
            found = pictures.whole(index)
            assert np.array_equal(found[0], rgb) and np.array_equal(found[1], mask) and found[1].dtype == bool
        xy = places(int(rng.integers(1000)), int(rng.integers(0, 700)))
        assert np.array_equal(pictures.taken(index, xy), sampled(rgb, xy, cv2.INTER_CUBIC))
    assert sorted(reads) == list(range(FRAMES)), "each was read once"
    assert not list(tmp_path.iterdir()), "the file has no name, so nothing is left of it"


def test_no_more_are_kept_than_were_asked_for(tmp_path: Path) -> None:
    frames = shot()
    reads: list[int] = []

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        reads.append(index)
        return frames[index]

    pictures = Pictures(read, 5, 0, tmp_path)
    for index in (*range(FRAMES), 11, 10, 9, 8, 7, 6):
        pictures.whole(index)
        assert len(pictures._kept) <= LEAST and len(pictures._known) <= 5
    assert reads == [*range(FRAMES), 6]
    assert os.fstat(pictures._file.fileno()).st_size <= 6 * (3 * HEIGHT * WIDTH + HEIGHT * WIDTH // 8 + 1)
    for index in (6, 8, 10):
        assert np.array_equal(pictures.whole(index)[0], frames[index][0]), "places in the file are used again"


def test_a_fill_is_the_same_with_little_memory(tmp_path: Path) -> None:
    frames, masks = pan(16, 96, 160, speed_px=3), moving_hole(16, 96, 160)
    shown = hidden(frames, masks)

    def filled(**room: Any) -> list[np.ndarray]:
        filler = Filler(lambda index: (shown[index], masks[index]), 16, QUICK, **room)
        return [frame for start in range(0, 16, 4) for frame in filler.fill(start, start + 4)]

    usual = filled()
    for frame, other in zip(usual, filled(kept_bytes=0, folder=tmp_path), strict=True):
        assert np.array_equal(frame, other)


def test_a_full_disk_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    frames = shot()
    pictures = Pictures(lambda index: frames[index], FRAMES, 0, tmp_path)
    with pytest.raises(EngineError, match=r"No space left on device.*--memory"):
        for index in range(FRAMES):
            pictures.whole(index)


def test_a_filler_s_pictures_go_with_it() -> None:
    """They stayed until Python looked for circles: the encoder began with all of them still there."""
    frames, masks = pan(4), moving_hole(4)
    filler = Filler(lambda index: (frames[index], masks[index]), 4, QUICK)
    list(filler.fill(0, 4))
    pictures = weakref.ref(filler._scene._pictures)
    gc.disable()
    try:
        del filler
        assert pictures() is None
    finally:
        gc.enable()

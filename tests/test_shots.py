"""Where shots begin: cuts and nothing else, on made scenes whose truth is known and on real footage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tam_edit.media.probe import probe
from tam_edit.pipelines.shots import ShotFinder, structure_kept
from tests.support import FOOTAGE, needs_footage

Rgb = NDArray[np.uint8]
SIZE_WH = (256, 144)


def scene(seed: int, *, grey: bool = False, width: int = SIZE_WH[0]) -> Rgb:
    """A picture with large and small structure, of much the same brightness for every seed."""
    rng = np.random.default_rng(seed)
    height = SIZE_WH[1]
    found = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((6, 70.0), (18, 45.0), (50, 15.0)):
        noise = rng.uniform(-1, 1, (cells, cells * width // height, 1 if grey else 3)).astype(np.float32)
        layer = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, -1)
        found += weight * layer
    return np.clip(125 + found, 0, 255).astype(np.uint8)


def shaken(picture: Rgb, frame: int) -> Rgb:
    """As a held camera and a sensor give it: a pixel to and fro, a little noise."""
    moved = np.roll(picture, (frame % 3 - 1, (frame // 2) % 3 - 1), (0, 1))
    noise = np.random.default_rng(1000 + frame).normal(0, 2, picture.shape)
    return np.clip(moved + noise, 0, 255).astype(np.uint8)


def cuts_of(pictures: Iterable[Rgb]) -> tuple[int, ...]:
    finder = ShotFinder()
    for index, picture in enumerate(pictures):
        finder.take(index, picture)
    return finder.finish()


def joined(*lengths: int, grey: bool = False) -> list[Rgb]:
    """Shots of these lengths, each of another scene."""
    return [
        shaken(picture, frame)
        for seed, length in enumerate(lengths)
        for picture in [scene(seed, grey=grey)]
        for frame in range(length)
    ]


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_hard_cuts_are_found_at_the_first_frame_of_the_new_shot(grey: bool) -> None:
    assert cuts_of(joined(20, 17, 25, grey=grey)) == (20, 37)


def test_one_shot_has_no_cut() -> None:
    assert cuts_of(joined(40)) == ()


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_clips_of_hardly_any_frame(frames: int) -> None:
    assert cuts_of(joined(frames)) == ()


@pytest.mark.parametrize("flash_frames", [1, 2])
def test_a_flash_is_no_cut(flash_frames: int) -> None:
    pictures = joined(40)
    for index in range(18, 18 + flash_frames):
        pictures[index] = np.clip(pictures[index] * 0.3 + 190, 0, 255).astype(np.uint8)
    assert cuts_of(pictures) == ()
    # The same finder does see a cut of the same place: the flash is what it forgives.
    assert cuts_of([*pictures[:18], *joined(18, 22)[18:]]) == (18,)


def test_light_switched_off_is_no_cut() -> None:
    pictures = joined(40)
    assert cuts_of([*pictures[:20], *((picture * 0.45).astype(np.uint8) for picture in pictures[20:])]) == ()


def test_a_fast_pan_is_no_cut() -> None:
    wide = scene(0, width=1400)
    held = [0] * 10
    # From standing to 24 pixels a frame, a tenth of the picture's width.
    panned = np.cumsum([0, 6, 12, 18, *[24] * 25, 18, 12, 6]).tolist()
    pictures = [wide[:, x : x + SIZE_WH[0]] for x in [*held, *panned, *([panned[-1]] * 10)]]
    assert panned[-1] + SIZE_WH[0] <= 1400
    assert cuts_of(pictures) == ()


def test_something_large_that_passes_is_no_cut() -> None:
    pictures = joined(40)
    for index in range(10, 30):
        x = (index - 10) * 12
        pictures[index][30:130, x : x + 60] = (200, 40, 40)
    assert cuts_of(pictures) == ()


def test_structure_is_kept_within_a_scene_and_lost_across_a_cut() -> None:
    one, other = scene(0), scene(1)
    assert structure_kept(one, shaken(one, 5)) > 0.9
    assert structure_kept(one, other) < 0.6
    tiny = np.zeros((4, 4, 3), np.uint8)
    assert structure_kept(tiny, tiny) == 1.0


def test_pictures_are_kept_only_for_a_moment() -> None:
    finder = ShotFinder()
    for index in range(300):
        finder.take(index, np.full((16, 16, 3), index % 7, np.uint8))
    assert len(finder._recent) <= 16


# Real footage


def cuts_in(*clips: Path) -> tuple[int, ...]:
    """The cuts of clips one after the other, looked at as the probe stage does."""
    finder = ShotFinder()
    start = 0
    for clip in clips:
        offset = start
        source = probe(clip, digest="", on_picture=lambda index, rgb, at=offset: finder.take(at + index, rgb))
        start += source.frames
    return finder.finish()


slow = pytest.mark.slow


@needs_footage
@pytest.mark.parametrize(
    ("clip", "cuts"),
    [
        # 76, from the taxi's roof to the cyclist, is not in the footage's list but plain to see.
        ("clips/bikes.mp4", (30, 76, 137, 187, 242)),
        ("clips/nasa.mp4", (202,)),
        ("clips/juggle.mp4", ()),
        pytest.param("clips/biker.mp4", (), marks=slow),
        pytest.param("clips/bbb.webm", (283, 376, 551), marks=slow),
        pytest.param("removal/corridor.mp4", (), marks=slow),
    ],
)
def test_cuts_of_real_footage(clip: str, cuts: tuple[int, ...]) -> None:
    assert cuts_in(FOOTAGE / clip) == cuts


@slow
@needs_footage
def test_ten_sequences_one_after_the_other_have_nine_cuts() -> None:
    folders = sorted((FOOTAGE / "davis" / "JPEGImages" / "480p").iterdir())
    joints = np.cumsum([len(list(folder.glob("*.jpg"))) for folder in folders]).tolist()
    assert len(folders) == 10
    assert cuts_in(*folders) == tuple(joints[:-1])

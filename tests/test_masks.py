"""Label maps and tubes: lossless storage, the COCO run lengths beside pycocotools, lazy reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tam_edit.errors import MaskError, MaskSizeMismatch, UsageError
from tam_edit.masks import (
    MaskTube,
    Matte,
    box_of,
    check_label_map,
    counts_from_text,
    mask_from_counts,
    pack_label_map,
    pack_planes,
    rle_counts,
    rle_text,
    unpack_label_map,
    unpack_planes,
)

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)


def blobs(seed: int, size_wh: tuple[int, int] = (64, 48), labels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    label_map = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    for label in range(1, labels + 1):
        x, y = rng.integers(0, size_wh[0] - 8), rng.integers(0, size_wh[1] - 8)
        label_map[y : y + 8, x : x + 8] = label
    return label_map


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 3)))
def test_label_maps_come_back_bit_for_bit_runs_or_noise(label_map: np.ndarray) -> None:
    packed = pack_label_map(label_map)
    assert packed == pack_label_map(label_map)
    back = unpack_label_map(packed)
    assert back.dtype == np.uint8
    assert np.array_equal(back, label_map)
    back[...] = 1  # a caller may write to what it got


def test_a_map_of_regions_is_stored_small() -> None:
    assert len(pack_label_map(blobs(0, (854, 480)))) < 600


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=20)))
def test_planes_come_back_bit_for_bit(planes: np.ndarray) -> None:
    planes[:, :, : planes.shape[2] // 2] = 0
    assert np.array_equal(unpack_planes(pack_planes(planes)), planes)


@pytest.mark.parametrize("damage", [b"", b"TLM1", b"nothing of the kind at all"])
def test_damaged_bytes_are_said_to_be_damaged(damage: bytes) -> None:
    with pytest.raises(MaskError):
        unpack_label_map(damage)
    with pytest.raises(MaskError):
        unpack_planes(damage)
    packed = pack_label_map(blobs(1))
    with pytest.raises(MaskError):
        unpack_label_map(packed[:-3])


def test_a_label_map_is_checked_before_it_is_used() -> None:
    assert check_label_map(np.array([[True, False]]), (2, 1)).tolist() == [[1, 0]]
    assert check_label_map(np.array([[255, 0]]), (2, 1)).dtype == np.uint8
    with pytest.raises(MaskSizeMismatch, match="853x480, the frame 854x480"):
        check_label_map(np.zeros((480, 853), np.uint8), (854, 480))
    for wrong in (np.zeros((1, 2), np.float32), np.array([[256, 0]]), np.array([[-1, 0]]), np.zeros((1, 2, 3))):
        with pytest.raises(MaskError):
            check_label_map(wrong, (2, 1))


def test_the_box_is_tight() -> None:
    mask = np.zeros((6, 8), bool)
    assert box_of(mask) is None
    mask[1:5, 2:7] = True
    assert box_of(mask) == (2, 1, 7, 5)


@settings(max_examples=80, deadline=None)
@given(hnp.arrays(np.bool_, shapes))
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    counts = rle_counts(mask)
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle_text(counts) == theirs["counts"].decode()
    assert counts_from_text(rle_text(counts)) == counts
    assert np.array_equal(mask_from_counts(counts, (mask.shape[1], mask.shape[0])), mask)


def test_run_lengths_that_cannot_be_are_refused() -> None:
    with pytest.raises(MaskError, match="add up to 5"):
        mask_from_counts([2, 3], (2, 2))
    with pytest.raises(MaskError, match="break off"):
        counts_from_text(rle_text([100000])[:-1])
    with pytest.raises(MaskError):
        counts_from_text("é")


def test_a_tube_reads_frames_when_they_are_asked_for_and_remembers_a_few() -> None:
    asked: list[int] = []

    def load(index: int) -> np.ndarray:
        asked.append(index)
        return blobs(index)

    masks = MaskTube(["ball", "dog", "kite"], 20, (64, 48), load, keep=2)
    assert (len(masks), masks.objects, asked) == (20, ("ball", "dog", "kite"), [])
    ball = masks["ball"][12]
    assert ball.dtype == np.bool_
    assert np.array_equal(ball, blobs(12) == 1)
    assert np.array_equal(masks["dog"][12], blobs(12) == 2)
    assert asked == [12]
    assert masks["ball"][-1].shape == (48, 64)
    assert masks.label_map(3)[0, 0] == blobs(3)[0, 0]
    assert asked == [12, 19, 3]
    masks.label_map(12)
    assert asked[-1] == 12, "only the last two are kept"
    assert [np.array_equal(a, blobs(i)) for i, a in enumerate(masks)] == [True] * 20
    assert masks.box("kite", 5) == box_of(blobs(5) == 3)
    assert np.array_equal(masks.mask(4), blobs(4) > 0)
    assert np.array_equal(masks.mask(4, ["ball", "kite"]), np.isin(blobs(4), (1, 3)))
    assert len(masks[2:5]) == 3 and len(masks["dog"][2:5]) == 3


def test_a_tube_refuses_what_is_not_there() -> None:
    masks = MaskTube.from_maps(["ball"], [blobs(0)])
    with pytest.raises(UsageError, match="no object 'bull' here: there are 'ball'"):
        masks["bull"]
    with pytest.raises(IndexError):
        masks[1]
    with pytest.raises(ValueError, match="read-only"):
        masks[0][0, 0] = 1
    with pytest.raises(UsageError):
        MaskTube(["a", "a"], 1, (4, 4), lambda _: blobs(0))
    wrong = MaskTube(["a"], 1, (4, 4), lambda _: blobs(0))
    with pytest.raises(MaskSizeMismatch, match="frame 0"):
        wrong[0]


def test_a_matte_keeps_the_part_that_is_not_zero() -> None:
    alpha = np.zeros((10, 12), np.float32)
    alpha[3:6, 4:9] = 0.25
    matte = Matte.of(alpha)
    assert (matte.alpha.shape, matte.offset_xy, matte.box) == ((3, 5), (4, 3), (4, 3, 9, 6))
    assert np.array_equal(matte.full(), alpha)
    assert not Matte.of(np.zeros((4, 4), np.float32)).full().any()
    with pytest.raises(MaskError, match="outside"):
        Matte(alpha, (1, 0), (12, 10))

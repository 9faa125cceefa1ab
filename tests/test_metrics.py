"""The measures beside the public packages that define them: vos-benchmark for masks, scikit-image for pictures."""

from __future__ import annotations

from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tam_edit.errors import MaskSizeMismatch
from tam_edit.pipelines.metrics import (
    Curve,
    boundary_f,
    contour_of,
    finite_mean,
    jaccard,
    psnr,
    ssim,
    true_flow,
    warping_error,
)
from tests.support import FOOTAGE, needs_footage


def ellipse(size_wh: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    y, x = np.mgrid[: size_wh[1], : size_wh[0]]
    return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1


def peer(pred: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """J and F of one frame by vos-benchmark."""
    evaluator = pytest.importorskip("vos_benchmark.evaluator").Evaluator()
    evaluator.feed_frame(pred.astype(np.uint8), truth.astype(np.uint8))
    (iou,), (contour,) = evaluator.object_iou.values(), evaluator.boundary_f.values()
    return iou[0], contour[0]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(20, 90), st.integers(20, 90)),
    st.lists(st.floats(-20, 110), min_size=4, max_size=4),
    st.lists(st.floats(1, 60), min_size=4, max_size=4),
)
def test_masks_are_scored_as_by_vos_benchmark_also_at_the_border(
    size_wh: tuple[int, int], centres: list[float], radii: list[float]
) -> None:
    pred = ellipse(size_wh, (centres[0], centres[1]), (radii[0], radii[1]))
    truth = ellipse(size_wh, (centres[2], centres[3]), (radii[2], radii[3]))
    if not (pred.any() or truth.any()):
        assert (jaccard(pred, truth), boundary_f(pred, truth)) == (1.0, 1.0)
        return
    j, f = peer(pred, truth)
    assert jaccard(pred, truth) == pytest.approx(j, abs=1e-9)
    assert boundary_f(pred, truth) == pytest.approx(f, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, (24, 31)), hnp.arrays(np.bool_, (24, 31)))
def test_noise_is_scored_as_by_vos_benchmark(pred: np.ndarray, truth: np.ndarray) -> None:
    if pred.any() or truth.any():
        j, f = peer(pred, truth)
        assert jaccard(pred, truth) == pytest.approx(j, abs=1e-9)
        assert boundary_f(pred, truth) == pytest.approx(f, abs=1e-9)


@needs_footage
def test_real_masks_are_scored_as_by_vos_benchmark() -> None:
    folder = FOOTAGE / "davis" / "Annotations" / "480p" / "bmx-trees"
    pred, truth = (np.array(Image.open(folder / f"{i:05}.png")) > 0 for i in (30, 32))
    j, f = peer(pred, truth)
    assert 0.1 < j < 0.9
    assert (jaccard(pred, truth), boundary_f(pred, truth)) == pytest.approx((j, f), abs=1e-12)


def test_an_empty_side_scores_nothing_and_two_empty_sides_everything() -> None:
    empty, full = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    full[5:20, 5:20] = True
    assert [jaccard(a, b) for a, b in ((empty, empty), (full, empty), (empty, full), (full, full))] == [1, 0, 0, 1]
    assert [boundary_f(a, b) for a, b in ((empty, empty), (full, empty), (empty, full), (full, full))] == [1, 0, 0, 1]
    with pytest.raises(MaskSizeMismatch, match=r"40x30 .* 41x30"):
        jaccard(full, np.zeros((30, 41), bool))
    assert contour_of(full).sum() == 4 * 15


def test_curves_say_mean_recall_and_decay() -> None:
    curve = Curve((1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2))
    assert curve.mean == pytest.approx(0.6)
    assert curve.recall == pytest.approx(5 / 9)
    assert curve.decay == pytest.approx(0.9 - 0.3), "quarters share their end frames: 1 .9 .8 and .4 .3 .2"
    assert Curve((0.7,)).decay == 0
    assert isnan(Curve(()).mean)
    long = Curve(tuple([1.0] * 500 + [0.0] * 500))
    assert long.decay == 1, "DAVIS's own code counts in bytes and goes wrong above 255 frames"


pictures = hnp.arrays(np.uint8, st.tuples(st.integers(11, 40), st.integers(11, 40), st.just(3)))


@settings(max_examples=25, deadline=None)
@given(pictures, st.integers(0, 2**32 - 1), st.integers(0, 120))
def test_pictures_are_scored_as_by_scikit_image(truth: np.ndarray, seed: int, noise: int) -> None:
    peers = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(seed)
    pred = np.clip(truth + rng.integers(-noise, noise + 1, truth.shape), 0, 255).astype(np.uint8)
    if (pred != truth).any():
        assert psnr(pred, truth) == pytest.approx(peers.peak_signal_noise_ratio(truth, pred), abs=1e-6)
    theirs = peers.structural_similarity(
        truth, pred, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(pred, truth) == pytest.approx(theirs, abs=1e-4)


def test_psnr_looks_where_it_is_told() -> None:
    truth = np.full((20, 20, 3), 100, np.uint8)
    pred, hole = truth.copy(), np.zeros((20, 20), bool)
    pred[:10], hole[:10] = 110, True
    assert psnr(pred, truth, hole) == pytest.approx(10 * np.log10(255**2 / 100))
    assert psnr(pred, truth) == pytest.approx(10 * np.log10(255**2 / 50))
    assert psnr(pred, truth, ~hole) == inf
    assert isnan(psnr(pred, truth, np.zeros_like(hole)))
    assert finite_mean([inf, 20, 30]) == 25
    assert finite_mean([inf]) == inf
    assert isnan(finite_mean([]))


def texture(shift: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    import cv2

    wide = cv2.GaussianBlur(rng.integers(0, 256, (120, 260, 3), dtype=np.uint8), (0, 0), 2)
    return np.ascontiguousarray(cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)[:, shift : shift + 200])


def test_the_warping_error_is_what_moves_against_the_picture() -> None:
    before, after = texture(0), texture(3)
    flow = true_flow(before, after)
    hole = np.zeros((120, 200), bool)
    hole[40:80, 60:140] = True
    assert abs(float(np.median(flow[hole][:, 0])) + 3) < 0.1
    still = warping_error(before, after, flow, hole)
    assert still < 2, "the truth follows its own flow"
    exact = np.broadcast_to(np.float32([-3, 0]), (120, 200, 2))
    assert warping_error(before, after, exact, hole) == 0
    flickering = np.clip(after.astype(np.int16) + 20, 0, 255).astype(np.uint8)
    assert warping_error(before, flickering, exact, hole) == pytest.approx(20, abs=2.5)
    frozen = warping_error(before, before, exact, hole)
    assert frozen > 10, "a fill that stands still while the picture moves"
    assert isnan(warping_error(before, after, flow, np.zeros_like(hole)))
    border = np.zeros_like(hole)
    border[:, 0] = True
    assert isnan(warping_error(before, after, exact, border)), "its flow leaves the picture"

"""The fast global smoother against the exact solution of its one-dimensional problem, and what an edge does to it."""

from __future__ import annotations

import numpy as np
import pytest

from tam_edit.models.classic.smooth import affinities, along, smooth


def test_one_row_is_the_exact_weighted_least_squares_solution() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal((1, 40)).astype(np.float32)
    guide = random.integers(0, 255, (1, 40, 3), dtype=np.uint8)
    across, _ = affinities(guide, 20.0)
    weights = across[0, :-1].astype(np.float64)
    expected = values[0].astype(np.float64)
    for index in range(3):  # three rounds of growing weight: Min et al. 2014, equation 8
        share = 1.5 * 4.0 ** (2 - index) / (4.0**3 - 1) * 5.0
        laplacian = np.zeros((40, 40))
        for i, weight in enumerate(weights):
            laplacian[i : i + 2, i : i + 2] += share * weight * np.array([[1, -1], [-1, 1]])
        expected = np.linalg.solve(np.eye(40) + laplacian, expected)
    result = along(values, affinities(guide, 20.0), strength=5.0)
    np.testing.assert_allclose(result[0], expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1), (7, 9, 3)])
def test_shape_and_constants_are_kept(shape: tuple[int, ...]) -> None:
    guide = np.random.default_rng(1).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    result = smooth(np.full(shape, 2.5, np.float32), guide, strength=100, sigma=8)
    assert result.shape == shape
    np.testing.assert_allclose(result, 2.5, rtol=1e-4)


def test_channels_do_not_mix() -> None:
    random = np.random.default_rng(2)
    values = random.standard_normal((12, 15, 3)).astype(np.float32)
    guide = random.integers(0, 255, (12, 15), dtype=np.uint8)
    together = smooth(values, guide, strength=30, sigma=10)
    for channel in range(3):
        alone = smooth(values[..., channel], guide, strength=30, sigma=10)
        np.testing.assert_allclose(together[..., channel], alone, atol=1e-5)


def test_rows_and_columns_are_treated_alike() -> None:
    random = np.random.default_rng(3)
    values = random.standard_normal((16, 16)).astype(np.float32)
    flat = np.zeros((16, 16), np.uint8)
    one = smooth(values, flat, strength=30, sigma=10)
    other = smooth(np.ascontiguousarray(values.T), flat, strength=30, sigma=10).T
    np.testing.assert_allclose(one, other, atol=5e-3)


def test_noise_goes_and_the_guide_s_edge_stays() -> None:
    random = np.random.default_rng(4)
    guide = np.zeros((40, 40, 3), np.uint8)
    guide[:, 20:] = 200
    truth = np.where(guide[..., 0] > 0, 1.0, -1.0).astype(np.float32)
    noisy = truth + random.standard_normal((40, 40)).astype(np.float32)
    result = smooth(noisy, guide, strength=100, sigma=8)
    assert np.abs(result - truth).mean() < 0.15 * np.abs(noisy - truth).mean()
    blind = smooth(noisy, np.zeros_like(guide), strength=100, sigma=8)
    assert np.abs(blind - truth)[:, 18:22].mean() > 4 * np.abs(result - truth)[:, 18:22].mean()

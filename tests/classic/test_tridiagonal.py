"""The tridiagonal solver against dense algebra, on part of the planes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tam_edit.models.classic.tridiagonal import solve_tridiagonal


def test_it_solves_in_place_and_leaves_the_rest() -> None:
    random = np.random.default_rng(3)
    diagonal, beside = random.uniform(3, 4, 6).astype(np.float32), random.uniform(-1, 1, 6).astype(np.float32)
    planes = random.standard_normal((2, 11)).astype(np.float32)
    dense = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    wanted = planes.copy()
    wanted[:, 4:10] = np.linalg.solve(dense, planes[:, 4:10].T).T
    solve_tridiagonal(diagonal.copy(), beside.copy(), planes, 4)
    np.testing.assert_allclose(planes, wanted, rtol=1e-5)


def test_it_refuses_what_lapack_would_read_beyond_and_what_has_no_solution() -> None:
    ones = np.ones(6, np.float32)
    with pytest.raises(ValueError, match="hold no 6 values from 3"):
        solve_tridiagonal(ones.copy(), ones.copy(), np.zeros((1, 8), np.float32), 3)
    with pytest.raises(ValueError, match="not positive definite"):
        solve_tridiagonal(-ones, ones.copy(), np.zeros((1, 8), np.float32), 0)

"""Searching memory: the two-step choice of the highest, and the similarity against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tam_edit.models.xmem.reading import _highest, look_up, pack, similarity


@pytest.mark.parametrize("many", [50, 4096, 5003, 9001])
def test_two_steps_find_the_highest(many: int) -> None:
    similar = torch.randn(20, many, generator=torch.Generator().manual_seed(many))
    similar[:, 40:] = similar[:, 40:].masked_fill(torch.rand(many - 40) < 0.3, -torch.inf)
    values, places = _highest(similar, 30)
    wanted = similar.topk(30, dim=1)
    assert torch.equal(values, wanted.values)
    assert torch.equal(similar.gather(1, places), values)
    assert all(len(set(row)) == 30 for row in places.tolist())


def test_similarity_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    key, query, selection = (torch.randn(n, 64, generator=generator).double() for n in (40, 9, 9))
    shrinkage, selection = 1 + torch.rand(40, generator=generator).double(), torch.sigmoid(selection)
    wanted = -(selection[:, None] * (key[None] - query[:, None]) ** 2).sum(2) * shrinkage / 8
    torch.testing.assert_close(similarity(pack(key, shrinkage), query, selection), wanted)


def test_only_valid_rows_are_read() -> None:
    generator = torch.Generator().manual_seed(1)
    packed = pack(torch.randn(60, 64, generator=generator), torch.ones(60))
    query = torch.randn(700, 64, generator=generator)
    valid = np.zeros(40, dtype=bool)
    valid[[3, 12, 25, 39]] = True
    used = [slice(5, 15), slice(30, 60)]
    found = look_up(packed, used, valid, query, torch.ones(700, 64), 30)
    assert found.rows.shape == (700, 4)
    assert set(found.rows.flatten().tolist()) == {8, 32, 45, 59}
    torch.testing.assert_close(found.weights.sum(1), torch.ones(700))

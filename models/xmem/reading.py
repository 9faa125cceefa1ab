"""How memory is searched: anisotropic similarity as one matrix product, and the best few elements of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Pixels looked up at a time: bounds the similarities held at once.
_PIXELS = 512
# Elements that are first judged together by their highest, where there are many of them.
_TOGETHER = 8
_MANY = 4096


@dataclass(frozen=True)
class Found:
    """The elements that each pixel reads, and how much of each: [n, k], weights sum to 1."""

    rows: Tensor
    weights: Tensor


def pack(key: Tensor, shrinkage: Tensor) -> Tensor:
    """Memory's side of the similarity: key [N, 64], shrinkage [N] -> [N, 129]."""
    scale = shrinkage[:, None] / key.shape[1] ** 0.5
    return torch.cat([-(key * key) * scale, 2 * key * scale, -scale], 1)


def _pack_query(key: Tensor, selection: Tensor) -> Tensor:
    weighted = selection * key
    return torch.cat([selection, weighted, (weighted * key).sum(1, keepdim=True)], 1)


def similarity(packed: Tensor, key: Tensor, selection: Tensor) -> Tensor:
    """-(sum_c e_c (k_c - q_c)^2) s / sqrt(C) of n pixels with N elements: [n, N] (XMem, equation 3, expanded)."""
    return _pack_query(key, selection) @ packed.T


def look_up(
    packed: Tensor, used: Sequence[slice], valid: NDArray[np.bool_], key: Tensor, selection: Tensor, top_k: int
) -> Found:
    """The `top_k` most similar valid elements of each pixel, softmax over them.

    `used` are the ranges of rows that hold elements, `valid` [N] says which of those may be read.
    """
    query = _pack_query(key, selection)
    count = len(valid)
    k = min(top_k, int(valid.sum()))
    barred = None if valid.all() else torch.from_numpy(~valid).to(packed.device)
    rows = torch.cat([torch.arange(part.start, part.stop, device=packed.device) for part in used])
    chosen = torch.empty((len(query), k), dtype=torch.int64, device=packed.device)
    weights = torch.empty((len(query), k), device=packed.device)
    room = torch.empty((min(_PIXELS, len(query)), count), device=packed.device)
    for start in range(0, len(query), _PIXELS):
        part = query[start : start + _PIXELS]
        similar = room[: len(part)]
        done = 0
        for used_rows in used:
            size = used_rows.stop - used_rows.start
            torch.mm(part, packed[used_rows].T, out=similar[:, done : done + size])
            done += size
        if barred is not None:
            similar.masked_fill_(barred, -torch.inf)
        best, places = _highest(similar, k)
        weights[start : start + len(part)] = best.softmax(1)
        chosen[start : start + len(part)] = rows[places]
    return Found(chosen, weights)


def _highest(similar: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk along the rows of [n, N], in two steps where N is large.

    The k highest of a row lie in the k columns of [8, N / 8] whose highest elements are highest.
    """
    count, many = similar.shape
    columns = many // _TOGETHER
    if many < _MANY or columns < k:
        best = torch.topk(similar, k, dim=1)
        return best.values, best.indices
    folded = similar.as_strided((count, _TOGETHER, columns), (similar.stride(0), columns, 1), similar.storage_offset())
    chosen = torch.topk(folded.amax(1), k, dim=1).indices
    rows = torch.arange(_TOGETHER, device=similar.device)[:, None] * columns
    candidates = (chosen[:, None] + rows).flatten(1)  # [n, 8 k]
    left_over = torch.arange(_TOGETHER * columns, many, device=similar.device).expand(count, -1)
    candidates = torch.cat([candidates, left_over], 1)
    best = torch.topk(similar.gather(1, candidates), k, dim=1)
    return best.values, candidates.gather(1, best.indices)

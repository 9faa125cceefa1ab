"""3x3 convolutions with a quarter of the multiplications, as exact in float32 as direct ones (Lavin and Gray, 2016).

A tile of 4x4 outputs is computed from 6x6 inputs: both are transformed by small fixed matrices, and between them
stand 36 matrix products in place of the sliding sum. Of the interpolation points in use, 0, 1, -1, 1/2, -2 lose the
least precision: 1.6 times the rounding error of a direct convolution, where the usual 0, +-1, +-2 lose five times it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor

TILE = 4
_TAPS = 3
_SIDE = TILE + _TAPS - 1
_POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2))
# Tiles worked on at a time: few enough for their transforms to stay in the processor's cache.
_TILES = 324


class Winograd:
    """One 3x3 convolution of stride 1 and padding 1 with its weights transformed: [O, C, 3, 3] -> [36, C, O]."""

    def __init__(self, weight: Tensor) -> None:
        outputs, kernel, inputs = (torch.tensor(matrix, dtype=torch.float64) for matrix in _matrices())
        self.outputs, self.inputs = weight.shape[:2]
        self.weight = weight.new_empty((_SIDE * _SIDE, self.inputs, self.outputs))
        for start in range(0, self.outputs, 64):  # in parts, for what is between is eight times as large
            part = weight[start : start + 64].double()
            moved = torch.einsum("ai,bj,ocij->abco", kernel, kernel, part)
            self.weight[:, :, start : start + 64] = moved.reshape(_SIDE * _SIDE, self.inputs, -1)
        self.enter = inputs.to(weight)
        self.leave = outputs.to(weight)

    def __call__(self, x: Tensor, bias: Tensor | None, *, rectified: bool, add: Tensor | None, relu: bool) -> Tensor:
        """[B, C, H, W] -> [B, O, H, W], channels last; `rectified`: x passes a ReLU first; `add`: then added."""
        batch, _, height, width = x.shape
        high, wide = -(-height // TILE), -(-width // TILE)
        planes = x.permute(0, 2, 3, 1)
        most = max(1, _TILES // wide)
        # Filled again for every piece: it stays in the cache, where a whole bordered picture would not.
        bordered = x.new_zeros((most * TILE + 2, wide * TILE + 2, self.inputs))
        result = x.new_empty((batch, high * TILE, wide * TILE, self.outputs))
        tiles = result.view(batch * high, TILE, wide, TILE, self.outputs)
        shift = x.new_zeros(self.outputs) if bias is None else bias
        for chunk in _chunks(batch, high, most):
            count = sum(rows for _, _, rows in chunk) * wide
            patches = x.new_empty((_SIDE, _SIDE, count, self.inputs))
            done = 0
            for index, first, rows in chunk:
                _fill(bordered, planes[index], first * TILE - 1, rows * TILE + 2, rectified)
                part = patches[:, :, done : done + rows * wide].view(_SIDE, _SIDE, rows, wide, self.inputs)
                part.copy_(_windows(bordered, rows, wide))
                done += rows * wide
            products = torch.bmm(_both_ways(self.enter, patches).view(_SIDE * _SIDE, count, -1), self.weight)
            found = _both_ways(self.leave, products.view(_SIDE, _SIDE, count, -1))
            found = found.view(TILE, TILE, -1, wide, self.outputs)
            first_row = chunk[0][0] * high + chunk[0][1]
            # [4, 4, rows, wide, O] -> [rows, 4, wide, 4, O]
            torch.add(found.permute(2, 0, 3, 1, 4), shift, out=tiles[first_row : first_row + found.shape[2]])
        result = result.permute(0, 3, 1, 2)[:, :, :height, :width]
        if add is not None:
            result = result.add_(add)
        return result.relu_() if relu else result


def _fill(bordered: Tensor, plane: Tensor, first: int, rows: int, rectified: bool) -> None:
    """Put rows of a picture [H, W, C] into a border of zeros; `first` may be -1, and the last rows beyond it."""
    height, width = plane.shape[:2]
    begin, end = max(first, 0), min(first + rows, height)
    bordered[: begin - first].zero_()
    bordered[end - first : rows].zero_()
    inner = bordered[begin - first : end - first, 1 : width + 1]
    if rectified:
        torch.clamp_min(plane[begin:end], 0, out=inner)
    else:
        inner.copy_(plane[begin:end])


def _both_ways(matrix: Tensor, windows: Tensor) -> Tensor:
    """M X M^T for the first two axes of [6, 6, ...]."""
    height, side = matrix.shape
    rows = torch.mm(matrix, windows.reshape(side, -1))
    return torch.matmul(matrix, rows.view(height, side, -1))


def _windows(plane: Tensor, rows: int, wide: int) -> Tensor:
    """The overlapping 6x6 windows of the first rows of tiles, as a view: [6, 6, rows, wide, C]."""
    down, across, deep = plane.stride()
    return plane.as_strided(
        (_SIDE, _SIDE, rows, wide, plane.shape[2]),
        (down, across, TILE * down, TILE * across, deep),
        plane.storage_offset(),
    )


def _chunks(batch: int, high: int, most: int) -> Iterator[list[tuple[int, int, int]]]:
    """Runs of (picture, first row of tiles, rows) with at most `most` rows in all."""
    chunk: list[tuple[int, int, int]] = []
    room = most
    for index in range(batch):
        first = 0
        while first < high:
            rows = min(room, high - first)
            chunk.append((index, first, rows))
            first += rows
            room -= rows
            if room == 0:
                yield chunk
                chunk, room = [], most
    if chunk:
        yield chunk


def _matrices() -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """The Cook-Toom matrices of the points and infinity: outputs [4, 6], kernel [6, 3], inputs [6, 6]."""
    outputs = [[point**power for point in _POINTS] + [Fraction(int(power == TILE - 1))] for power in range(TILE)]
    kernel, inputs = [], []
    for index, point in enumerate(_POINTS):
        others = [other for place, other in enumerate(_POINTS) if place != index]
        norm = Fraction(1)
        for other in others:
            norm *= point - other
        kernel.append([point**power / norm for power in range(_TAPS)])
        inputs.append([*_polynomial(others), Fraction(0)])
    kernel.append([Fraction(0)] * (_TAPS - 1) + [Fraction(1)])
    inputs.append(_polynomial(list(_POINTS)))
    return _floats(outputs), _floats(kernel), _floats(inputs)


def _polynomial(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients, lowest first, of the monic polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def _floats(matrix: list[list[Fraction]]) -> list[list[float]]:
    return [[float(entry) for entry in row] for row in matrix]

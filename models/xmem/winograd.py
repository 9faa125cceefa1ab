"""3x3 convolutions with a quarter of the multiplications, nearly as exact in float32 (Lavin and Gray, 2016).

A tile of 4x4 outputs is computed from 6x6 inputs: both are transformed by small fixed matrices, and between them
stand 36 matrix products in place of the sliding sum. Of the interpolation points in use, 0, 1, -1, 1/2, -2 lose the
least precision: two or three times the rounding error of a direct convolution, where the usual 0, +-1, +-2 lose four
times it.

The 36 products are one grouped 1x1 convolution, which oneDNN does a fifth faster than a batched matrix product. Its
channels are the 36 places of a tile, each with all its channels, so tiles lie one after another: [tiles, 36, C].
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor

from tam_edit.models.onednn import Convolution

TILE = 4
_TAPS = 3
_SIDE = TILE + _TAPS - 1
_PLACES = _SIDE * _SIDE
_POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2))
# Tiles worked on at a time: enough for fast products, few enough for their transforms to stay in the processor's cache.
_TILES = 216
# Channels summed in one go. oneDNN adds them up one by one; sums of such sums are rounded half as much with 1024.
_SUMMED = 256
# The place of points (1, 1) goes into every output once: what is added there is added to all.
_ONCE = _SIDE + 1


class Winograd:
    """One 3x3 convolution of stride 1 and padding 1, fastest for pictures like `shape` [B, C, H, W]."""

    def __init__(self, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...]) -> None:
        outputs, kernel, inputs = (torch.tensor(matrix, dtype=torch.float64) for matrix in _matrices())
        self.outputs, self.inputs = weight.shape[:2]
        self.enter = torch.kron(inputs, inputs).to(weight)  # [36, 36]
        self.leave = torch.kron(outputs, outputs).to(weight)  # [16, 36]
        # Weights laid out once serve one size of chunk, so all chunks have the same: the last one is filled up.
        high, wide = _tiles(shape)
        self.tiles = wide * _rows(shape[0] * high, max(1, _TILES // wide))
        self.depths = _depths(self.inputs)
        self.products = [
            self._laid_out(weight[:, depth], kernel, bias if depth.start == 0 else None) for depth in self.depths
        ]

    def _laid_out(self, weight: Tensor, kernel: Tensor, bias: Tensor | None) -> Convolution:
        """[O, C, 3, 3] -> a convolution of 36 groups, [36 * O, C, 1, 1]."""
        outputs, channels = weight.shape[:2]
        moved = weight.new_empty((_PLACES, outputs, channels))
        for start in range(0, outputs, 64):  # in parts, for what is between is eight times as large
            part = torch.einsum("ai,bj,ocij->aboc", kernel, kernel, weight[start : start + 64].double())
            moved[:, start : start + 64] = part.reshape(_PLACES, -1, channels)
        shift = None
        if bias is not None:
            shift = bias.new_zeros((_PLACES, outputs))
            shift[_ONCE] = bias
            shift = shift.view(-1)
        shape = (1, _PLACES * channels, self.tiles, 1)
        return Convolution(moved.view(-1, channels, 1, 1), shift, shape, groups=_PLACES)

    def __call__(self, x: Tensor, *, rectified: bool, add: Tensor | None, relu: bool) -> Tensor:
        """[B, C, H, W] -> [B, O, H, W], channels last; `rectified`: x passes a ReLU first; `add`: then added."""
        batch, _, height, width = x.shape
        high, wide = _tiles(x.shape)
        most = max(1, self.tiles // wide)
        size = max(self.tiles, wide)
        planes = x.permute(0, 2, 3, 1)
        added = None if add is None else add.permute(0, 2, 3, 1)
        # Filled again for every chunk: it stays in the cache, where a whole bordered picture would not.
        bordered = x.new_zeros((most * TILE + 2, wide * TILE + 2, self.inputs))
        patches = [x.new_zeros((size, _PLACES, depth.stop - depth.start)) for depth in self.depths]
        result = x.new_empty((batch, high * TILE, wide * TILE, self.outputs))
        strips = result.view(batch * high, TILE, wide * TILE, self.outputs)
        for chunk in _chunks(batch, high, most):
            done = 0
            for picture, first, rows in chunk:
                _fill(bordered, planes[picture], first * TILE - 1, rows * TILE + 2, rectified)
                for part, depth in zip(patches, self.depths, strict=True):
                    place = part[done * wide : (done + rows) * wide]
                    place.view(rows, wide, _SIDE, _SIDE, -1).copy_(_windows(bordered, rows, wide, depth))
                done += rows
            found = self._multiplied(patches)[: done * wide].view(done, wide, TILE, TILE, self.outputs)
            strip = strips[chunk[0][0] * high + chunk[0][1] :][:done]
            # [rows, wide, 4, 4, O] -> [rows, 4, wide, 4, O]
            strip.view(done, TILE, wide, TILE, self.outputs).copy_(found.transpose(1, 2))
            if added is not None:
                for picture, first, rows in chunk:
                    lines = slice(first * TILE, min((first + rows) * TILE, height))
                    result[picture, lines, :width] += added[picture, lines]
            if relu:
                strip.relu_()
        return result.permute(0, 3, 1, 2)[:, :, :height, :width]

    def _multiplied(self, patches: list[Tensor]) -> Tensor:
        """Windows [tiles, 36, C], in parts of C -> outputs [tiles, 16, O]."""
        size = len(patches[0])
        total: Tensor | None = None
        for part, products in zip(patches, self.products, strict=True):
            entered = torch.bmm(self.enter.expand(size, -1, -1), part)
            entered = entered.view(1, size, 1, -1).permute(0, 3, 1, 2)  # [1, 36 * C, tiles, 1]
            if total is None:
                total = products(entered)
            else:
                products.add_to(total, entered)
        assert total is not None
        products_by_tile = total.permute(0, 2, 3, 1).view(size, _PLACES, self.outputs)
        return torch.bmm(self.leave.expand(size, -1, -1), products_by_tile)


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


def _windows(plane: Tensor, rows: int, wide: int, depth: slice) -> Tensor:
    """The overlapping 6x6 windows of the first rows of tiles, as a view: [rows, wide, 6, 6, C]."""
    down, across, deep = plane.stride()
    return plane.as_strided(
        (rows, wide, _SIDE, _SIDE, depth.stop - depth.start),
        (TILE * down, TILE * across, down, across, deep),
        depth.start,
    )


def _tiles(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many tiles a picture [B, C, H, W] is high and wide."""
    return -(-shape[2] // TILE), -(-shape[3] // TILE)


def _rows(all_rows: int, most: int) -> int:
    """Rows of tiles for a chunk: between half of `most` and `most`, so that the last chunk is as full as can be."""
    choices = range(min(most, all_rows), max(1, most // 2) - 1, -1) if all_rows > most else [all_rows]
    return min(choices, key=lambda rows: -all_rows % rows)


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


def _depths(channels: int) -> list[slice]:
    """Channels summed in one go: about equal parts, in multiples of 16, which oneDNN likes."""
    parts = -(-channels // _SUMMED)
    depth = -(-channels // parts // 16) * 16
    return [slice(start, min(start + depth, channels)) for start in range(0, channels, depth)]


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

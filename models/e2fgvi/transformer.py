"""Temporal focal transformer: tokens of all frames attend to their window, its surroundings and a pooled far view."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 512
HEADS = 4
WINDOW = (5, 9)  # tokens
SHIFT = (2, 4)  # how far the fine surroundings reach beyond the window
FAR = (5, 9)  # windows whose pooled token is seen
HIDDEN = 40  # channels of a patch in the feed-forward part
PATCH, STRIDE, PADDING = 7, 3, 3


class Patches(nn.Module):
    """Soft split: features [T, 128, h, w] -> tokens [T, fh, fw, 512] of overlapping 7x7 patches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(channels * PATCH**2, WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        return _cut(features, self.embedding).float()


class Composition(nn.Module):
    """Soft composition: tokens [T, fh, fw, 512] -> features [T, 128, h, w], overlaps added."""

    def __init__(self, channels: int, bias_shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.embedding = nn.Linear(WIDTH, channels * PATCH**2)
        if bias_shape is None:
            self.bias_conv = nn.Conv2d(channels, channels, 3, 1, 1)
        else:
            self.bias = nn.Parameter(torch.empty(bias_shape))

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        folded = _lay(tokens, self.embedding, size)
        if hasattr(self, "bias_conv"):
            convolved: Tensor = self.bias_conv(folded)
            return convolved.float()
        return folded.float() + self.bias.float()


class FeedForward(nn.Module):
    """Fusion feed-forward: the hidden patches are laid over each other and averaged before GELU (FuseFormer)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.ModuleList([nn.Linear(WIDTH, HIDDEN * PATCH**2)])
        self.conv2 = nn.ModuleList([nn.GELU(), nn.Linear(HIDDEN * PATCH**2, WIDTH)])

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        picture = _lay(tokens, cast(nn.Linear, self.conv1[0]), size)
        picture = picture / _overlaps(size, tokens.shape[1:3], picture.device).to(picture.dtype)
        # GELU of the picture, not of its patches: the same numbers, a fifth of the work; the padding's zeros stay zero.
        return _cut(F.gelu(picture), cast(nn.Linear, self.conv2[1]))


def _cut(picture: Tensor, embedding: nn.Linear) -> Tensor:
    """Unfold into patches and map them: one strided convolution. [T, C, h, w] -> [T, fh, fw, 512]"""
    weight = embedding.weight.view(WIDTH, -1, PATCH, PATCH)
    picture = picture.to(weight.dtype).contiguous(memory_format=torch.channels_last)
    return F.conv2d(picture, weight, embedding.bias, STRIDE, PADDING).permute(0, 2, 3, 1)


def _lay(tokens: Tensor, embedding: nn.Linear, size: tuple[int, int]) -> Tensor:
    """Map tokens to patches and overlap-add them: one transposed convolution. [T, fh, fw, 512] -> [T, C, h, w]"""
    weight = embedding.weight.view(-1, PATCH, PATCH, WIDTH).permute(3, 0, 1, 2)
    extra = [
        side - ((count - 1) * STRIDE - 2 * PADDING + PATCH) for side, count in zip(size, tokens.shape[1:3], strict=True)
    ]
    picture = F.conv_transpose2d(
        tokens.to(weight.dtype).permute(0, 3, 1, 2), weight, None, STRIDE, PADDING, output_padding=extra
    )
    grid = tokens.shape[1] * tokens.shape[2]
    bias = F.fold(embedding.bias.view(1, -1, 1).expand(1, -1, grid).float(), size, PATCH, 1, PADDING, STRIDE)
    return picture + bias.to(picture.dtype)


@lru_cache(maxsize=8)
def _overlaps(size: tuple[int, int], grid: tuple[int, int], device: torch.device) -> Tensor:
    """How many patches cover each pixel: [1, 1, h, w]."""
    ones = torch.ones(1, PATCH**2, grid[0] * grid[1], device=device)
    return F.fold(ones, size, PATCH, 1, PADDING, STRIDE)


class FocalAttention(nn.Module):
    """Window attention over all frames with fine surroundings and pooled far windows (E2FGVI, section 3.3)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor, pooled: Tensor, queries: int) -> Tensor:
        """tokens [T, fh, fw, 512], pooled [T, windows, 512] -> [queries, fh, fw, 512] of the first frames."""
        frames, height, width, _ = tokens.shape
        rows, columns = height // WINDOW[0], width // WINDOW[1]
        places, bias = _key_places(height, width, tokens.device)  # [windows, K]
        query = F.linear(tokens[:queries], self.qkv.weight[:WIDTH], self.qkv.bias[:WIDTH])
        everything = torch.cat((tokens.flatten(1, 2), pooled), dim=1)  # [T, fh fw + windows, 512]
        pairs = F.linear(everything, self.qkv.weight[WIDTH:], self.qkv.bias[WIDTH:])  # [T, ., 1024] keys, values
        split = query.view(queries, rows, WINDOW[0], columns, WINDOW[1], HEADS, WIDTH // HEADS)
        query = split.permute(1, 3, 5, 0, 2, 4, 6).flatten(3, 5).flatten(0, 1)  # [windows, 4, L 45, 128]
        seen = torch.empty_like(query)
        group = _windows_at_once(tokens.device)
        for start in range(0, rows * columns, group):
            chosen = places[start : start + group]
            near = pairs.index_select(1, chosen.flatten()).view(frames, *chosen.shape, 2, HEADS, WIDTH // HEADS)
            key, value = near.permute(3, 1, 4, 0, 2, 5).flatten(3, 4)  # [., 4, T K, 128] each
            added = bias[start : start + group].to(query.dtype).repeat(1, frames)[:, None, None]
            seen[start : start + group] = _attend(query[start : start + group], key, value, added)
        seen = seen.view(rows, columns, HEADS, queries, *WINDOW, WIDTH // HEADS).permute(3, 0, 4, 1, 5, 2, 6)
        projected: Tensor = self.proj(seen.reshape(queries, height, width, WIDTH))
        return projected


def _attend(query: Tensor, key: Tensor, value: Tensor, added: Tensor) -> Tensor:
    """Softmax attention [., 4, Q, 128] on [., 4, K, 128], `added` [., 1, 1, K] to the scores."""
    if query.dtype == torch.bfloat16 and query.device.type == "cpu":
        # The fused kernel of torch 2.x multiplies bfloat16 no faster than float32 here; plain products do.
        scores = torch.matmul(query * (WIDTH // HEADS) ** -0.5, key.transpose(-2, -1)).add_(added)
        return torch.matmul(scores.softmax(-1), value)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=added)


def _windows_at_once(device: torch.device) -> int:
    """A CPU's cache holds one window's keys; a GPU wants more work at a time."""
    return 1 if device.type == "cpu" else 16


@lru_cache(maxsize=8)
def _key_places(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the keys of each window lie in (grid, pooled windows), and what is added to their scores.

    The four rolled copies together hold the frame of 2 rows and 4 columns around the window, wrapped at the edges,
    some places twice: a place counted n times is one key with log(n) added. Of the far windows those outside the
    grid have zero keys and -100 before the softmax: they weigh exp(-100) and are left out.
    """
    rows, columns = height // WINDOW[0], width // WINDOW[1]
    counts: list[dict[int, int]] = []
    for row in range(rows):
        for column in range(columns):
            seen: dict[int, int] = {}
            top, left = row * WINDOW[0], column * WINDOW[1]
            for y in range(WINDOW[0]):
                for x in range(WINDOW[1]):
                    seen[(top + y) * width + left + x] = 1
            for dy in (-SHIFT[0], SHIFT[0]):
                for dx in (-SHIFT[1], SHIFT[1]):
                    for y in range(WINDOW[0]):
                        for x in range(WINDOW[1]):
                            if 0 <= y - dy < WINDOW[0] and 0 <= x - dx < WINDOW[1]:
                                continue
                            place = (top + y - dy) % height * width + (left + x - dx) % width
                            seen[place] = seen.get(place, 0) + 1
            for y in range(max(row - FAR[0] // 2, 0), min(row + FAR[0] // 2 + 1, rows)):
                for x in range(max(column - FAR[1] // 2, 0), min(column + FAR[1] // 2 + 1, columns)):
                    seen[height * width + y * columns + x] = 1
            counts.append(seen)
    most = max(len(seen) for seen in counts)
    places = torch.zeros(len(counts), most, dtype=torch.int64)
    bias = torch.full((len(counts), most), -math.inf)
    for window, seen in enumerate(counts):
        places[window, : len(seen)] = torch.tensor(list(seen))
        bias[window, : len(seen)] = torch.tensor([math.log(n) for n in seen.values()])
    return places.to(device), bias.to(device)


class Block(nn.Module):
    """Attention and feed-forward, each on the normalised tokens and added to them."""

    def __init__(self) -> None:
        super().__init__()
        self.pool_layers = nn.ModuleList([nn.Linear(WINDOW[0] * WINDOW[1], 1)])
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = FocalAttention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = FeedForward()

    def forward(self, x: Tensor, size: tuple[int, int], queries: int) -> Tensor:
        """x float32 [T, fh, fw, 512] -> the first `queries` frames of it, transformed."""
        work = self.attn.qkv.weight.dtype
        tokens = self.norm1(x).to(work)
        x = x[:queries] + self.attn(tokens, self._pool(tokens), queries)
        mixed: Tensor = self.mlp(self.norm2(x).to(work), size)
        return x + mixed

    def _pool(self, tokens: Tensor) -> Tensor:
        """One learned mean per window: [T, fh, fw, 512] -> [T, windows, 512]."""
        frames, height, width, _ = tokens.shape
        split = tokens.view(frames, height // WINDOW[0], WINDOW[0], width // WINDOW[1], WINDOW[1], WIDTH)
        windows = split.permute(0, 1, 3, 5, 2, 4).flatten(4).flatten(1, 2)  # [T, windows, 512, 45]
        pooled: Tensor = self.pool_layers[0](windows)
        return pooled.squeeze(-1)

"""SAM's image encoder, driven faster: the package's modules and weights, fused attention, no materialised bias maps.

The package (segment_anything.modeling.image_encoder, ViTDet with decomposed relative positions after MViTv2, section
4.1) makes whole attention maps of every head and adds two broadcast maps to them. Here attention is fused and the bias
is written once, for as many heads as fit a fixed buffer. Rows of padding, which the package sends through all linear
layers, are filled in: a row of zeros leaves the qkv layer as its bias. The results differ by rounding only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Bias of this many bytes at a time: one head of 4096 x 4096 tokens in float32.
_BIAS_BYTES = 64 << 20
# Rows of the picture that go through the MLP together: memory of less than 32 MB is used again by the allocator, more
# is returned to the system and paged in anew each time.
_MLP_ROWS = 32


@dataclass(frozen=True)
class _Layer:
    """A linear layer's weights in the precision it runs in."""

    weight: Tensor  # [out, in]
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Map a picture of tokens [1, h, w, in] to [1, h, w, out] in the weights' precision."""
        x = x.to(self.weight.dtype)
        if x.device.type != "cpu":
            return F.linear(x, self.weight, self.bias)
        # On CPUs oneDNN's convolution is faster than the matrix product behind F.linear; channels last, nothing moves.
        return F.conv2d(x.permute(0, 3, 1, 2), self.weight[:, :, None, None], self.bias).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class _Block:
    """One transformer block: the package's norms, its linear layers, its tables of relative positions."""

    norm1: nn.Module
    qkv: _Layer
    proj: _Layer
    norm2: nn.Module
    lin1: _Layer
    act: nn.Module
    lin2: _Layer
    heads: int
    window: int  # side of the windows in tokens; 0: attention over the whole picture
    table: Tensor | None  # [head_dim, 2 * (2 * side - 1)]: rows of the picture, then columns; None: no bias


class Encoder:
    """Runs a package's ImageEncoderViT; `dtype` is that of its linear layers (float32 or bfloat16).

    The weights are the package's own tensors (copies only in another precision), so `Encoder` follows nothing that is
    changed in them later: make it after loading.
    """

    def __init__(self, module: Any, dtype: torch.dtype = torch.float32) -> None:
        self._module = module  # segment_anything.modeling.ImageEncoderViT
        self._dtype = dtype
        device = self._module.patch_embed.proj.weight.device
        # Fused attention gains nothing from bfloat16 on CPUs and loses precision there.
        self._attention_dtype = torch.float32 if device.type == "cpu" else dtype
        grid = self._module.img_size // self._module.patch_embed.proj.kernel_size[0]
        self._blocks = [self._block(block, grid) for block in self._module.blocks]

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode one normalised and padded picture [1, 3, S, S] to features [1, C, S/16, S/16], float32."""
        x = self._module.patch_embed(pixels)  # [1, 3, S, S] -> [1, g, g, C]
        if self._module.pos_embed is not None:
            x = x + self._module.pos_embed
        room = torch.empty(0, dtype=self._attention_dtype, device=x.device)
        for block in self._blocks:
            x, room = self._run(block, x, room)
        features: Tensor = self._module.neck(x.permute(0, 3, 1, 2))
        return features

    def _block(self, block: Any, grid: int) -> _Block:
        side = block.window_size or grid
        table = None
        if block.attn.use_rel_pos:
            tables = [_toeplitz(block.attn.rel_pos_h, side), _toeplitz(block.attn.rel_pos_w, side)]
            table = torch.cat(tables).t().contiguous().to(self._attention_dtype)
        return _Block(
            norm1=block.norm1,
            qkv=self._layer(block.attn.qkv),
            proj=self._layer(block.attn.proj),
            norm2=block.norm2,
            lin1=self._layer(block.mlp.lin1),
            act=block.mlp.act,
            lin2=self._layer(block.mlp.lin2),
            heads=block.attn.num_heads,
            window=block.window_size,
            table=table,
        )

    def _layer(self, linear: nn.Linear) -> _Layer:
        bias = None if linear.bias is None else linear.bias.detach().to(self._dtype)
        return _Layer(linear.weight.detach().to(self._dtype), bias)

    def _run(self, block: _Block, x: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
        grid = x.shape[1]
        side = block.window or grid
        qkv = block.qkv(block.norm1(x)).to(self._attention_dtype)  # [1, g, g, 3C]
        if block.window:
            attended, room = _attend(_to_windows(qkv[0], block.qkv.bias, side), block, side, room)
            attended = _from_windows(attended, grid, side)
        else:
            attended, room = _attend(qkv.flatten(1, 2), block, side, room)
        x = x + block.proj(attended.view(1, grid, grid, -1))
        for first in range(0, grid, _MLP_ROWS):
            part = x[:, first : first + _MLP_ROWS]
            part += block.lin2(block.act(block.lin1(block.norm2(part))))
        return x, room


def _attend(qkv: Tensor, block: _Block, side: int, room: Tensor) -> tuple[Tensor, Tensor]:
    """Attention within each window: [windows, side * side, 3C] -> [windows, side * side, C]; the buffer comes back."""
    windows, tokens, width = qkv.shape
    # [n, t, 3C] -> three of [n, heads, t, head_dim], views only
    q, k, v = qkv.view(windows, tokens, 3, block.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    attended = qkv.new_empty(windows, tokens, block.heads, q.shape[-1])
    if block.table is None:
        attended.copy_(F.scaled_dot_product_attention(q, k, v).transpose(1, 2))
        return attended.view(windows, tokens, width // 3), room
    # Together: as many heads of all windows as the buffer holds; of one head, as many windows.
    heads = max(1, min(block.heads, _BIAS_BYTES // (windows * tokens * tokens * qkv.element_size())))
    several = max(1, min(windows, _BIAS_BYTES // (heads * tokens * tokens * qkv.element_size())))
    for first in range(0, windows, several):
        for head in range(0, block.heads, heads):
            piece = (slice(first, first + several), slice(head, head + heads))
            bias, room = _bias(q[piece], block.table, side, room)
            answer = F.scaled_dot_product_attention(q[piece], k[piece], v[piece], attn_mask=bias)
            attended[piece[0], :, piece[1]] = answer.transpose(1, 2)
    return attended.view(windows, tokens, width // 3), room


def _bias(q: Tensor, table: Tensor, side: int, room: Tensor) -> tuple[Tensor, Tensor]:
    """Write the bias of queries [n, heads, side * side, head_dim] into the buffer: [n, heads, tokens, tokens].

    The bias of query (y, x) and key (j, i) is q . Rh[y - j] + q . Rw[x - i]. One product gives q with every entry of
    both tables; as the tables run from far before to far behind, the entries for the keys of a query are a window of
    them that moves by one from query to query: a view with a stride smaller by one.
    """
    windows, heads, tokens, _ = q.shape
    reach = 2 * side - 1
    products = torch.matmul(q, table).contiguous()  # [n, heads, tokens, 2 * reach]
    step = 2 * reach
    lead = (tokens * heads * step, tokens * step)
    by_row = products.as_strided(
        (windows, heads, side, side, side, 1), (*lead, side * step - 1, step, 1, 1), storage_offset=side - 1
    )
    by_column = products.as_strided(
        (windows, heads, side, side, 1, side), (*lead, side * step, step - 1, 1, 1), storage_offset=reach + side - 1
    )
    wanted = windows * heads * tokens * tokens
    if room.numel() < wanted:
        room = torch.empty(wanted, dtype=q.dtype, device=q.device)
    bias = room[:wanted].view(windows, heads, side, side, side, side)
    torch.add(by_row, by_column, out=bias)
    return bias.view(windows, heads, tokens, tokens), room


def _toeplitz(rel_pos: Tensor, side: int) -> Tensor:
    """Turn a table [2 * side - 1, head_dim] of offsets query - key around, so that it runs with the key."""
    reach = 2 * side - 1
    table = rel_pos.detach()
    if len(table) != reach:
        # As the package does for another size of picture.
        table = F.interpolate(table.t()[None], size=reach, mode="linear")[0].t()
    return table.flip(0)


def _to_windows(qkv: Tensor, bias: Tensor | None, side: int) -> Tensor:
    """Cut [grid, grid, 3C] into windows [n, side * side, 3C]; beyond the picture stands what a row of zeros gives."""
    grid, _, width = qkv.shape
    whole, rest = divmod(grid, side)
    count = whole + (rest > 0)
    windows = qkv.new_empty(count, count, side, side, width)
    # Along each axis: the windows that lie inside, and the one that reaches beyond the picture.
    stretches = [
        (slice(0, whole), slice(0, whole * side), side),
        (slice(whole, count), slice(whole * side, grid), rest),
    ]
    stretches = [stretch for stretch in stretches if stretch[0].start < stretch[0].stop]
    for down, rows, height in stretches:
        for along, columns, breadth in stretches:
            piece = qkv[rows, columns]
            piece = piece.view(len(piece) // height, height, -1, breadth, width)  # [down, h, along, b, 3C]
            windows[down, along, :height, :breadth] = piece.transpose(1, 2)
    if rest:
        beyond: Tensor | float = 0.0 if bias is None else bias.to(qkv.dtype)
        windows[whole:, :, rest:] = beyond
        windows[:, whole:, :, rest:] = beyond
    return windows.view(count * count, side * side, width)


def _from_windows(windows: Tensor, grid: int, side: int) -> Tensor:
    """Put windows [n, side * side, C] together again: [grid, grid, C], without what is beyond the picture."""
    count = -(-grid // side)
    picture = windows.view(count, count, side, side, -1).transpose(1, 2).reshape(count * side, count * side, -1)
    return picture[:grid, :grid].contiguous()

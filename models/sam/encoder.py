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

from tam_edit.models.onednn import After, Convolution

# Bias of this many bytes at a time: one head of 4096 x 4096 tokens in float32.
_BIAS_BYTES = 64 << 20
# Rows of the picture that go through the MLP together: what is between its layers stays in the cache.
_MLP_ROWS = 16


class _Layer:
    """A linear layer in the precision it runs in; on CPUs a 1x1 convolution, which is faster than `F.linear`."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.bias = bias
        self._dtype = weight.dtype
        self._layer: Convolution | Tensor = weight  # [out, in]
        if weight.device.type == "cpu":
            usual = (1, weight.shape[1], _MLP_ROWS, 4 * _MLP_ROWS)
            self._layer = Convolution(weight[:, :, None, None], bias, usual)

    def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        """Map a picture of tokens [1, h, w, in] to [1, h, w, out] in the weights' precision, through GELU if asked."""
        x = x.to(self._dtype)
        if isinstance(self._layer, Convolution):
            after: After = "gelu" if gelu else "none"
            return self._layer(x.permute(0, 3, 1, 2), after=after).permute(0, 2, 3, 1)
        answer = F.linear(x, self._layer, self.bias)
        return F.gelu(answer) if gelu else answer

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Add what the layer makes of x [1, h, w, in] to `total` [1, h, w, out], in place."""
        if isinstance(self._layer, Convolution) and total.dtype == x.dtype == self._dtype:
            self._layer.add_to(total.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2))
        else:
            total += self(x)


@dataclass(frozen=True)
class _Block:
    """One transformer block: the package's norms, its linear layers, its tables of relative positions."""

    norm1: nn.Module
    qkv: tuple[_Layer, _Layer, _Layer]  # apart: three maps of 12 MB are used again by the allocator, one of 36 is not
    proj: _Layer
    norm2: nn.Module
    lin1: _Layer
    lin2: _Layer
    heads: int
    window: int  # side of the windows in tokens; 0: attention over the whole picture
    table: Tensor | None  # [head_dim, 2 * (2 * side - 1)]: rows of the picture, then columns; None: no bias


class Encoder:
    """Runs a package's ImageEncoderViT; `dtype` is that of its linear layers (float32 or bfloat16).

    Nothing of it follows what is changed in the package's weights later: make it after loading. It holds the linear
    layers in its own layout, so let go of the package's module if it is not needed.
    """

    def __init__(self, module: Any, dtype: torch.dtype = torch.float32) -> None:
        # Of a segment_anything.modeling.ImageEncoderViT, all but the blocks as they are.
        self._patch_embed, self._pos_embed, self._neck = module.patch_embed, module.pos_embed, module.neck
        self._dtype = dtype
        projection = module.patch_embed.proj
        # Fused attention gains nothing from bfloat16 on CPUs and loses precision there.
        self._attention_dtype = torch.float32 if projection.weight.device.type == "cpu" else dtype
        grid = module.img_size // projection.kernel_size[0]
        self._blocks = [self._block(block, grid) for block in module.blocks]

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode one normalised and padded picture [1, 3, S, S] to features [1, C, S/16, S/16], float32."""
        x = self._patch_embed(pixels).contiguous()  # [1, 3, S, S] -> [1, g, g, C]; the blocks add to it in place
        if self._pos_embed is not None:
            x += self._pos_embed
        room = torch.empty(0, dtype=self._attention_dtype, device=x.device)
        for block in self._blocks:
            room = self._run(block, x, room)
        features: Tensor = self._neck(x.permute(0, 3, 1, 2))
        return features

    def _block(self, block: Any, grid: int) -> _Block:
        side = block.window_size or grid
        table = None
        if block.attn.use_rel_pos:
            tables = [_toeplitz(block.attn.rel_pos_h, side), _toeplitz(block.attn.rel_pos_w, side)]
            table = torch.cat(tables).t().contiguous().to(self._attention_dtype)
        return _Block(
            norm1=block.norm1,
            qkv=self._thirds(block.attn.qkv),
            proj=self._layer(block.attn.proj),
            norm2=block.norm2,
            lin1=self._layer(block.mlp.lin1),
            lin2=self._layer(block.mlp.lin2),
            heads=block.attn.num_heads,
            window=block.window_size,
            table=table,
        )

    def _layer(self, linear: nn.Linear) -> _Layer:
        bias = None if linear.bias is None else linear.bias.detach().to(self._dtype)
        return _Layer(linear.weight.detach().to(self._dtype), bias)

    def _thirds(self, linear: nn.Linear) -> tuple[_Layer, _Layer, _Layer]:
        weights = linear.weight.detach().to(self._dtype).chunk(3)
        biases = [None] * 3 if linear.bias is None else linear.bias.detach().to(self._dtype).chunk(3)
        q, k, v = (_Layer(weight, bias) for weight, bias in zip(weights, biases, strict=True))
        return q, k, v

    def _run(self, block: _Block, x: Tensor, room: Tensor) -> Tensor:
        """Run one block on x [1, g, g, C] in place; the buffer comes back."""
        grid = x.shape[1]
        side = block.window or grid
        normed = block.norm1(x)

        def third(layer: _Layer) -> Tensor:
            part = layer(normed).to(self._attention_dtype)  # [1, g, g, C]
            return _to_windows(part[0], layer.bias, side) if block.window else part.flatten(1, 2)

        q, k, v = map(third, block.qkv)
        attended, room = _attend(q, k, v, block, side, room)
        if block.window:
            attended = _from_windows(attended, grid, side)
        block.proj.add_to(x, attended.view(1, grid, grid, -1))
        for first in range(0, grid, _MLP_ROWS):
            part = x[:, first : first + _MLP_ROWS]
            block.lin2.add_to(part, block.lin1(block.norm2(part), gelu=True))
        return room


def _attend(q: Tensor, k: Tensor, v: Tensor, block: _Block, side: int, room: Tensor) -> tuple[Tensor, Tensor]:
    """Attention within each window: [windows, side * side, C] three times -> the same shape; the buffer comes back."""
    windows, tokens, width = q.shape
    # [n, t, C] -> [n, heads, t, head_dim], views only
    q, k, v = (part.view(windows, tokens, block.heads, -1).transpose(1, 2) for part in (q, k, v))
    if block.table is None:
        answer = F.scaled_dot_product_attention(q, k, v)
        return answer.transpose(1, 2).reshape(windows, tokens, width), room
    # Together: as many heads of all windows as the buffer holds; of one head, as many windows.
    heads = max(1, min(block.heads, _BIAS_BYTES // (windows * tokens * tokens * q.element_size())))
    several = max(1, min(windows, _BIAS_BYTES // (heads * tokens * tokens * q.element_size())))
    rows = []
    for first in range(0, windows, several):
        answers = []
        for head in range(0, block.heads, heads):
            piece = (slice(first, first + several), slice(head, head + heads))
            bias, room = _bias(q[piece], block.table, side, room)
            answer = F.scaled_dot_product_attention(q[piece], k[piece], v[piece], attn_mask=bias)
            answers.append(answer.transpose(1, 2))  # [n, tokens, heads, head_dim], as it lies in memory
        rows.append(_joined(answers, 2))
    return _joined(rows, 0).reshape(windows, tokens, width), room


def _joined(parts: list[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)


def _bias(q: Tensor, table: Tensor, side: int, room: Tensor) -> tuple[Tensor, Tensor]:
    """Write the bias of queries [n, heads, side * side, head_dim] into the buffer: [n, heads, tokens, tokens].

    The bias of query (y, x) and key (j, i) is q . Rh[y - j] + q . Rw[x - i]. One product gives q with every entry of
    both tables; as the tables run from far before to far behind, the entries for the keys of a query are a window of
    them that moves by one from query to query: a view with a stride smaller by one.
    """
    windows, heads, tokens, _ = q.shape
    reach = 2 * side - 1
    products = torch.matmul(q.transpose(1, 2), table).contiguous()  # [n, tokens, heads, 2 * reach]: q lies like this
    step = heads * 2 * reach  # from token to token
    lead = (tokens * step, 2 * reach)
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


def _to_windows(part: Tensor, bias: Tensor | None, side: int) -> Tensor:
    """Cut [grid, grid, C] into windows [n, side * side, C]; beyond the picture stands what a row of zeros gives."""
    grid, _, width = part.shape
    whole, rest = divmod(grid, side)
    count = whole + (rest > 0)
    windows = part.new_empty(count, count, side, side, width)
    # Along each axis: the windows that lie inside, and the one that reaches beyond the picture.
    stretches = [
        (slice(0, whole), slice(0, whole * side), side),
        (slice(whole, count), slice(whole * side, grid), rest),
    ]
    stretches = [stretch for stretch in stretches if stretch[0].start < stretch[0].stop]
    for down, rows, height in stretches:
        for along, columns, breadth in stretches:
            piece = part[rows, columns]
            piece = piece.view(len(piece) // height, height, -1, breadth, width)  # [down, h, along, b, C]
            windows[down, along, :height, :breadth] = piece.transpose(1, 2)
    if rest:
        beyond: Tensor | float = 0.0 if bias is None else bias.to(part.dtype)
        windows[whole:, :, rest:] = beyond
        windows[:, whole:, :, rest:] = beyond
    return windows.view(count * count, side * side, width)


def _from_windows(windows: Tensor, grid: int, side: int) -> Tensor:
    """Put windows [n, side * side, C] together again: [grid, grid, C], without what is beyond the picture."""
    count = -(-grid // side)
    picture = windows.view(count, count, side, side, -1).transpose(1, 2).reshape(count * side, count * side, -1)
    return picture[:grid, :grid].contiguous()

"""SPyNet: optical flow between two small pictures, coarse to fine."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 6
_MULTIPLE = 32  # the coarsest of six levels, each half the next, still needs whole pixels
_WIDTHS = (8, 32, 64, 32, 16, 2)


def warp(picture: Tensor, flow: Tensor, *, border: bool = False) -> Tensor:
    """Sample a picture at every pixel plus its flow.

    picture [B, C, h, w]; flow [B, 2, h, w] in pixels, channels (x, y). Outside the picture lie zeros, or with
    `border` its edge pixels. Bilinear, corner-aligned (E2FGVI, section 3.2).
    """
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = torch.arange(height, device=flow.device, dtype=flow.dtype).unsqueeze(1)
    grid = torch.stack(
        (
            (flow[:, 0] + x) * (2.0 / max(width - 1, 1)) - 1.0,
            (flow[:, 1] + y) * (2.0 / max(height - 1, 1)) - 1.0,
        ),
        dim=-1,
    )  # [B, h, w, 2]
    padding = "border" if border else "zeros"
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode=padding, align_corners=True)


class _Convolution(nn.Module):
    """One 7x7 layer; a module of its own only because the checkpoint names it `conv`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 7, 1, 3)


class _Level(nn.Module):
    """The residue that one pyramid level adds: five 7x7 convolutions, ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_Convolution(a, b) for a, b in pairwise(_WIDTHS))

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.basic_module):
            x = layer.conv(x)  # type: ignore[operator]
            if index + 1 < len(self.basic_module):
                x = F.relu_(x)
        return x


class SpyNet(nn.Module):
    """Flow of a reference picture towards a supporting one (Ranjan and Black 2017).

    Pictures [B, 3, h, w] in 0..1 -> flow [B, 2, h, w] in pixels, channels (x, y).
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_Level() for _ in range(LEVELS))
        self.register_buffer("mean", torch.empty(1, 3, 1, 1))
        self.register_buffer("std", torch.empty(1, 3, 1, 1))
        self.set_constants()

    def set_constants(self) -> None:
        """ImageNet's mean and deviation."""
        self.mean.copy_(torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1))
        self.std.copy_(torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1))

    def forward(self, reference: Tensor, supporting: Tensor) -> Tensor:
        height, width = reference.shape[-2:]
        padded = tuple(-(-side // _MULTIPLE) * _MULTIPLE for side in (height, width))
        pyramid = [self._normalise(p, padded) for p in (reference, supporting)]
        levels = [(pyramid[0], pyramid[1])]
        for _ in range(LEVELS - 1):
            finer = levels[0]
            levels.insert(0, (F.avg_pool2d(finer[0], 2), F.avg_pool2d(finer[1], 2)))
        coarsest = levels[0][0]
        flow = coarsest.new_zeros(coarsest.shape[0], 2, *coarsest.shape[-2:])
        for index, (ours, theirs) in enumerate(levels):
            if index:
                flow = 2.0 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            moved = warp(theirs, flow, border=True)
            flow = flow + self.basic_module[index](torch.cat((ours, moved, flow), dim=1))
        if padded != (height, width):
            flow = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
            flow = flow * flow.new_tensor((width / padded[1], height / padded[0])).view(1, 2, 1, 1)
        return flow

    def _normalise(self, picture: Tensor, size: tuple[int, ...]) -> Tensor:
        if tuple(picture.shape[-2:]) != size:
            picture = F.interpolate(picture, size=size, mode="bilinear", align_corners=False)
        return (picture - self.mean) / self.std

"""The pieces that XMem's encoders and decoder share, built for inference from tensors under their official names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tam_edit.models.onednn import Convolution
from tam_edit.models.xmem.winograd import TILE, Winograd

_BATCH_NORM_EPS = 1e-5
# Winograd pays from so many channels and 4x4 tiles on; below, its larger weights cost more than it saves.
_CHANNELS = 128
LEAST_TILES = 64


class Conv(nn.Module):
    """A convolution with its bias (and batch norm) folded in; padding keeps the size at stride 1.

    On a CPU in float32, large 3x3 convolutions go through `Winograd`.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int = 1, *, winograd: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.padding = weight.shape[-1] // 2
        self.register_buffer("weight", weight.to(torch.float32).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", None if bias is None else bias.to(torch.float32))
        self._may_winograd = winograd and weight.shape[-1] == 3 and stride == 1 and min(weight.shape[:2]) >= _CHANNELS
        self._winograd: Winograd | None = None
        self._direct: Convolution | None = None

    def forget(self) -> None:
        """Drop what was made of the weights for speed, before they move or change their precision."""
        self._winograd = self._direct = None

    def forward(self, x: Tensor, *, rectified: bool = False, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """`rectified`: the input passes a ReLU first; `add` is added to the result; `relu`: then it passes a ReLU."""
        here = self._may_winograd and x.device.type == "cpu" and x.dtype == torch.float32
        if here and _tiles(x) >= LEAST_TILES:
            if self._winograd is None:
                self._winograd = Winograd(self.weight, self.bias, x.shape)
            return self._winograd(x, rectified=rectified, add=add, relu=relu)
        if self._direct is None:
            self._direct = Convolution(self.weight, self.bias, x.shape, stride=self.stride, padding=self.padding)
        if rectified:
            x = x.relu()
        if add is not None:
            return self._direct.plus(x, add, relu=relu)
        return self._direct(x, after="relu" if relu else "none")


class OnePlane(nn.Module):
    """A 3x3 convolution to one plane: nine products for each pixel, then their sum, as 1x1 convolutions are fast."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        # [1, C, 3, 3] -> [9, C, 1, 1], turned round: each pixel gives to its neighbours instead of taking from them.
        self.products = Conv(weight[0].flip(1, 2).flatten(1).T[:, :, None, None], None)
        self.register_buffer("shift", bias.to(torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        products = self.products(x).flatten(2)  # [B, 9, HW]
        return F.fold(products, x.shape[2:], 3, padding=1).add_(self.get_buffer("shift"))


class Weights:
    """Hands out convolutions from a state dict whose names and shapes have been checked."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state

    def conv(self, name: str, *, inputs: slice = slice(None), bias: bool = True) -> Conv:
        """The convolution of this name, or of some of its input channels only."""
        return Conv(self.state[f"{name}.weight"][:, inputs], self.state[f"{name}.bias"] if bias else None)

    def one_plane(self, name: str) -> OnePlane:
        return OnePlane(self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def stacked(self, *names: str, inputs: slice = slice(None), bias: bool = True) -> Conv:
        """Several convolutions of one input as one; their outputs follow each other."""
        parts = [self.conv(name, inputs=inputs, bias=bias) for name in names]
        biases = [part.bias for part in parts if part.bias is not None]
        return Conv(torch.cat([part.weight for part in parts]), torch.cat(biases) if biases else None)

    def normed(self, name: str, norm: str, stride: int = 1) -> Conv:
        """A convolution without bias and the batch norm after it, as one."""
        scale, shift = (self.state[f"{norm}.{part}"].double() for part in ("weight", "bias"))
        mean, var = (self.state[f"{norm}.running_{part}"].double() for part in ("mean", "var"))
        scale = scale / torch.sqrt(var + _BATCH_NORM_EPS)
        weight = self.state[f"{name}.weight"].double() * scale[:, None, None, None]
        return Conv(weight, shift - mean * scale, stride)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, each normed; added to the input (He et al., 2016)."""

    def __init__(self, weights: Weights, name: str, stride: int) -> None:
        super().__init__()
        self.reduce = weights.normed(f"{name}.conv1", f"{name}.bn1")
        self.middle = weights.normed(f"{name}.conv2", f"{name}.bn2", stride)
        self.expand = weights.normed(f"{name}.conv3", f"{name}.bn3")
        self.shortcut = _shortcut(weights, name, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.middle(self.reduce(x, relu=True), relu=True)
        result: Tensor = self.expand(inner, add=x if self.shortcut is None else self.shortcut(x), relu=True)
        return result


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (the first with the stride), each normed; added to the input (He et al., 2016)."""

    def __init__(self, weights: Weights, name: str, stride: int) -> None:
        super().__init__()
        self.first = weights.normed(f"{name}.conv1", f"{name}.bn1", stride)
        self.second = weights.normed(f"{name}.conv2", f"{name}.bn2")
        self.shortcut = _shortcut(weights, name, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(x, relu=True)
        result: Tensor = self.second(inner, add=x if self.shortcut is None else self.shortcut(x), relu=True)
        return result


class GroupResidual(nn.Module):
    """ReLU, 3x3, ReLU, 3x3; added to the input, through a 3x3 where the channels differ (supplement of XMem)."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        self.first = weights.conv(f"{name}.conv1")
        self.second = weights.conv(f"{name}.conv2")
        changes = f"{name}.downsample.weight" in weights.state
        self.shortcut = weights.conv(f"{name}.downsample") if changes else None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(x, rectified=True, relu=True)
        result: Tensor = self.second(inner, add=x if self.shortcut is None else self.shortcut(x))
        return result


class Attention(nn.Module):
    """CBAM (Woo et al., 2018): a gate per channel, then a gate per position."""

    mlp: list[Tensor]

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        for index in (1, 3):
            for part in ("weight", "bias"):
                tensor = weights.state[f"{name}.ChannelGate.mlp.{index}.{part}"].to(torch.float32).clone()
                self.register_buffer(f"mlp{index}_{part}", tensor)
        self.spatial = weights.conv(f"{name}.SpatialGate.spatial.conv")

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))])  # [2B, C]
        inner = F.linear(pooled, self.get_buffer("mlp1_weight"), self.get_buffer("mlp1_bias")).relu_()
        average, highest = F.linear(inner, self.get_buffer("mlp3_weight"), self.get_buffer("mlp3_bias")).chunk(2)
        x = x * torch.sigmoid(average + highest)[:, :, None, None]
        planes = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x.mul_(torch.sigmoid(self.spatial(planes)))


class Fusion(nn.Module):
    """Image and object features together: group residual, plus attention, group residual (supplement of XMem).

    What the image contributes to the first convolutions is computed once for all objects: `image_part`.
    """

    def __init__(self, weights: Weights, name: str, image_channels: int) -> None:
        super().__init__()
        first, shortcut = f"{name}.block1.conv1", f"{name}.block1.downsample"
        self.image = weights.stacked(first, shortcut, inputs=slice(0, image_channels))
        self.object_first = weights.conv(first, inputs=slice(image_channels, None), bias=False)
        self.object_shortcut = weights.conv(shortcut, inputs=slice(image_channels, None), bias=False)
        self.second = weights.conv(f"{name}.block1.conv2")
        self.attention = Attention(weights, f"{name}.attention")
        self.block = GroupResidual(weights, f"{name}.block2")

    def image_part(self, f16: Tensor) -> Tensor:
        """[1, 1024, h, w] -> [1, 2 * 512, h, w]; f16 comes out of a ReLU, so both convolutions see the same input."""
        part: Tensor = self.image(f16)
        return part

    def forward(self, image_part: Tensor, x: Tensor) -> Tensor:
        first, shortcut = (half.expand(len(x), -1, -1, -1) for half in image_part.chunk(2, 1))
        inner = self.object_first(x, rectified=True, add=first, relu=True)
        fused = self.second(inner, add=self.object_shortcut(x, add=shortcut))
        result: Tensor = self.block(fused + self.attention(fused))
        return result


class GatedUpdate(nn.Module):
    """The sensory memory's gated recurrent unit (XMem, section 3.2): forget, update, new from one 3x3 convolution."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        self.transform = weights.conv(f"{name}.transform")

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        parts = self.transform(torch.cat([x, hidden], 1))
        forget, update, new = parts.chunk(3, 1)
        update = torch.sigmoid(update)
        return torch.sigmoid(forget) * hidden * (1 - update) + update * torch.tanh(new)


def _tiles(x: Tensor) -> int:
    return len(x) * -(-x.shape[2] // TILE) * -(-x.shape[3] // TILE)


def _shortcut(weights: Weights, name: str, stride: int) -> Conv | None:
    if f"{name}.downsample.0.weight" not in weights.state:
        return None
    return weights.normed(f"{name}.downsample.0", f"{name}.downsample.1", stride)

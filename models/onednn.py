"""Convolutions on CPUs as fast as oneDNN makes them: weights laid out once, and what follows done in registers.

PyTorch offers both under private names only (its own compiler's). Where they are missing, and on other devices, the
plain functions do the same in more passes.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

After = Literal["none", "relu", "gelu"]
FUSES = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_convolution_pointwise_")


class Convolution:
    """A convolution whose weights are laid out for inputs like `shape`; others are right too, if slower.

    weight [O, C / groups, h, w], bias [O] or None, shape [B, C, H, W]. Inputs are channels last, in the weights'
    precision; so are results.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        shape: tuple[int, ...],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        self.bias = bias
        self._fused = FUSES and weight.device.type == "cpu"
        self._geometry = ([padding] * 2, [stride] * 2, [1, 1], groups)
        self._weight = weight
        if self._fused:
            self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self._geometry, list(shape))

    def __call__(self, x: Tensor, *, after: After = "none") -> Tensor:
        """Convolve, then pass a ReLU or a GELU (by erf)."""
        result: Tensor
        if self._fused:
            how = "none" if after == "gelu" else ""
            fused = torch.ops.mkldnn._convolution_pointwise
            result = fused(x, self._weight, self.bias, *self._geometry, after, [], how)
            return result
        result = self._plain(x)
        if after == "gelu":
            return F.gelu(result)
        return result.relu_() if after == "relu" else result

    def plus(self, x: Tensor, other: Tensor, *, relu: bool = False) -> Tensor:
        """What the convolution makes of x, plus another tensor of that shape; then through a ReLU, if asked."""
        result: Tensor
        if self._fused:
            fused = torch.ops.mkldnn._convolution_pointwise.binary
            after = "relu" if relu else None
            result = fused(x, other, self._weight, self.bias, *self._geometry, "add", 1.0, after, [], None)
            return result
        result = self._plain(x).add_(other)
        return result.relu_() if relu else result

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Add what the convolution makes of x to `total`, in place."""
        if self._fused:
            fused = torch.ops.mkldnn._convolution_pointwise_.binary
            fused(total, x, self._weight, self.bias, *self._geometry, "add", 1.0, None, [], None)
        else:
            total += self(x)

    def _plain(self, x: Tensor) -> Tensor:
        padding, stride, dilation, groups = self._geometry
        return F.conv2d(x, self._weight, self.bias, stride, padding, dilation, groups)

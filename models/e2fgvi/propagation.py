"""Feature propagation: each neighbour's features gather those of the frames before and after it, along the flow."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tam_edit.models.e2fgvi.flow import warp

CHANNELS = 128
GROUPS = 16
TAPS = 9
_REACH_PX = 10.0  # how far a learned offset may lead away from the flow


class DeformableAlignment(nn.Module):
    """Modulated 3x3 deformable convolution whose offsets are learned around two flows (BasicVSR++, section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(CHANNELS, 2 * CHANNELS, 3, 3))
        self.bias = nn.Parameter(torch.empty(CHANNELS))
        widths = (3 * CHANNELS + 4, CHANNELS, CHANNELS, CHANNELS, 3 * GROUPS * TAPS)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.LeakyReLU(0.1, inplace=True)]
        self.conv_offset = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor, condition: Tensor, flow1: Tensor, flow2: Tensor) -> Tensor:
        """features [1, 256, h, w] (previous, two steps ago); condition [1, 384, h, w]; flows [1, 2, h, w]."""
        work = self.weight.dtype
        x = torch.cat((condition, flow1, flow2), dim=1).to(work).contiguous(memory_format=torch.channels_last)
        x = self.conv_offset(x).float().contiguous()
        height, width = x.shape[-2:]
        offsets, mask = x[0, : 2 * GROUPS * TAPS], x[0, 2 * GROUPS * TAPS :]
        # Offsets come as (y, x) for each group and tap; the first half of the groups follows flow1, the other flow2.
        offsets = offsets.tanh_().mul_(_REACH_PX).view(2, GROUPS // 2 * TAPS, 2, height, width)
        offsets += torch.stack((flow1[0].flip(0), flow2[0].flip(0))).unsqueeze(1)
        columns = sample_taps(features[0], offsets.view(GROUPS, TAPS, 2, height, width), mask.sigmoid_())
        bias = self.bias.unsqueeze(1)
        aligned = torch.addmm(bias, self.weight.flatten(1), columns.to(work))
        return aligned.float().view(1, CHANNELS, height, width)


def sample_taps(features: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
    """Read the nine modulated taps of a deformable 3x3 convolution at every pixel.

    features [C, h, w]; offsets [G, 9, 2, h, w] in pixels, (y, x); mask [G * 9, h, w] -> columns [C * 9, h * w].
    The same numbers as torchvision's kernel gathers, by `grid_sample`, which is several times faster on a CPU.
    """
    groups, _, _, height, width = offsets.shape
    steps = torch.arange(-1, 2, device=offsets.device, dtype=offsets.dtype)
    y = torch.arange(height, device=offsets.device, dtype=offsets.dtype).view(1, height, 1)
    x = torch.arange(width, device=offsets.device, dtype=offsets.dtype).view(1, 1, width)
    y = y + steps.repeat_interleave(3).view(TAPS, 1, 1)  # [9, h, 1]
    x = x + steps.repeat(3).view(TAPS, 1, 1)  # [9, 1, w]
    # Planes, not pairs: grid_sample reads the permuted view as it lies.
    grid = torch.empty(2, groups, TAPS, height, width, device=offsets.device, dtype=offsets.dtype)
    torch.add(offsets[:, :, 1], x, out=grid[0])
    torch.add(offsets[:, :, 0], y, out=grid[1])
    for plane, side in zip(grid, (width, height), strict=True):
        plane.mul_(2.0 / max(side - 1, 1)).sub_(1.0)
    view = grid.view(2, groups, TAPS * height, width).permute(1, 2, 3, 0)
    taps = F.grid_sample(features.view(groups, -1, height, width), view, padding_mode="zeros", align_corners=True)
    taps *= mask.view(groups, 1, TAPS * height, width)
    return taps.view(features.shape[0] * TAPS, height * width)


class Propagation(nn.Module):
    """Second-order propagation over the neighbours, backward in time, then forward (E2FGVI, section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        directions = ("backward_", "forward_")
        self.deform_align = nn.ModuleDict({name: DeformableAlignment() for name in directions})
        self.backbone = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Conv2d((2 + index) * CHANNELS, CHANNELS, 3, 1, 1),
                    nn.LeakyReLU(0.1, inplace=True),
                    nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1),
                )
                for index, name in enumerate(directions)
            }
        )
        self.fusion = nn.Conv2d(2 * CHANNELS, CHANNELS, 1)

    def forward(self, features: Tensor, forward_flows: Tensor, backward_flows: Tensor) -> Tensor:
        """features [L, 128, h, w]; flows [L - 1, 2, h, w] between adjacent neighbours -> [L, 128, h, w]."""
        frames = features.shape[0]
        backward = self._pass("backward_", features, forward_flows, range(frames - 1, -1, -1), None)
        forward = self._pass("forward_", features, backward_flows, range(frames), backward)
        work = self.fusion.weight.dtype
        fused = [self.fusion(torch.cat(pair, dim=1).to(work)).float() for pair in zip(backward, forward, strict=True)]
        return torch.cat(fused).add_(features)

    def _pass(
        self, name: str, features: Tensor, flows: Tensor, order: range, others: list[Tensor] | None
    ) -> list[Tensor]:
        """One direction: the features of all frames, in the clip's order."""
        align, backbone = self.deform_align[name], self.backbone[name]
        work = self.fusion.weight.dtype
        done: list[Tensor] = []
        for step, index in enumerate(order):
            current = features[index : index + 1]
            if step == 0:
                aligned = torch.zeros_like(current)
            else:
                # Both directions index the flows by the step, as the published weights were trained.
                flow1 = flows[step - 1 : step]
                before = done[-2] if step > 1 else torch.zeros_like(current)
                flow2 = flow1 + warp(flows[step - 2 : step - 1], flow1) if step > 1 else torch.zeros_like(flow1)
                condition = torch.cat((warp(done[-1], flow1), current, warp(before, flow2)), dim=1)
                aligned = align(torch.cat((done[-1], before), dim=1), condition, flow1, flow2)
            parts = [current, aligned] if others is None else [current, others[index], aligned]
            x = torch.cat(parts, dim=1).to(work).contiguous(memory_format=torch.channels_last)
            done.append(aligned + backbone(x).float().contiguous())
        return done if others is not None else done[::-1]

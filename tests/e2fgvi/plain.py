"""E2FGVI once more, as plainly as the specification reads: what the fast network is compared with, and timed against.

Nothing is shared with models/e2fgvi: torchvision's deformable convolution, rolled copies of keys and values made one
by one, fold and unfold, every frame decoded whole, nothing kept between calls.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d


class PlainE2FGVI:
    """Runs on a state dict under the official names."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def _conv(self, name: str, x: Tensor, **how: int) -> Tensor:
        return F.conv2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], **how)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    @torch.inference_mode()
    def __call__(self, frames: Tensor, neighbours: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """frames [1, T, 3, H, W] -> output [T, 3, H, W], flows [1, L - 1, 2, h, w] (at least two neighbours)."""
        pictures = frames[0]
        small = F.interpolate(pictures[:neighbours] / 2 + 0.5, scale_factor=0.25, mode="bilinear", align_corners=True)
        forward, backward = self._spynet(small[:-1], small[1:]), self._spynet(small[1:], small[:-1])
        features = self._encoder(pictures)
        features = torch.cat((self._propagate(features[:neighbours], forward, backward), features[neighbours:]))
        size = (features.shape[-2], features.shape[-1])
        x = self._linear("ss.embedding", F.unfold(features, 7, 1, 3, 3).transpose(1, 2))
        grid = ((size[0] - 1) // 3 + 1, (size[1] - 1) // 3 + 1)
        x = x.view(-1, *grid, 512)
        for index in range(8):
            x = self._block(f"transformer.{index}", x, size)
        x = self._linear("sc.embedding", x.flatten(1, 2)).transpose(1, 2)
        folded = F.fold(x, size, 7, 1, 3, 3)
        if "sc.bias" in self.state:
            folded = folded + self.state["sc.bias"]
        else:
            folded = self._conv("sc.bias_conv", folded, padding=1)
        return self._decoder(features + folded), (forward[None], backward[None])

    def _encoder(self, x: Tensor) -> Tensor:
        middle = x
        for layer, stride, groups in zip(
            range(0, 18, 2), (2, 1, 2, 1, 1, 1, 1, 1, 1), (1,) * 5 + (2, 4, 8, 1), strict=True
        ):
            if layer == 8:
                middle = x
            if layer > 8:
                parts = zip(middle.chunk(groups, 1), x.chunk(groups, 1), strict=True)
                x = torch.cat([part for pair in parts for part in pair], dim=1)
            x = F.leaky_relu(self._conv(f"encoder.layers.{layer}", x, stride=stride, padding=1, groups=groups), 0.2)
        return x

    def _decoder(self, x: Tensor) -> Tensor:
        for name in ("decoder.0.conv", "decoder.2", "decoder.4.conv"):
            if name.endswith("conv"):
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = F.leaky_relu(self._conv(name, x, padding=1), 0.2)
        return torch.tanh(self._conv("decoder.6", x, padding=1))

    def _spynet(self, reference: Tensor, supporting: Tensor) -> Tensor:
        height, width = reference.shape[-2:]
        up = (math.ceil(height / 32) * 32, math.ceil(width / 32) * 32)
        mean = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
        std = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
        levels = []
        for picture in (reference, supporting):
            picture = F.interpolate(picture, size=up, mode="bilinear", align_corners=False)
            pyramid = [(picture - mean) / std]
            for _ in range(5):
                pyramid.insert(0, F.avg_pool2d(pyramid[0], 2, 2))
            levels.append(pyramid)
        flow = torch.zeros(reference.shape[0], 2, up[0] // 32, up[1] // 32)
        for level, (ours, theirs) in enumerate(zip(*levels, strict=True)):
            if level:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            x = torch.cat((ours, _warp(theirs, flow, "border"), flow), 1)
            for layer in range(5):
                x = self._conv(f"update_spynet.basic_module.{level}.basic_module.{layer}.conv", x, padding=3)
                x = F.relu(x) if layer < 4 else x
            flow = flow + x
        flow = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
        return torch.stack((flow[:, 0] * width / up[1], flow[:, 1] * height / up[0]), 1)

    def _propagate(self, x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        count = x.shape[0]
        done: dict[str, dict[int, Tensor]] = {"backward_": {}, "forward_": {}}
        for name, flows, order in (
            ("backward_", forward, list(range(count))[::-1]),
            ("forward_", backward, list(range(count))),
        ):
            zero = torch.zeros_like(x[:1])
            last, before = zero, zero
            for step, index in enumerate(order):
                current, aligned = x[index : index + 1], zero
                if step:
                    flow1 = flows[step - 1][None]
                    flow2 = flow1 + _warp(flows[step - 2][None], flow1) if step > 1 else torch.zeros_like(flow1)
                    condition = torch.cat((_warp(last, flow1), current, _warp(before, flow2)), 1)
                    aligned = self._align(name, torch.cat((last, before), 1), condition, flow1, flow2)
                parts = [current, *([done["backward_"][index]] if name == "forward_" else []), aligned]
                y = self._conv(f"feat_prop_module.backbone.{name}.0", torch.cat(parts, 1), padding=1)
                y = self._conv(f"feat_prop_module.backbone.{name}.2", F.leaky_relu(y, 0.1), padding=1)
                last, before = aligned + y, last
                if step == 0:
                    before = zero
                done[name][index] = last
        both = [torch.cat((done["backward_"][i], done["forward_"][i]), 1) for i in range(count)]
        return self._conv("feat_prop_module.fusion", torch.cat(both)) + x

    def _align(self, name: str, x: Tensor, condition: Tensor, flow1: Tensor, flow2: Tensor) -> Tensor:
        name = f"feat_prop_module.deform_align.{name}"
        y = torch.cat((condition, flow1, flow2), 1)
        for layer in (0, 2, 4, 6):
            y = self._conv(f"{name}.conv_offset.{layer}", y, padding=1)
            y = F.leaky_relu(y, 0.1) if layer < 6 else y
        first, second, mask = y.chunk(3, 1)
        offsets = 10 * torch.tanh(torch.cat((first, second), 1))
        offsets = offsets + torch.cat((flow1.flip(1).repeat(1, 72, 1, 1), flow2.flip(1).repeat(1, 72, 1, 1)), 1)
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return deform_conv2d(x, offsets, weight, bias, padding=1, mask=mask.sigmoid())

    def _block(self, name: str, x: Tensor, size: tuple[int, int]) -> Tensor:
        def norm(which: str, y: Tensor) -> Tensor:
            return F.layer_norm(y, (512,), self.state[f"{name}.{which}.weight"], self.state[f"{name}.{which}.bias"])

        x = x + self._attention(name, norm("norm1", x))
        y = self._linear(f"{name}.mlp.conv1.0", norm("norm2", x).flatten(1, 2)).transpose(1, 2)
        counts = F.fold(torch.ones_like(y), size, 7, 1, 3, 3)
        y = F.unfold(F.fold(y, size, 7, 1, 3, 3) / counts, 7, 1, 3, 3).transpose(1, 2)
        return x + self._linear(f"{name}.mlp.conv2.1", F.gelu(y)).view(x.shape)

    def _attention(self, name: str, x: Tensor) -> Tensor:
        frames, height, width, _ = x.shape
        rows, columns = height // 5, width // 9
        query, key, value = self._linear(f"{name}.attn.qkv", x).chunk(3, -1)
        keys, values, biases = [_windows(key)], [_windows(value)], [torch.zeros(frames * 45)]
        for dy, dx in ((-2, -4), (-2, 4), (2, -4), (2, 4)):
            kept = torch.ones(5, 9, dtype=torch.bool)
            kept[: -2 if dy < 0 else 5, : -4 if dx < 0 else 9][2 if dy > 0 else 0 :, 4 if dx > 0 else 0 :] = False
            kept = kept.flatten().repeat(frames)
            keys.append(_windows(key.roll((dy, dx), (1, 2)))[:, :, kept])
            values.append(_windows(value.roll((dy, dx), (1, 2)))[:, :, kept])
            biases.append(torch.zeros(int(kept.sum())))
        split = x.view(frames, rows, 5, columns, 9, 512).permute(0, 1, 3, 5, 2, 4).flatten(4)
        pooled = self._linear(f"{name}.pool_layers.0", split).squeeze(-1)  # [T, rows, columns, 512]
        far_key, far_value = self._linear(f"{name}.attn.qkv", pooled).chunk(3, -1)[1:]
        outside = F.pad(torch.zeros(frames, rows, columns, 1), (0, 0, 4, 4, 2, 2), value=-100.0)
        far = [_surroundings(F.pad(part, (0, 0, 4, 4, 2, 2)), rows, columns) for part in (far_key, far_value)]
        keys.append(far[0].unflatten(-1, (4, 128)).transpose(1, 2))
        values.append(far[1].unflatten(-1, (4, 128)).transpose(1, 2))
        bias = torch.cat(biases).expand(rows * columns, -1)
        bias = torch.cat((bias, _surroundings(outside, rows, columns).squeeze(-1)), 1)
        scores = _windows(query) / math.sqrt(128) @ torch.cat(keys, 2).transpose(2, 3) + bias[:, None, None]
        seen = scores.softmax(-1) @ torch.cat(values, 2)  # [windows, 4, T * 45, 128]
        seen = seen.view(rows, columns, 4, frames, 5, 9, 128).permute(3, 0, 4, 1, 5, 2, 6).reshape(x.shape)
        return self._linear(f"{name}.attn.proj", seen)


def _warp(x: Tensor, flow: Tensor, padding: str = "zeros") -> Tensor:
    height, width = x.shape[-2:]
    y, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack((2 * (xs + flow[:, 0]) / (width - 1) - 1, 2 * (y + flow[:, 1]) / (height - 1) - 1), -1)
    return F.grid_sample(x, grid, padding_mode=padding, align_corners=True)


def _windows(x: Tensor) -> Tensor:
    """[T, fh, fw, 512] -> [windows, 4, T * 45, 128]"""
    frames, height, width, _ = x.shape
    x = x.view(frames, height // 5, 5, width // 9, 9, 4, 128)
    return x.permute(1, 3, 5, 0, 2, 4, 6).reshape(-1, 4, frames * 45, 128)


def _surroundings(x: Tensor, rows: int, columns: int) -> Tensor:
    """The 5x9 neighbourhood of every window in a padded grid of windows: [T, ., ., C] -> [windows, T * 45, C]"""
    parts = [x[:, r : r + 5, c : c + 9].flatten(0, 2) for r in range(rows) for c in range(columns)]
    return torch.stack(parts)

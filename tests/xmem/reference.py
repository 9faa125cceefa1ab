"""XMem written the plain way, from the specification: no folding, no batching, dense affinities, lists of tensors.

Slow and obvious. The tests hold the real one against it where there are no recordings, the benchmark for its speed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tam_edit.models.xmem import MemorySettings, manifest

State = dict[str, Tensor]
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_state(seed: int = 0) -> State:
    """Weights of plausible scale under the official names; not those of the recordings."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in manifest().items():
        value = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            value = torch.zeros(shape, dtype=torch.int64)
        elif name.endswith("running_var"):
            value = 1 + 0.2 * value.abs()
        elif len(shape) >= 2:
            value = value * (1.6 / value[0].numel()) ** 0.5
        elif name.endswith("weight"):
            value = (0.35 if ".bn3." in name or (".bn2." in name and "value" in name) else 1.0) * (1 + 0.1 * value)
        else:
            value = 0.05 * value
        state[name] = value
    state["decoder.pred.weight"] *= 0.5
    state["decoder.pred.bias"] = torch.full((1,), -3.0)
    return state


class Reference:
    """The network's three parts for one object at a time."""

    def __init__(self, state: State, dtype: torch.dtype = torch.float32) -> None:
        self.state = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()
        }
        self.dtype = dtype

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def norm(self, x: Tensor, name: str) -> Tensor:
        parts = (self.state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-5)

    def residual(self, x: Tensor, name: str, stride: int, convs: int) -> Tensor:
        y = x
        for n in range(1, convs + 1):
            strided = 2 if convs == 3 else 1
            y = self.norm(self.conv(y, f"{name}.conv{n}", stride if n == strided else 1), f"{name}.bn{n}")
            y = y.relu() if n < convs else y
        if f"{name}.downsample.0.weight" in self.state:
            x = self.norm(self.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        return (x + y).relu()

    def encode_key(self, image: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        x = self.norm(self.conv(image, "key_encoder.conv1", 2), "key_encoder.bn1").relu()
        x = F.max_pool2d(x, 3, 2, 1)
        scales = []
        for stage, blocks in (("res2", 3), ("layer2", 4), ("layer3", 6)):
            for n in range(blocks):
                x = self.residual(x, f"key_encoder.{stage}.{n}", 2 if n == 0 and stage != "res2" else 1, 3)
            scales.append(x)
        key = self.conv(x, "key_proj.key_proj")
        shrinkage = self.conv(x, "key_proj.d_proj") ** 2 + 1
        return scales, key, shrinkage, torch.sigmoid(self.conv(x, "key_proj.e_proj"))

    def group_residual(self, x: Tensor, name: str) -> Tensor:
        y = self.conv(self.conv(x.relu(), f"{name}.conv1").relu(), f"{name}.conv2")
        return y + (self.conv(x, f"{name}.downsample") if f"{name}.downsample.weight" in self.state else x)

    def attention(self, x: Tensor, name: str) -> Tensor:
        def mlp(v: Tensor) -> Tensor:
            for index in (1, 3):
                part = f"{name}.ChannelGate.mlp.{index}"
                v = F.linear(v.relu() if index == 3 else v, self.state[f"{part}.weight"], self.state[f"{part}.bias"])
            return v

        x = x * torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))[..., None, None]
        planes = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.conv(planes, f"{name}.SpatialGate.spatial.conv"))

    def fuse(self, f16: Tensor, x: Tensor, name: str) -> Tensor:
        g = self.group_residual(torch.cat([f16, x], 1), f"{name}.block1")
        return self.group_residual(g + self.attention(g, f"{name}.attention"), f"{name}.block2")

    def gated(self, x: Tensor, hidden: Tensor, name: str) -> Tensor:
        f, u, n = self.conv(torch.cat([x, hidden], 1), f"{name}.transform").chunk(3, 1)
        return torch.sigmoid(f) * hidden * (1 - torch.sigmoid(u)) + torch.sigmoid(u) * torch.tanh(n)

    def encode_value(
        self, image: Tensor, f16: Tensor, masks: Tensor, index: int, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        others = masks.sum(0) - masks[index]
        x = self.conv(torch.cat([image, masks[index][None, None], others[None, None]], 1), "value_encoder.conv1", 2)
        x = F.max_pool2d(self.norm(x, "value_encoder.bn1"), 3, 2, 1).relu()
        for stage in ("layer1", "layer2", "layer3"):
            for n in range(2):
                x = self.residual(x, f"value_encoder.{stage}.{n}", 2 if n == 0 and stage != "layer1" else 1, 2)
        value = self.fuse(f16, x, "value_encoder.fuser")
        return value, self.gated(value, hidden, "value_encoder.hidden_reinforce")

    def decode(self, scales: list[Tensor], readout: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        def doubled(x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

        f4, f8, f16 = scales
        g16 = self.fuse(f16, torch.cat([readout, hidden], 1), "decoder.fuser")
        g8 = self.group_residual(self.conv(f8, "decoder.up_16_8.skip_conv") + doubled(g16), "decoder.up_16_8.out_conv")
        g4 = self.group_residual(self.conv(f4, "decoder.up_8_4.skip_conv") + doubled(g8), "decoder.up_8_4.out_conv")
        logits = self.conv(g4.relu(), "decoder.pred")
        small8 = F.interpolate(g8, scale_factor=1 / 2, mode="area")
        small4 = F.interpolate(torch.cat([g4, logits], 1), scale_factor=1 / 4, mode="area")
        name = "decoder.hidden_update"
        x = (
            self.conv(g16, f"{name}.g16_conv")
            + self.conv(small8, f"{name}.g8_conv")
            + self.conv(small4, f"{name}.g4_conv")
        )
        logits = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
        return logits, self.gated(x, hidden, name)


def affinity(key: Tensor, shrinkage: Tensor, query: Tensor, selection: Tensor, top_k: int | None) -> Tensor:
    """[N, 64], [N], [n, 64], [n, 64] -> [N, n], columns sum to 1; by differences, as the formula stands."""
    difference = key[:, None] - query[None]
    similar = -(selection[None] * difference**2).sum(2) * shrinkage[:, None] / 8
    if top_k is not None and top_k < len(similar):
        limit = similar.topk(top_k, dim=0).values[-1]
        similar = similar.masked_fill(similar < limit, -torch.inf)
    return similar.softmax(0)


def aggregate(planes: Tensor) -> Tensor:
    p = torch.cat([(1 - planes).prod(0, keepdim=True), planes]).clamp(1e-7, 1 - 1e-7)
    return torch.log(p / (1 - p)).softmax(0)


class ReferenceTracker:
    """One clip whose objects all enter on the first frame; masks [K, H, W] on some frames, for all objects."""

    def __init__(self, network: Reference, settings: MemorySettings) -> None:
        self.network, self.settings = network, settings
        # Each element: key [64], shrinkage, selection [64], values [K, 512], usage, life; frames in working memory.
        self.work: list[dict[str, Tensor]] = []
        self.long: list[dict[str, Tensor]] = []
        self.hidden: Tensor | None = None
        self.time, self.last = 0, 0

    def step(self, frame: Tensor, masks: Tensor | None = None, end: bool = False) -> Tensor:
        """uint8 [H, W, 3] -> [1 + K, H, W]."""
        dtype, (height, width) = self.network.dtype, frame.shape[:2]
        mean, deviation = (torch.tensor(v, dtype=dtype)[:, None, None] for v in (MEAN, DEVIATION))
        image = ((frame.permute(2, 0, 1).to(dtype) / 255 - mean) / deviation)[None]
        rows, columns = -height % 16, -width % 16
        border = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        image = F.pad(image, border)
        remember = (masks is not None or self.time - self.last >= self.settings.mem_every) and not end
        scales, key, shrinkage, selection = self.network.encode_key(image)
        grid = key.shape[-2:]
        flat = {"key": key[0].flatten(1).T, "shrinkage": shrinkage.flatten(), "selection": selection[0].flatten(1).T}
        if masks is None:
            assert self.hidden is not None
            readout = self.read(flat).unflatten(2, grid)
            decoded = [self.network.decode(scales, r[None], h[None]) for r, h in zip(readout, self.hidden, strict=True)]
            probability = aggregate(torch.sigmoid(torch.cat([logits[:, 0] for logits, _ in decoded])))
            if not remember and not end:
                self.hidden = torch.cat([hidden for _, hidden in decoded])
        else:
            probability = aggregate(F.pad(masks.to(dtype), border))
            if self.hidden is None:
                self.hidden = torch.zeros((len(masks), 64, *grid), dtype=dtype)
        if remember:
            planes = probability[1:]
            coded = [
                self.network.encode_value(image, scales[2], planes, k, self.hidden[k][None]) for k in range(len(planes))
            ]
            values = torch.stack([value[0].flatten(1).T for value, _ in coded])  # [K, n, 512]
            count = values.shape[1]
            self.work.append(
                {**flat, "values": values, "usage": torch.zeros(count), "life": torch.full((count,), 1e-7)}
            )
            self.hidden = torch.cat([hidden for _, hidden in coded])
            if self.settings.enable_long_term and len(self.work) >= self.settings.max_mid_term_frames:
                self.consolidate()
            self.last = self.time
        self.time += 1
        return probability[:, border[2] : border[2] + height, border[0] : border[0] + width]

    def read(self, query: dict[str, Tensor]) -> Tensor:
        held = [*self.long, *self.work]
        key, shrinkage = (torch.cat([e[part] for e in held]) for part in ("key", "shrinkage"))
        weights = affinity(key, shrinkage, query["key"], query["selection"], self.settings.top_k)
        used = weights.sum(1).split([len(e["key"]) for e in held])
        for element, usage in zip(held, used, strict=True):
            element["usage"] = element["usage"] + usage
            element["life"] = element["life"] + 1
        return torch.cat([e["values"] for e in held], 1).transpose(1, 2) @ weights  # [K, 512, n]

    def consolidate(self) -> None:
        settings = self.settings
        stop = len(self.work) - settings.min_mid_term_frames + 1
        middle, self.work = self.work[1:stop], [self.work[0], *self.work[stop:]]
        room = settings.max_long_term_elements - settings.num_prototypes
        long = (
            {part: torch.cat([e[part] for e in self.long]) for part in ("key", "shrinkage", "usage", "life")}
            if self.long
            else None
        )
        if long is not None and len(long["key"]) > room:
            values = torch.cat([e["values"] for e in self.long], 1)
            order = (long["usage"] / long["life"]).sort(stable=True).indices
            kept = order[len(order) - room :].sort().values
            self.long = [{**{part: long[part][kept] for part in long}, "values": values[:, kept]}]
        joined = {
            part: torch.cat([e[part] for e in middle]) for part in ("key", "shrinkage", "selection", "usage", "life")
        }
        values = torch.cat([e["values"] for e in middle], 1)
        chosen = (joined["usage"] / joined["life"]).topk(min(settings.num_prototypes, len(joined["usage"]))).indices
        weights = affinity(joined["key"], joined["shrinkage"], joined["key"][chosen], joined["selection"][chosen], None)
        self.long.append(
            {
                "key": joined["key"][chosen],
                "shrinkage": weights.T @ joined["shrinkage"],
                "values": (values.transpose(1, 2) @ weights).transpose(1, 2),
                "usage": torch.zeros(len(chosen)),
                "life": torch.full((len(chosen),), 1e-7),
            }
        )

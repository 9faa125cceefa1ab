"""XMem's network for inference: key encoder, value encoder, decoder; work on the image is done once for all objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tam_edit.errors import UsageError
from tam_edit.models.checkpoint import load_strict, read_state, usable_device
from tam_edit.models.xmem.layers import BasicBlock, Bottleneck, Conv, Fusion, GatedUpdate, GroupResidual, Weights

STRIDE = 16
KEY, HIDDEN = 64, 64
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Objects that go through the decoder together: enough to fill the processor, few enough to bound its memory.
_BATCH = 4
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_STEM = "value_encoder.conv1.weight"


@dataclass(frozen=True)
class Features:
    """What one frame is to the network: three scales, and how its pixels are looked up in memory (float32)."""

    f16: Tensor  # [1, 1024, H/16, W/16]
    f8: Tensor  # [1, 512, H/8, W/8]
    f4: Tensor  # [1, 256, H/4, W/4]
    key: Tensor  # [HW/256, 64], one row for each position
    shrinkage: Tensor  # [HW/256]
    selection: Tensor  # [HW/256, 64]


class KeyEncoder(nn.Module):
    """A ResNet-50 without its last stage (He et al., 2016)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.stem = weights.normed("key_encoder.conv1", "key_encoder.bn1", 2)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Bottleneck(weights, f"key_encoder.{stage}.{n}", _stride(stage, n)) for n in range(blocks)))
            for stage, blocks in (("res2", 3), ("layer2", 4), ("layer3", 6))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """[1, 3, H, W] -> [1, 256, H/4, W/4], [1, 512, H/8, W/8], [1, 1024, H/16, W/16], in its own precision."""
        x = image.to(self.stem.weight.dtype, memory_format=torch.channels_last)
        x = F.max_pool2d(self.stem(x, relu=True), 3, 2, 1)
        scales = []
        for stage in self.stages:
            x = stage(x)
            scales.append(x)
        return scales


class Network(nn.Module):
    """XMem (Cheng and Schwing, ECCV 2022) with batch norm folded; made by `load`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        weights = Weights(state)
        self.key_encoder = KeyEncoder(weights)
        self.swift_key_encoder: KeyEncoder | None = None  # in bfloat16, where the rest is not
        self.key_projection = weights.stacked("key_proj.key_proj", "key_proj.e_proj")
        self.shrinkage_projection = weights.one_plane("key_proj.d_proj")

        stem = weights.normed("value_encoder.conv1", "value_encoder.bn1", 2)
        self.stem_image = _inputs(stem, slice(0, 3), bias=True)
        self.stem_mask = _inputs(stem, slice(3, 5), bias=False)
        self.value_stages = nn.Sequential(
            *(
                BasicBlock(weights, f"value_encoder.{stage}.{n}", _stride(stage, n))
                for stage in ("layer1", "layer2", "layer3")
                for n in range(2)
            )
        )
        self.value_fusion = Fusion(weights, "value_encoder.fuser", 1024)
        self.deep_update = GatedUpdate(weights, "value_encoder.hidden_reinforce")

        self.fusion = Fusion(weights, "decoder.fuser", 1024)
        self.skip8 = weights.conv("decoder.up_16_8.skip_conv")
        self.block8 = GroupResidual(weights, "decoder.up_16_8.out_conv")
        self.skip4 = weights.conv("decoder.up_8_4.skip_conv")
        self.block4 = GroupResidual(weights, "decoder.up_8_4.out_conv")
        self.prediction = weights.one_plane("decoder.pred")
        self.update16 = weights.conv("decoder.hidden_update.g16_conv")
        self.update8 = weights.conv("decoder.hidden_update.g8_conv")
        self.update4 = weights.conv("decoder.hidden_update.g4_conv")
        self.update = GatedUpdate(weights, "decoder.hidden_update")

        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)
        self.precision = "fp32"
        self.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        return self.mean.device

    @property
    def dtype(self) -> torch.dtype:
        """What the decoder and the value encoder compute in, and memory holds values in."""
        return self.update16.weight.dtype

    def to_precision(self, precision: str) -> Network:
        """Compute in fp32, bf16 or fp16 from now on.

        bf16 on a CPU concerns the key encoder only, and only frames with one object. There 1x1 convolutions prevail,
        which gain most; the 3x3 ones of the rest are as fast in float32, by `Winograd`, and stay exact. With several
        objects little would be gained, as the frame is encoded once for all, and more lost: rounding decides between
        objects that are equally likely.
        """
        self.precision = precision
        mixed = precision == "bf16" and self.device.type == "cpu"
        self.swift_key_encoder = None
        for module in self.modules():
            if isinstance(module, Conv):
                module.forget()
        self.to(torch.float32 if mixed else PRECISIONS[precision])
        if mixed:
            self.swift_key_encoder = deepcopy(self.key_encoder).to(torch.bfloat16)
        return self

    def normalised(self, frame: Tensor) -> Tensor:
        """[3, H, W] in 0..255 -> float32 [1, 3, H, W], as the encoders expect it."""
        return ((frame.float() / 255 - self.mean) / self.deviation)[None]

    def encode_frame(self, image: Tensor, objects: int = 1) -> Features:
        """[1, 3, H, W], normalised, H and W multiples of 16 -> features of a frame in which to find so many objects."""
        encoder = self.key_encoder if self.swift_key_encoder is None or objects > 1 else self.swift_key_encoder
        f4, f8, f16 = (self._cast(scale) for scale in encoder(image))
        projected = self.key_projection(f16)[0].float().flatten(1).T.contiguous()  # [HW/256, 64 + 64]
        key, selection = projected.split(KEY, 1)
        shrinkage = self.shrinkage_projection(f16).float().flatten() ** 2 + 1
        return Features(f16, f8, f4, key.contiguous(), shrinkage, torch.sigmoid(selection))

    def encode_value(
        self, image: Tensor, features: Features, masks: Tensor, hidden: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Values of K objects, float32 [K, 512, h, w], and, if a hidden state is given, its deep update.

        image [1, 3, H, W] normalised; masks float [K, H, W] in 0..1; hidden float32 [K, 64, h, w] or None.
        """
        others = masks.sum(0, keepdim=True) - masks
        planes = self._cast(torch.stack([masks, others], 1))
        stem = self.stem_image(self._cast(image))
        part = self.value_fusion.image_part(features.f16)
        values, updated = [], []
        for objects in _batches(len(masks)):
            # The official stem pools before the ReLU; the two commute, and this order allows working in place.
            x = F.max_pool2d(
                self.stem_mask(planes[objects], add=stem.expand(len(planes[objects]), -1, -1, -1), relu=True), 3, 2, 1
            )
            value = self.value_fusion(part, self.value_stages(x))
            values.append(value.float())
            if hidden is not None:
                updated.append(self.deep_update(value, hidden[objects].to(value.dtype)).float())
        return torch.cat(values), torch.cat(updated) if hidden is not None else None

    def decode(self, features: Features, readout: Tensor, hidden: Tensor, update: bool) -> tuple[Tensor, Tensor | None]:
        """Logits of K objects, float32 [K, H, W], and, if asked, the updated hidden state.

        readout float32 [K, 512, h, w], hidden float32 [K, 64, h, w].
        """
        part = self.fusion.image_part(features.f16)
        skip8, skip4 = self.skip8(features.f8), self.skip4(features.f4)
        all_logits, updated = [], []
        for objects in _batches(len(readout)):
            state = self._cast(hidden[objects])
            g16 = self.fusion(part, torch.cat([self._cast(readout[objects]), state], 1))
            g8 = self.block8(_doubled(g16).add_(skip8))
            pooled = []
            # The largest maps are made for one object at a time: memory for several goes back to the system after each
            # operation and comes again page by page, which takes as long as a third of the convolutions.
            for one in g8.split(1):
                g4 = self.block4(_doubled(one).add_(skip4))
                smaller = F.avg_pool2d(g4, 4) if update else None
                logits = self.prediction(g4.relu_())
                if smaller is not None:
                    pooled.append(torch.cat([smaller, F.avg_pool2d(logits, 4)], 1))
                logits = F.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=False)
                all_logits.append(logits[:, 0])
            if update:
                g4 = torch.cat(pooled).contiguous(memory_format=torch.channels_last)
                summed = self.update16(g16, add=self.update8(F.avg_pool2d(g8, 2), add=self.update4(g4)))
                updated.append(self.update(summed, state).float())
        return torch.cat(all_logits), torch.cat(updated) if update else None

    def _cast(self, x: Tensor) -> Tensor:
        return x.to(self.dtype, memory_format=torch.channels_last)


def load(
    checkpoint: str | Path | Mapping[str, Tensor], device: str | torch.device = "cpu", precision: str = "fp32"
) -> Network:
    """Load XMem from a path or a state dict under the official names, strict both ways.

    A single-object checkpoint (4 input planes of the value encoder) is accepted. precision: fp32 (exact), bf16, fp16.
    Raises WeightsMissing, WeightsMismatch, WeightsUnsafe, UsageError, and EngineError for a device that cannot be had.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown: give one of {', '.join(PRECISIONS)}")
    place = usable_device(device)
    if precision == "fp16" and place.type == "cpu":
        raise UsageError("fp16 needs a GPU: on a CPU give bf16 (twice as fast where it counts) or fp32 (exact)")
    origin = "XMem" if isinstance(checkpoint, Mapping) else f"XMem from '{checkpoint}'"
    state = read_state(checkpoint)
    stem = state.get(_STEM)
    if stem is not None and stem.ndim == 4 and stem.shape[1] == 4:
        state[_STEM] = torch.cat([stem, torch.zeros_like(stem[:, :1])], 1)
    slots = _Slots(manifest())
    # Counts how often training touched a norm: no part of the result, and old files lack it.
    load_strict(slots, state, keymap=slots.slot_of, ignorable=_is_counter, official=manifest(), origin=origin)
    return Network(slots.tensors()).to(place).to_precision(precision)


def manifest() -> dict[str, list[int]]:
    """The official names of XMem's tensors and their shapes."""
    return dict(json.loads(Path(__file__).with_name("manifest.json").read_text()))


class _Slots(nn.Module):
    """Room for the official tensors, to check a checkpoint against before anything is built from it."""

    def __init__(self, shapes: Mapping[str, list[int]]) -> None:
        super().__init__()
        self.names = list(shapes)
        for name, shape in shapes.items():
            kind = torch.int64 if _is_counter(name) else torch.float32
            self.register_buffer(self.slot_of(name), torch.empty(shape, dtype=kind))

    @staticmethod
    def slot_of(name: str) -> str:
        return name.replace(".", "/")

    def tensors(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(self.slot_of(name)) for name in self.names}


def _is_counter(name: str) -> bool:
    return name.endswith(".num_batches_tracked")


def _stride(stage: str, block: int) -> int:
    return 2 if block == 0 and stage in ("layer2", "layer3") else 1


def _inputs(conv: Conv, inputs: slice, bias: bool) -> Conv:
    return Conv(conv.weight[:, inputs], conv.bias if bias else None, conv.stride)


def _batches(objects: int) -> Iterator[slice]:
    return (slice(start, start + _BATCH) for start in range(0, objects, _BATCH))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

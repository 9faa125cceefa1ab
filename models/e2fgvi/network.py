"""The E2FGVI network, one class for both variants: encoder, flows, propagation, transformer, decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tam_edit.errors import EngineError
from tam_edit.models.e2fgvi.decoder import Decoder, Span
from tam_edit.models.e2fgvi.flow import SpyNet
from tam_edit.models.e2fgvi.propagation import CHANNELS, Propagation
from tam_edit.models.e2fgvi.transformer import PADDING, PATCH, STRIDE, WINDOW, Block, Composition, Patches

Variant = Literal["hq", "base"]
SHRINK = 4  # features are a quarter of the picture
BLOCKS = 8
#: Heights and widths that fill whole attention windows: multiples of 60 and 108.
MULTIPLE_HW = (WINDOW[0] * STRIDE * SHRINK, WINDOW[1] * STRIDE * SHRINK)
#: The only size of the variant "base".
BASE_HW = (240, 432)

Flows = tuple[Tensor, Tensor]


class Encoder(nn.Module):
    """Pictures [B, 3, H, W] -> features [B, 128, H/4, W/4]; later layers see the middle one again."""

    _PLAIN = ((3, 64, 2), (64, 64, 1), (64, 128, 2), (128, 256, 1), (256, 384, 1))
    _GROUPED = ((640, 512, 2), (768, 384, 4), (640, 256, 8), (512, CHANNELS, 1))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in self._PLAIN:
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.2, inplace=True)]
        for inputs, outputs, groups in self._GROUPED:
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, groups=groups), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        middle = x
        for index, layer in enumerate(self.layers):
            if index == 8:
                middle = x
            if isinstance(layer, nn.Conv2d) and index > 8:
                x = _interleave(middle, x, layer.groups)
            x = layer(x)
        return x


def _interleave(a: Tensor, b: Tensor, groups: int) -> Tensor:
    """Concatenate channels group by group: [B, C, h, w], [B, D, h, w] -> [B, C + D, h, w]."""
    parts = [t.permute(0, 2, 3, 1).reshape(*t.shape[:1], *t.shape[2:], groups, -1) for t in (a, b)]
    return torch.cat(parts, dim=-1).flatten(3).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Trace:
    """Everything on the way of one call, for comparison with recordings. T frames, L neighbours, h = H/4."""

    encoder: Tensor  # [T, 128, h, w]
    flows: Flows  # [1, L - 1, 2, h, w] each
    propagated: Tensor  # [1, L, 128, h, w]
    tokens: Tensor  # [1, T, fh, fw, 512]
    blocks: tuple[Tensor, ...]  # after each transformer block, like tokens
    output: Tensor  # [T, 3, H, W]


class E2FGVI(nn.Module):
    """End-to-end flow-guided video inpainting (Li et al., CVPR 2022), variants "hq" (any size) and "base" (432x240).

    The parts are methods of their own, so that a clip's features and flows are computed once per frame and pair.
    Weights are held in the working precision; flows, norms, sums and softmax stay float32.
    """

    def __init__(self, variant: Variant = "hq") -> None:
        super().__init__()
        self.variant: Variant = variant
        self.encoder = Encoder()
        self.decoder = Decoder(CHANNELS)
        self.feat_prop_module = Propagation()
        self.ss = Patches(CHANNELS)
        bias = None if variant == "hq" else (CHANNELS, BASE_HW[0] // SHRINK, BASE_HW[1] // SHRINK)
        self.sc = Composition(CHANNELS, bias)
        self.transformer = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.update_spynet = SpyNet()

    @property
    def device(self) -> torch.device:
        return self.sc.embedding.weight.device

    @property
    def precision(self) -> torch.dtype:
        return self.sc.embedding.weight.dtype

    @torch.inference_mode()
    def forward(self, frames: Tensor, neighbours: int) -> tuple[Tensor, Flows]:
        """Fill frames [1, T, 3, H, W] in -1..1, masked pixels 0, the first `neighbours` of them adjacent in time.

        Returns the output [T, 3, H, W] in -1..1 and the (forward, backward) flows [1, L - 1, 2, H/4, W/4] between
        the neighbours. Raises EngineError for shapes the network cannot take.
        """
        trace = self.trace(frames, neighbours)
        return trace.output, trace.flows

    @torch.inference_mode()
    def trace(self, frames: Tensor, neighbours: int) -> Trace:
        """The same with everything on the way."""
        self._check(frames, neighbours)
        pictures = frames[0].to(self.device, torch.float32)
        features = torch.cat([self.encode(picture) for picture in torch.split(pictures, 1)])
        small = [self.shrink(picture) for picture in torch.split(pictures[:neighbours], 1)]
        flows = self.join_flows([self.flow_pair(a, b) for a, b in pairwise(small)], features)
        propagated = self.propagate(features[:neighbours], flows)
        everything = torch.cat((propagated, features[neighbours:]))
        tokens = self.ss(everything)
        blocks = [tokens]
        size = (everything.shape[-2], everything.shape[-1])
        for block in self.transformer:
            blocks.append(block(blocks[-1], size, tokens.shape[0]))
        filled = self.sc(blocks[-1], size) + everything
        output = torch.cat([self.decode(picture) for picture in torch.split(filled, 1)])
        return Trace(
            encoder=features,
            flows=(flows[0][None], flows[1][None]),
            propagated=propagated[None],
            tokens=tokens[None],
            blocks=tuple(block[None] for block in blocks[1:]),
            output=output,
        )

    def encode(self, picture: Tensor) -> Tensor:
        """Features of one picture [1, 3, H, W] in -1..1 -> float32 [1, 128, H/4, W/4]."""
        encoded: Tensor = self.encoder(picture.to(self.precision))
        return encoded.float().contiguous()

    def shrink(self, picture: Tensor) -> Tensor:
        """What the flow network sees of a picture [1, 3, H, W] in -1..1: [1, 3, H/4, W/4] in 0..1."""
        size = (picture.shape[-2] // SHRINK, picture.shape[-1] // SHRINK)
        return F.interpolate((picture + 1) / 2, size=size, mode="bilinear", align_corners=True)

    def flow_pair(self, first: Tensor, second: Tensor) -> Flows:
        """Flow from the first shrunk picture to the second, and back: [1, 2, h, w] each."""
        both: Tensor = self.update_spynet(torch.cat((first, second)), torch.cat((second, first)))
        return both[:1], both[1:]

    def join_flows(self, pairs: Sequence[Flows], like: Tensor) -> Flows:
        """Stack the flows of adjacent pairs: [L - 1, 2, h, w] each, empty for a single neighbour."""
        if not pairs:
            none = like.new_zeros(0, 2, *like.shape[-2:])
            return none, none
        return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])

    def propagate(self, features: Tensor, flows: Flows) -> Tensor:
        """Let neighbours' features [L, 128, h, w] gather one another along the flows [L - 1, 2, h, w]."""
        gathered: Tensor = self.feat_prop_module(features, *flows)
        return gathered

    def transform(self, features: Tensor, queries: int) -> Tensor:
        """Features of T frames through the transformer; returns those of the first `queries` [queries, 128, h, w]."""
        size = (features.shape[-2], features.shape[-1])
        x: Tensor = self.ss(features)
        for block in self.transformer[:-1]:
            x = block(x, size, x.shape[0])
        # Only keys and values of the other frames are needed from here on.
        x = self.transformer[-1](x, size, queries)
        composed: Tensor = self.sc(x, size)
        return composed + features[:queries]

    def decode(self, features: Tensor, rows: Span | None = None, columns: Span | None = None) -> Tensor:
        """Features [1, 128, h, w] -> picture float32 [1, 3, H, W] in -1..1, or only these rows and columns of it."""
        x = features.to(self.precision).contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.decoder(x, rows, columns).float())

    def _check(self, frames: Tensor, neighbours: int) -> None:
        if frames.ndim != 5 or frames.shape[0] != 1 or frames.shape[2] != 3:
            raise EngineError(f"E2FGVI takes frames [1, T, 3, H, W], got {list(frames.shape)}")
        if not 1 <= neighbours <= frames.shape[1]:
            raise EngineError(f"{neighbours} neighbours of {frames.shape[1]} frames: give 1 to {frames.shape[1]}")
        height, width = frames.shape[-2:]
        if self.variant == "base" and (height, width) != BASE_HW:
            raise EngineError(
                f"the variant 'base' takes pictures of {BASE_HW[1]}x{BASE_HW[0]} only, got {width}x{height}: "
                "use e2fgvi.fill, which resizes, or the variant 'hq'"
            )
        tokens = [(side // SHRINK + 2 * PADDING - PATCH) // STRIDE + 1 for side in (height, width)]
        if height % SHRINK or width % SHRINK or any(n < m or n % m for n, m in zip(tokens, WINDOW, strict=True)):
            raise EngineError(
                f"E2FGVI takes pictures whose height is a multiple of {MULTIPLE_HW[0]} and whose width is a multiple "
                f"of {MULTIPLE_HW[1]}, got {width}x{height}: pad them by mirroring, as e2fgvi.fill does"
            )

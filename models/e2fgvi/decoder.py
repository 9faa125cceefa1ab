"""The decoder, for a part of the picture: only pixels that are put back need be made."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALE = 4
_SLOPE = 0.2
_RINGS = 2  # each half of the decoder ends in two 3x3 convolutions

Span = tuple[int, int]


class _Doubled(nn.Module):
    """A convolution after doubling; a module of its own because the checkpoint names it `conv`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 1, 1)


class Decoder(nn.Sequential):
    """Features [1, 128, h, w] -> picture [1, 3, 4h, 4w] before tanh: doubled twice, two convolutions after each."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            _Doubled(channels, channels),
            nn.LeakyReLU(_SLOPE, inplace=True),
            nn.Conv2d(channels, 64, 3, 1, 1),
            nn.LeakyReLU(_SLOPE, inplace=True),
            _Doubled(64, 64),
            nn.LeakyReLU(_SLOPE, inplace=True),
            nn.Conv2d(64, 3, 3, 1, 1),
        )

    def forward(self, x: Tensor, rows: Span | None = None, columns: Span | None = None) -> Tensor:
        """Rows and columns of the picture, as the whole would hold them; without spans the whole."""
        height, width = x.shape[-2:]
        wanted = (rows or (0, SCALE * height), columns or (0, SCALE * width))
        # Backwards: what each half must hold for the next, then how far its input must reach.
        full = [_grown(span, SCALE * side) for span, side in zip(wanted, (height, width), strict=True)]
        half = [_sources(span, 2 * side) for span, side in zip(full, (height, width), strict=True)]
        wide = [_grown(span, 2 * side) for span, side in zip(half, (height, width), strict=True)]
        x = self._double(0, x, (0, 0), (height, width), wide)
        x = F.leaky_relu_(self[2](x), _SLOPE)
        x = _cut(x, wide, half)
        x = self._double(4, x, (half[0][0], half[1][0]), (2 * height, 2 * width), full)
        return _cut(self[6](x), full, list(wanted))

    def _double(self, layer: int, x: Tensor, begin: Span, whole: Span, spans: list[Span]) -> Tensor:
        """Double bilinearly, corner-aligned, and convolve; x begins at `begin` of a map of size `whole`."""
        doubled = [(0, 2 * side) for side in whole]
        if tuple(x.shape[-2:]) == tuple(whole) and spans == doubled:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        else:
            x = x.permute(0, 2, 3, 1)  # rows and columns of channels: whole vectors are moved
            for axis, (start, side, span) in enumerate(zip(begin, whole, spans, strict=True)):
                x = _stretch(x, axis + 1, start, side, span)
            x = x.permute(0, 3, 1, 2)
        convolution: nn.Module = self[layer].conv  # type: ignore[assignment]
        return F.leaky_relu_(convolution(x), _SLOPE)


def _grown(span: Span, side: int) -> Span:
    """What two 3x3 convolutions read for a span; at the picture's edge they pad by themselves."""
    return max(span[0] - _RINGS, 0), min(span[1] + _RINGS, side)


def _sources(span: Span, side: int) -> Span:
    """The places of an axis of `side` that its doubled span is mixed from; one more on each side, for rounding."""
    step = (side - 1) / (2 * side - 1)
    return max(int(span[0] * step) - 1, 0), min(int((span[1] - 1) * step) + 3, side)


def _stretch(x: Tensor, axis: int, begin: int, side: int, span: Span) -> Tensor:
    """Doubled places `span` of an axis of `side`, linearly, corner-aligned; x holds the axis from `begin` on."""
    place = torch.arange(*span, device=x.device, dtype=torch.float32) * ((side - 1) / (2 * side - 1))
    low = place.floor().clamp_(max=side - 1)
    share = (place - low).to(x.dtype).view(-1, *(1,) * (3 - axis))
    below = low.long()
    above = (below + 1).clamp_(max=side - 1)
    return torch.lerp(x.index_select(axis, below - begin), x.index_select(axis, above - begin), share)


def _cut(x: Tensor, held: list[Span], wanted: list[Span]) -> Tensor:
    rows, columns = (slice(w[0] - h[0], w[1] - h[0]) for h, w in zip(held, wanted, strict=True))
    return x[:, :, rows, columns]

"""Several effects over one clip as one overlay, and the pictures which an effect finds under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.encode import Layer, Overlay
from tam_edit.pipelines.overlays import Nothing

Reads = Mapping[str, Mapping[int, str | None]]


@dataclass
class Kept:
    """An overlay whose last layer is kept: every effect above it asks for the same one."""

    overlay: Overlay
    _last: tuple[int, Layer | None] | None = field(default=None, repr=False)

    def reads(self, frames: Iterable[int]) -> Reads:
        return self.overlay.reads(frames)

    def layer(self, frame: int) -> Layer | None:
        if self._last is None or self._last[0] != frame:
            self._last = (frame, self.overlay.layer(frame))
        return self._last[1]


@dataclass
class Stack:
    """Overlays in order, the first one lowest; the last merged layer is kept."""

    overlays: Sequence[Overlay]
    _kept: tuple[int, Layer | None] | None = field(default=None, repr=False)

    def reads(self, frames: Iterable[int]) -> Reads:
        frames = list(frames)
        return {
            f"effect {number}'s {name}": digests
            for number, overlay in enumerate(self.overlays, start=1)
            for name, digests in overlay.reads(frames).items()
            if digests
        }

    def layer(self, frame: int) -> Layer | None:
        if self._kept is None or self._kept[0] != frame:
            layers = [overlay.layer(frame) for overlay in self.overlays]
            self._kept = (frame, merged([layer for layer in layers if layer is not None]))
        return self._kept[1]


@dataclass
class Under:
    """A clip's pictures with effects made: what the next effect in a list sees."""

    context: Context
    overlay: Overlay

    def rgb(self, frame: int) -> Rgb:
        """uint8 [H, W, 3]."""
        return over(self.context.rgb(frame), self.overlay.layer(frame))


def stacked(overlays: Sequence[Overlay]) -> Overlay:
    """One overlay for all. A single one stays itself, so that its segments are those of the effect made alone."""
    if len(overlays) == 1:
        return overlays[0]
    return Stack(tuple(overlays)) if overlays else Nothing()


def merged(layers: Sequence[Layer]) -> Layer | None:
    """Layers as one that does the same: alpha composited by "over" (Porter and Duff 1984), colours float32 0..1."""
    if len(layers) < 2:
        return layers[0] if layers else None
    x0, y0 = (min(layer.at_xy[axis] for layer in layers) for axis in (0, 1))
    x1 = max(layer.at_xy[0] + layer.alpha.shape[1] for layer in layers)
    y1 = max(layer.at_xy[1] + layer.alpha.shape[0] for layer in layers)
    alpha = np.zeros((y1 - y0, x1 - x0), np.float32)
    colour = np.zeros((y1 - y0, x1 - x0, 3), np.float32)
    for layer in layers:
        x, y = layer.at_xy[0] - x0, layer.at_xy[1] - y0
        height, width = layer.alpha.shape
        place = (slice(y, y + height), slice(x, x + width))
        weight = layer.alpha[..., None]
        # Colours are multiplied by alpha until the end.
        colour[place] += weight * (_unit(layer) - colour[place])
        alpha[place] += layer.alpha * (np.float32(1) - alpha[place])
    colour /= np.maximum(alpha, np.float32(1e-6))[..., None]
    return Layer(np.clip(colour, 0, 1), alpha, (x0, y0))


def over(rgb: Rgb, layer: Layer | None) -> Rgb:
    """A picture under a layer, uint8 [H, W, 3]; the picture itself is not changed."""
    if layer is None:
        return rgb
    result = rgb.copy()
    x, y = layer.at_xy
    height, width = layer.alpha.shape
    under = result[y : y + height, x : x + width].astype(np.float32)
    mixed = under + layer.alpha[..., None] * (np.float32(255) * _unit(layer) - under)
    result[y : y + height, x : x + width] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return result


def _unit(layer: Layer) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A layer's colours as float32 0..1."""
    if layer.rgb.dtype == np.uint8:
        return layer.rgb.astype(np.float32) / np.float32(255)
    return layer.rgb.astype(np.float32, copy=False)

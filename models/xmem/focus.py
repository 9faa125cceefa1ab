"""The fast mode: decode only around where an object can be, and leave the rest of the picture background.

An object can be where its own memory answers, or where it was on the last frame. The crop sees no context beyond its
margin, and the channel attention pools over the crop alone: results differ a little from the exact mode's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from tam_edit.models.xmem.network import STRIDE, Features, Network

# Affinity on the object's own memory, and probability on the last frame, from which a patch counts.
_ANSWERS = 0.1
_WAS_HERE = 0.02
# Patches around them: room to move, and context for the decoder's convolutions.
_MARGIN = 3
# From this share of the picture on, nothing is gained by cropping.
_MOST = 0.7
# What the decoder costs for each patch: once for the image, and for each object (GFLOP at 1620 patches).
_IMAGE_COST, _OBJECT_COST = 92, 139
_SURELY_NOT = -16.2


@dataclass(frozen=True)
class Box:
    """A rectangle of patches: half-open rows and columns."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def of(self, planes: Tensor, scale: int = 1) -> Tensor:
        """The rectangle's part of [..., H, W], where a patch has `scale` pixels a side."""
        return planes[..., self.top * scale : self.bottom * scale, self.left * scale : self.right * scale]


def decode_near(
    network: Network, features: Features, readout: Tensor, hidden: Tensor, own: Tensor, seen: Tensor, update: bool
) -> tuple[Tensor, Tensor | None]:
    """As Network.decode, near the objects only; own and seen [K, h, w] say where they can be.

    The hidden state outside stays what it was.
    """
    rows, columns = own.shape[1:]
    places = [_around((own[k] > _ANSWERS) | (seen[k] > _WAS_HERE)) for k in range(len(own))]
    plan = _cheapest(places)
    if any(box.area > _MOST * rows * columns for _, box in plan):
        return network.decode(features, readout, hidden, update)
    logits = own.new_full((len(own), rows * STRIDE, columns * STRIDE), _SURELY_NOT)
    updated = hidden.clone() if update else None
    for objects, box in plan:
        part = replace(features, f16=box.of(features.f16), f8=box.of(features.f8, 2), f4=box.of(features.f4, 4))
        found, renewed = network.decode(part, box.of(readout[objects]), box.of(hidden[objects]), update)
        for place, k in enumerate(objects):
            box.of(logits[k], STRIDE).copy_(found[place])
            if updated is not None and renewed is not None:
                box.of(updated[k]).copy_(renewed[place])
    return logits, updated


def seen_in(planes: Tensor) -> Tensor:
    """How much of each patch an object is at most: [K, H, W] -> [K, h, w]."""
    return F.max_pool2d(planes[None], STRIDE)[0]


def _around(patches: Tensor) -> Box | None:
    found = patches.nonzero()
    if not len(found):
        return None
    (top, left), (bottom, right) = found.amin(0).tolist(), found.amax(0).tolist()
    rows, columns = patches.shape
    return Box(
        max(0, top - _MARGIN),
        min(rows, bottom + 1 + _MARGIN),
        max(0, left - _MARGIN),
        min(columns, right + 1 + _MARGIN),
    )


def _cheapest(places: Sequence[Box | None]) -> list[tuple[list[int], Box]]:
    """One box around all objects, or one for each, whichever costs less; none for what can be nowhere."""
    present = [(k, box) for k, box in enumerate(places) if box is not None]
    if not present:
        return []
    boxes = [box for _, box in present]
    union = Box(
        min(box.top for box in boxes),
        max(box.bottom for box in boxes),
        min(box.left for box in boxes),
        max(box.right for box in boxes),
    )
    apart = sum(box.area for box in boxes) * (_IMAGE_COST + _OBJECT_COST)
    together = union.area * (_IMAGE_COST + _OBJECT_COST * len(boxes))
    if apart < together:
        return [([k], box) for k, box in present]
    return [([k for k, _ in present], union)]

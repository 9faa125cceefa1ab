"""What goes into the tracker and comes out: checked, scaled to the internal size, padded, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tam_edit.errors import MaskError, MaskSizeMismatch, UsageError
from tam_edit.models.xmem.network import STRIDE

_LIMIT = 1e-7
_GREATEST_LABEL = 255


@dataclass(frozen=True)
class Geometry:
    """From the frame's size to the size the network sees: scaled down to a short side, padded to whole patches."""

    source_hw: tuple[int, int]
    short_side: int | None

    @property
    def inner_hw(self) -> tuple[int, int]:
        """The size after scaling; a frame is never enlarged."""
        height, width = self.source_hw
        short = min(self.source_hw)
        if self.short_side is None or short <= self.short_side:
            return self.source_hw
        return max(1, round(height * self.short_side / short)), max(1, round(width * self.short_side / short))

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Left, right, top, bottom; an odd pixel goes right and bottom."""
        height, width = self.inner_hw
        rows, columns = -height % STRIDE, -width % STRIDE
        return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2

    @property
    def grid_hw(self) -> tuple[int, int]:
        """The size in patches, padding included."""
        return -(-self.inner_hw[0] // STRIDE), -(-self.inner_hw[1] // STRIDE)

    @property
    def scaled(self) -> bool:
        return self.inner_hw != self.source_hw

    def inward(self, planes: Tensor) -> Tensor:
        """[C, H, W] at source size -> scaled, not yet padded."""
        if not self.scaled:
            return planes
        return F.interpolate(planes[None], self.inner_hw, mode="bilinear", align_corners=False, antialias=True)[0]

    def padded(self, planes: Tensor) -> Tensor:
        return F.pad(planes, self.padding)

    def cropped(self, planes: Tensor) -> Tensor:
        """Without the padding."""
        left, _, top, _ = self.padding
        height, width = self.inner_hw
        return planes[..., top : top + height, left : left + width]

    def outward(self, planes: Tensor) -> Tensor:
        """[C, H', W'] as the network sees it -> [C, H, W] at source size."""
        planes = self.cropped(planes)
        if not self.scaled:
            return planes
        return F.interpolate(planes[None], self.source_hw, mode="bilinear", align_corners=False)[0]

    def mask_inward(self, mask: Tensor) -> Tensor:
        """A mask float [H, W] -> scaled; a binary one stays binary, and never vanishes only because it is small."""
        if not self.scaled:
            return mask
        small = self.inward(mask[None])[0]
        if bool(((mask == 0) | (mask == 1)).all()):
            small = (small >= 0.5).float()
            if not small.any():
                small = F.adaptive_max_pool2d(mask[None], self.inner_hw)[0]
        return small


def aggregate(planes: Tensor) -> Tensor:
    """Soft aggregation: object probabilities [K, ...] -> [1 + K, ...], background first (XMem, section 3.1)."""
    probability = torch.cat([(1 - planes).prod(0, keepdim=True), planes]).clamp_(_LIMIT, 1 - _LIMIT)
    # Softmax over the odds' logarithms: the odds themselves, divided by their sum.
    odds = probability / (1 - probability)
    return odds / odds.sum(0, keepdim=True)


def checked_frame(frame: Any, source_hw: tuple[int, int] | None) -> NDArray[np.uint8]:
    """The frame, if it is uint8 RGB [H, W, 3] of the size so far; raises UsageError."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        form = f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise UsageError(f"XMem takes frames as uint8 RGB arrays [H, W, 3], not {form}: convert the frame first")
    if 0 in frame.shape:
        raise UsageError(f"the frame has no pixels ({frame.shape[1]}x{frame.shape[0]}): give a frame of the clip")
    if source_hw is not None and frame.shape[:2] != source_hw:
        raise UsageError(
            f"the frame is {frame.shape[1]}x{frame.shape[0]}, but the clip so far is {source_hw[1]}x{source_hw[0]}: "
            "use one tracker for each frame size"
        )
    return frame


def checked_masks(masks: Mapping[int, Any] | None, source_hw: tuple[int, int]) -> dict[int, NDArray[np.float32]]:
    """Masks by label as float32 [H, W] in 0..1, labels ascending.

    A mask one pixel off, as rounding leaves it, is resized with a warning.
    Raises MaskError (label outside 1..255, wrong type, values that are not finite) and MaskSizeMismatch.
    """
    if masks is None:
        return {}
    if not isinstance(masks, Mapping):
        raise MaskError(f"masks come as {{label: mask}}, not as {type(masks).__name__}: name the label of each mask")
    for label in masks:
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 1 <= label <= _GREATEST_LABEL:
            raise MaskError(f"label {label!r} cannot be used: labels are whole numbers from 1 to {_GREATEST_LABEL}")
    return {int(label): _checked_mask(masks[label], int(label), source_hw) for label in sorted(masks)}


def _checked_mask(mask: Any, label: int, source_hw: tuple[int, int]) -> NDArray[np.float32]:
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind not in "buif":
        form = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise MaskError(f"the mask of label {label} is {form}: give a boolean array [H, W]")
    if mask.dtype.kind == "f":
        if not np.isfinite(mask).all():
            raise MaskError(f"the mask of label {label} holds values that are not finite: give a boolean array")
        if mask.size and (mask.min() < 0 or mask.max() > 1):
            raise MaskError(
                f"the mask of label {label} goes from {mask.min()} to {mask.max()}: give 0 to 1, or booleans"
            )
    elif mask.dtype.kind in "ui" and not np.isin(mask, (0, mask.max(initial=1))).all():
        raise MaskError(
            f"the mask of label {label} holds several values: is it a label map? Give `label_map == {label}`"
        )
    plane = mask.astype(np.float32) if mask.dtype.kind == "f" else (mask != 0).astype(np.float32)
    return _fitted(plane, label, source_hw)


def _fitted(plane: NDArray[np.float32], label: int, source_hw: tuple[int, int]) -> NDArray[np.float32]:
    if plane.shape == source_hw:
        return plane
    sizes = f"{plane.shape[1]}x{plane.shape[0]}, the frame {source_hw[1]}x{source_hw[0]}"
    if 0 in plane.shape or any(abs(a - b) > 1 for a, b in zip(plane.shape, source_hw, strict=True)):
        raise MaskSizeMismatch(f"the mask of label {label} is {sizes}: make it the frame's size")
    warnings.warn(f"the mask of label {label} is {sizes}: resized by a pixel", stacklevel=5)
    rows, columns = (np.minimum(np.arange(n) * m // n, m - 1) for n, m in zip(source_hw, plane.shape, strict=True))
    resized: NDArray[np.float32] = plane[rows][:, columns]
    return resized

"""Pictures on their way into the network and back: masking, mirroring, sizes, values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tam_edit.errors import EngineError, MaskError, MaskSizeMismatch

Frame = NDArray[np.uint8]  # RGB [H, W, 3]
Mask = NDArray[np.bool_]  # [H, W]
Colours = NDArray[np.float32]  # [masked pixels of a frame, 3], in the order of mask indexing


def checked(frame: NDArray[Any], mask: NDArray[Any], index: int, size_hw: tuple[int, int] | None) -> tuple[Frame, Mask]:
    """Say what is wrong with a frame or its mask, or return them as uint8 [H, W, 3] and bool [H, W].

    `index` names the frame in messages, `size_hw` is that of the clip's first frame. Raises EngineError for frames,
    MaskSizeMismatch and MaskError for masks.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise EngineError(f"frame {index}: uint8 RGB [H, W, 3] is needed, got {frame.dtype} {list(frame.shape)}")
    if size_hw is not None and frame.shape[:2] != size_hw:
        raise EngineError(
            f"frame {index} is {frame.shape[1]}x{frame.shape[0]}, the clip began with {size_hw[1]}x{size_hw[0]}: "
            "give frames of one size"
        )
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise MaskError(f"the mask of frame {index} must be bool [H, W], got {mask.dtype} {list(mask.shape)}")
    if mask.shape != frame.shape[:2]:
        raise MaskSizeMismatch(
            f"the mask of frame {index} is {mask.shape[1]}x{mask.shape[0]}, its frame is "
            f"{frame.shape[1]}x{frame.shape[0]}: resize the mask without smoothing, or mark the object again"
        )
    return frame, mask != 0


def masked_input(frame: Frame, mask: Mask, device: torch.device) -> Tensor:
    """uint8 [H, W, 3] -> float32 [1, 3, H, W] in -1..1, masked pixels 0."""
    # Reversed views, such as BGR read as RGB, are more than torch takes.
    picture = torch.tensor(np.ascontiguousarray(frame), device=device).permute(2, 0, 1)[None]
    hole = torch.tensor(np.ascontiguousarray(mask), device=device)
    return (picture.to(torch.float32) / 255 * 2 - 1).masked_fill(hole, 0.0)


def mirrored(picture: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Enlarge [1, C, H, W] below and to the right: the picture, then its flip, as often as it takes."""
    if tuple(picture.shape[-2:]) == size_hw:
        return picture
    rows, columns = (_there_and_back(side, wanted) for side, wanted in zip(picture.shape[-2:], size_hw, strict=True))
    return picture[:, :, rows.to(picture.device)][:, :, :, columns.to(picture.device)]


def _there_and_back(side: int, wanted: int) -> Tensor:
    """0, 1, ..., side - 1, side - 1, ..., 0, 0, 1, ...: `wanted` indices."""
    place = torch.arange(wanted) % (2 * side)
    return torch.minimum(place, 2 * side - 1 - place)


def scaled_input(frame: Frame, mask: Mask, size_hw: tuple[int, int], device: torch.device) -> Tensor:
    """The same at another size: [1, 3, *size_hw]."""
    if frame.shape[:2] != size_hw:
        smaller = size_hw[0] * size_hw[1] < mask.size
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        frame = np.asarray(cv2.resize(frame, size_hw[::-1], interpolation=how), np.uint8)
        # Any pixel that a masked one touches: nothing of the object may leak in.
        mask = np.asarray(cv2.resize(mask.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_AREA) > 0)
    return masked_input(frame, mask, device)


def masked_colours(
    decode: Callable[[Tensor, tuple[int, int], tuple[int, int]], Tensor],
    features: Tensor,
    hole: Mask,
    scaled_hw: tuple[int, int],
) -> Colours:
    """Decode what a hole [h, w] needs and return its pixels' grey values in 0..255, float32 [pixels, 3].

    `scaled_hw` is the size at which the network saw the picture of the hole, the upper left of what it decodes.
    """
    if scaled_hw != hole.shape:
        whole = _grey(decode(features, (0, scaled_hw[0]), (0, scaled_hw[1])))
        resized = cv2.resize(whole, (hole.shape[1], hole.shape[0]), interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.clip(resized[hole], 0.0, 255.0), np.float32)
    (top, bottom), (left, right) = bounds(hole)
    return _grey(decode(features, (top, bottom), (left, right)))[hole[top:bottom, left:right]]


def _grey(picture: Tensor) -> NDArray[np.float32]:
    """[1, 3, H, W] in -1..1 -> [H, W, 3] in 0..255."""
    return np.asarray(((picture[0].permute(1, 2, 0) + 1) / 2 * 255).cpu().numpy(), np.float32)


def bounds(mask: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rows and columns (begin, end) that hold all pixels of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def round_up(side: int, multiple: int) -> int:
    """The next multiple that is not smaller."""
    return -(-side // multiple) * multiple

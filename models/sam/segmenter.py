"""Masks from clicks, boxes and earlier masks: SAM's decoder on embeddings that are made once for a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tam_edit.errors import PromptError, UsageError
from tam_edit.models.sam.network import SamNetwork
from tam_edit.models.sam.prompts import box_around, fitted_size, mask_logits, points_inside

Box = tuple[float, float, float, float]
# How far the threshold is moved either way for the stability, as in SAM's automatic mask generator.
_OFFSET = 1.0
_POLISHING_POINTS = 3


@dataclass(frozen=True)
class Embedding:
    """What SAM's encoder makes of a frame: half precision, and the sizes that prompts are brought to.

    `features` float16 [C, S/16, S/16] (official: [256, 64, 64]); `size_hw` of the frame, `fitted_hw` inside the square.
    """

    features: NDArray[np.float16]
    size_hw: tuple[int, int]
    fitted_hw: tuple[int, int]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as flat arrays, for a store."""
        sizes = np.array([self.size_hw, self.fitted_hw], np.int32)
        return {"features": self.features, "sizes": sizes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        """Make it again from `to_arrays`; raises UsageError for other arrays."""
        try:
            features, sizes = arrays["features"], arrays["sizes"]
            (height, width), fitted = sizes.tolist()
        except (KeyError, ValueError, AttributeError) as error:
            raise UsageError(f"these arrays are not a stored SAM embedding ({error}): embed the frame again") from error
        return cls(features.astype(np.float16, copy=False), (height, width), (fitted[0], fitted[1]))


@dataclass(frozen=True)
class SamCandidate:
    """One answer: the mask, how good SAM thinks it is, and the logits that a next click refines.

    `mask` bool [H, W] at the frame's size; `score` the predicted IoU (about 0..1); `stability` 0..1, the IoU of the
    masks at a raised and a lowered threshold; `low_res_logits` float32 [256, 256] over the padded square.
    """

    mask: NDArray[np.bool_]
    score: float
    stability: float
    low_res_logits: NDArray[np.float32]


class SamSegmenter:
    """Segments frames with a loaded SAM. It keeps nothing between calls: embeddings are the caller's to keep."""

    def __init__(self, network: SamNetwork) -> None:
        self._network = network

    @property
    def side(self) -> int:
        """The side of the square that frames are brought to, in pixels; mask logits have a quarter of it."""
        return self._network.side

    def embed(self, frame: NDArray[np.uint8]) -> Embedding:
        """Encode a frame (RGB uint8 [H, W, 3]); the slow part, once for each frame. Raises UsageError.

        As SamPredictor.set_image: the longer side is brought to 1024 (Pillow, bilinear), the rest padded with zeros.
        """
        from PIL import Image

        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise UsageError(f"a frame is RGB uint8 [H, W, 3], not {frame.dtype} {list(frame.shape)}")
        network = self._network
        size = (frame.shape[0], frame.shape[1])
        fitted = fitted_size(*size, network.side)
        if 0 in fitted:
            raise UsageError(f"a frame of {size[1]}x{size[0]} is too narrow for SAM: give another frame")
        picture = np.array(Image.fromarray(frame).resize((fitted[1], fitted[0]), Image.Resampling.BILINEAR))
        with torch.inference_mode():
            pixels = torch.from_numpy(picture).to(network.device).permute(2, 0, 1)  # [h, w, 3] -> [3, h, w]
            features = network.encoder(network.sam.preprocess(pixels).unsqueeze(0))
        return Embedding(features[0].to("cpu", torch.float16).numpy(), size, fitted)

    def candidates(
        self,
        embedding: Embedding,
        points: ArrayLike = (),
        labels: ArrayLike | None = None,
        *,
        box: Box | None = None,
        boxes: Sequence[Box] = (),
        mask_logits: NDArray[np.float32] | None = None,
        multimask: bool | None = None,
    ) -> tuple[SamCandidate, ...]:
        """Answer prompts on an embedded frame, best first.

        `points` [n, 2] (x, y) in pixels of the frame, `labels` 1 on the object (the default) and 0 off it; `box` or
        several `boxes` (x0, y0, x1, y1), whose answers are joined; `mask_logits` [256, 256] of an earlier answer,
        to refine it.
        A single click alone gives SAM's three answers (whole, part, subpart), anything more gives one, unless
        `multimask` says otherwise. Several boxes with `mask_logits` count as answered already: the points refine.
        Raises PromptError.
        """
        xy, kinds = _checked_points(points, labels, embedding.size_hw)
        all_boxes = [_checked_box(one, embedding.size_hw) for one in ([box] if box is not None else []) + list(boxes)]
        earlier = None if mask_logits is None else self._checked_logits(mask_logits)
        if not len(xy) and not all_boxes and earlier is None:
            raise PromptError("SAM was asked for a mask without a point, a box or a mask: give one")
        if multimask is None:
            multimask = len(xy) == 1 and not all_boxes and earlier is None
        if len(all_boxes) > 1 and earlier is not None:
            all_boxes = []
        with torch.inference_mode():
            features = torch.from_numpy(embedding.features).to(self._network.device, torch.float32).unsqueeze(0)
            if len(all_boxes) > 1:
                return (self._joined(features, embedding, xy, kinds, all_boxes),)
            low, scores = self._decode(features, embedding, xy, kinds, next(iter(all_boxes), None), earlier, multimask)
            order = torch.argsort(scores, descending=True, stable=True)
            return tuple(self._candidate(low[index], float(scores[index]), embedding) for index in order.tolist())

    def polish(
        self, embedding: Embedding, mask: NDArray[np.bool_], points: int = _POLISHING_POINTS
    ) -> tuple[SamCandidate, ...]:
        """Redraw an imported mask (bool [H, W]) along the picture's edges, best first.

        The mask goes in as logits, with its box and `points` points deep inside it. Raises MaskEmpty,
        MaskSizeMismatch.
        """
        logits = mask_logits(mask, embedding.size_hw, self._network.side)
        xy = points_inside(mask, points) if points else ()
        return self.candidates(embedding, xy, box=box_around(mask), mask_logits=logits)

    def _joined(
        self, features: Tensor, embedding: Embedding, xy: NDArray[Any], kinds: NDArray[Any], boxes: list[Box]
    ) -> SamCandidate:
        """Answer each box by itself and join the answers; a point on the object speaks for the box it lies in."""
        held = np.zeros(len(xy), bool)
        answers = []
        for box in boxes:
            x0, y0, x1, y1 = box
            inside = (xy[:, 0] >= x0) & (xy[:, 0] <= x1) & (xy[:, 1] >= y0) & (xy[:, 1] <= y1)
            held |= inside
            said = inside | (kinds == 0)
            answers.append(self._decode(features, embedding, xy[said], kinds[said], box, None, False))
        free = ~held & (kinds == 1)
        if free.any():
            said = free | (kinds == 0)
            answers.append(self._decode(features, embedding, xy[said], kinds[said], None, None, False))
        low = torch.stack([answer[0] for answer, _ in answers]).amax(dim=0)
        # Together they are as good as the worst of them: every one has to be right.
        return self._candidate(low, min(float(score[0]) for _, score in answers), embedding)

    def _decode(
        self,
        features: Tensor,
        embedding: Embedding,
        xy: NDArray[Any],
        kinds: NDArray[Any],
        box: Box | None,
        earlier: Tensor | None,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Run prompt encoder and mask decoder: logits [k, 256, 256] and predicted IoUs [k]."""
        sam, device = self._network.sam, self._network.device
        (height, width), (fitted_height, fitted_width) = embedding.size_hw, embedding.fitted_hw
        scale = np.array([fitted_width / width, fitted_height / height])
        points = boxes = None
        if len(xy):
            coordinates = torch.from_numpy(xy * scale).to(device, torch.float32)
            points = (coordinates.unsqueeze(0), torch.from_numpy(kinds).to(device, torch.int32).unsqueeze(0))
        if box is not None:
            corners = np.array(box).reshape(2, 2) * scale
            boxes = torch.from_numpy(corners.reshape(1, 4)).to(device, torch.float32)
        sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=earlier)
        low, scores = sam.mask_decoder(
            image_embeddings=features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return low[0], scores[0]

    def _candidate(self, low: Tensor, score: float, embedding: Embedding) -> SamCandidate:
        logits = self._at_source_size(low, embedding)
        surely, perhaps = int((logits > _OFFSET).sum()), int((logits > -_OFFSET).sum())
        return SamCandidate(
            mask=(logits > 0).cpu().numpy(),
            score=score,
            stability=surely / perhaps if perhaps else 0.0,
            low_res_logits=low.cpu().numpy(),
        )

    def _at_source_size(self, low: Tensor, embedding: Embedding) -> Tensor:
        """Bring logits to the frame's size as Sam.postprocess_masks does: to the square, without padding, to size."""
        side = self._network.side
        height, width = embedding.fitted_hw
        square = F.interpolate(low[None, None], (side, side), mode="bilinear", align_corners=False)
        fitted = square[..., :height, :width]
        return F.interpolate(fitted, embedding.size_hw, mode="bilinear", align_corners=False)[0, 0]

    def _checked_logits(self, given: NDArray[np.float32]) -> Tensor:
        low = self._network.side // 4
        logits = np.asarray(given)
        if logits.shape != (low, low) or not np.isfinite(logits).all():
            raise PromptError(
                f"mask logits for SAM are finite numbers [{low}, {low}], not {list(logits.shape)}: give those of an "
                "earlier answer"
            )
        return torch.from_numpy(logits.astype(np.float32)).to(self._network.device)[None, None]


def _checked_points(
    points: ArrayLike, labels: ArrayLike | None, size_hw: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[Any]]:
    xy = np.asarray(points, np.float64).reshape(-1, 2)
    kinds = np.ones(len(xy), np.int64) if labels is None else np.asarray(labels, np.int64).reshape(-1)
    if len(xy) != len(kinds):
        raise PromptError(f"{len(xy)} points but {len(kinds)} labels: label each, 1 on the object, 0 off it")
    if not np.isin(kinds, (0, 1)).all():
        raise PromptError("a point's label is 1 (on the object) or 0 (off it)")
    height, width = size_hw
    for x, y in xy:
        if not (0 <= x < width and 0 <= y < height):
            raise PromptError(f"the point {x:g},{y:g} lies outside the picture of {width}x{height} pixels")
    return xy, kinds


def _checked_box(box: Box, size_hw: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = (float(value) for value in box)
    height, width = size_hw
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise PromptError(f"the box {x0:g},{y0:g},{x1:g},{y1:g} is not inside the picture of {width}x{height} pixels")
    return x0, y0, x1, y1

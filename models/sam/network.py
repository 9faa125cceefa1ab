"""SAM from the segment-anything package: built to fit a checkpoint, loaded strictly, driven by the faster encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tam_edit.errors import EngineError, WeightsMismatch
from tam_edit.models.checkpoint import load_strict, read_state, usable_device
from tam_edit.models.sam.encoder import Encoder

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Width and depth of the image encoder tell the official variants apart.
VARIANTS: Mapping[str, tuple[int, int]] = {"vit_b": (768, 12), "vit_l": (1024, 24), "vit_h": (1280, 32)}
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# Not to be told from a checkpoint: the same in all official variants.
_DECODER_HEADS = 8
_HINT = "Give an official SAM checkpoint (tam-edit models list)."


@dataclass(frozen=True)
class SamNetwork:
    """A loaded SAM: the package's module, the faster encoder in place of the module's, and what it is."""

    sam: Any  # segment_anything.modeling.Sam without the blocks of its image encoder
    encoder: Encoder
    variant: str  # vit_b, vit_l, vit_h, or "other"
    precision: Precision
    side: int  # of the square the encoder sees, in pixels: 1024

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        place: torch.device = self.sam.pixel_mean.device
        return place


def load(
    checkpoint: str | Path | Mapping[str, Tensor],
    variant: str | None = None,
    device: str | torch.device = "cpu",
    precision: Precision = "fp32",
) -> SamNetwork:
    """Build SAM from a checkpoint: a path, or a state dict under the official names.

    The sizes are read from the tensors; `variant` (vit_b, vit_l, vit_h) says which one is expected. `precision` is
    that of the image encoder's linear layers, "fp16" on GPUs only; prompts and masks are always float32.
    Raises WeightsMissing, WeightsUnsafe, WeightsMismatch, and EngineError for a device, a precision or a variant that
    cannot be had.
    """
    if precision not in _DTYPES:
        raise EngineError(f"unknown precision '{precision}': choose one of {', '.join(_DTYPES)}")
    if variant is not None and variant not in VARIANTS:
        raise EngineError(f"SAM has no variant '{variant}': choose one of {', '.join(VARIANTS)}")
    place = usable_device(device)
    if precision == "fp16" and place.type == "cpu":
        raise EngineError("fp16 needs a GPU: choose bf16 or fp32 on a CPU")
    state = read_state(checkpoint)
    origin = "the given state dict" if isinstance(checkpoint, Mapping) else f"'{checkpoint}'"
    shape = _Shape.of(state, origin)
    found = next((name for name, sizes in VARIANTS.items() if sizes == (shape.width, shape.depth)), "other")
    if variant is not None and found != variant:
        raise WeightsMismatch(
            f"{origin} is a checkpoint of SAM {found} (width {shape.width}, depth {shape.depth}), not {variant}: "
            f"load it without a variant, or give the other file"
        )
    sam = _build(shape)
    load_strict(sam, state, origin=f"SAM from {origin}")
    sam.eval().requires_grad_(False).to(place)
    side = shape.grid * shape.patch
    encoder = Encoder(sam.image_encoder, _DTYPES[precision])
    sam.image_encoder.blocks = None  # the encoder has them in its own layout; once more they would be 2.5 GB for vit_h
    return SamNetwork(sam, encoder, found, precision, side)


@dataclass(frozen=True)
class _Shape:
    """The sizes of a SAM, as its tensors tell them."""

    width: int
    depth: int
    heads: int
    grid: int
    patch: int
    window: int
    everywhere: tuple[int, ...]  # blocks that attend to the whole picture
    hidden: int
    channels: int
    mask_channels: int
    masks: int
    decoder_depth: int
    decoder_hidden: int
    score_depth: int
    score_hidden: int

    @classmethod
    def of(cls, state: Mapping[str, Tensor], origin: str) -> _Shape:
        """Read the sizes; raises WeightsMismatch if a tensor that tells them is missing."""
        encoder, decoder = "image_encoder.", "mask_decoder."
        try:
            grid = state[f"{encoder}pos_embed"].shape[1]
            width, _, patch, _ = state[f"{encoder}patch_embed.proj.weight"].shape
            depth = _count(state, r"image_encoder\.blocks\.(\d+)\.")
            tables = [state[f"{encoder}blocks.{index}.attn.rel_pos_h"] for index in range(depth)]
            reaches = [len(table) for table in tables]
            everywhere = tuple(index for index, reach in enumerate(reaches) if reach == 2 * grid - 1)
            windows = {(reach + 1) // 2 for reach in reaches if reach != 2 * grid - 1}
            score_depth = _count(state, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\.")
            return cls(
                width=width,
                depth=depth,
                heads=width // tables[0].shape[1],
                grid=grid,
                patch=patch,
                window=windows.pop() if windows else 0,
                everywhere=everywhere,
                hidden=len(state[f"{encoder}blocks.0.mlp.lin1.weight"]),
                channels=len(state[f"{encoder}neck.0.weight"]),
                mask_channels=len(state["prompt_encoder.mask_downscaling.3.weight"]),
                masks=len(state[f"{decoder}mask_tokens.weight"]) - 1,
                decoder_depth=_count(state, r"mask_decoder\.transformer\.layers\.(\d+)\."),
                decoder_hidden=len(state[f"{decoder}transformer.layers.0.mlp.lin1.weight"]),
                score_depth=score_depth,
                score_hidden=len(state[f"{decoder}iou_prediction_head.layers.0.weight"]),
            )
        except (KeyError, IndexError, ValueError) as error:
            raise WeightsMismatch(f"{origin} is not a checkpoint of SAM: {error} does not fit. {_HINT}") from error


def _build(shape: _Shape) -> Any:
    """Build the package's Sam of these sizes, with weights still to be loaded."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    side = shape.grid * shape.patch
    with torch.device("meta"):  # no random values for what is overwritten at once
        sam = Sam(
            image_encoder=ImageEncoderViT(
                img_size=side,
                patch_size=shape.patch,
                embed_dim=shape.width,
                depth=shape.depth,
                num_heads=shape.heads,
                mlp_ratio=shape.hidden / shape.width,
                out_chans=shape.channels,
                qkv_bias=True,
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
                use_rel_pos=True,
                window_size=shape.window,
                global_attn_indexes=shape.everywhere,
            ),
            prompt_encoder=PromptEncoder(
                embed_dim=shape.channels,
                image_embedding_size=(shape.grid, shape.grid),
                input_image_size=(side, side),
                mask_in_chans=shape.mask_channels,
            ),
            mask_decoder=MaskDecoder(
                num_multimask_outputs=shape.masks,
                transformer=TwoWayTransformer(
                    depth=shape.decoder_depth,
                    embedding_dim=shape.channels,
                    mlp_dim=shape.decoder_hidden,
                    num_heads=_DECODER_HEADS,
                ),
                transformer_dim=shape.channels,
                iou_head_depth=shape.score_depth,
                iou_head_hidden_dim=shape.score_hidden,
            ),
        )
    sam = sam.to_empty(device="cpu")
    # Not part of a checkpoint, so that `to_empty` left them without values.
    sam.pixel_mean = torch.tensor(_MEAN).view(-1, 1, 1)
    sam.pixel_std = torch.tensor(_DEVIATION).view(-1, 1, 1)
    return sam


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    found = {int(match[1]) for name in state if (match := re.match(pattern, name))}
    if found != set(range(len(found))) or not found:
        raise ValueError(f"the numbering of '{pattern}'")
    return len(found)

"""A small SAM with random weights, built from the package's own classes, and pictures to show it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn


def small_encoder(
    grid: int = 20,
    window: int = 7,
    width: int = 48,
    heads: int = 3,
    channels: int = 32,
    relative: bool = True,
    qkv_bias: bool = True,
) -> Any:
    """The package's encoder, four blocks deep, blocks 1 and 3 over the whole picture, with weights that matter."""
    encoder = ImageEncoderViT(
        img_size=grid * 16,
        embed_dim=width,
        depth=4,
        num_heads=heads,
        out_chans=channels,
        qkv_bias=qkv_bias,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=relative,
        window_size=window,
        global_attn_indexes=(1, 3),
    )
    return _shaken(encoder)


def small_sam(seed: int = 0) -> Any:
    """The package's Sam on a square of 320 pixels."""
    torch.manual_seed(seed)
    channels, grid = 32, 20
    sam = Sam(
        image_encoder=small_encoder(grid, channels=channels),
        prompt_encoder=PromptEncoder(channels, (grid, grid), (grid * 16, grid * 16), mask_in_chans=8),
        mask_decoder=MaskDecoder(
            transformer_dim=channels,
            transformer=TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=8, mlp_dim=64),
            iou_head_depth=3,
            iou_head_hidden_dim=24,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    _shaken(sam.mask_decoder)
    return sam.eval()


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A frame with large soft shapes and some noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / random.uniform(8, 30) + columns / random.uniform(8, 30)) for _ in range(3)]
    noise = random.normal(0, 8, (height, width, 3))
    return np.clip(np.stack(waves, -1) * 80 + 128 + noise, 0, 255).astype(np.uint8)


def _shaken(module: nn.Module) -> nn.Module:
    """Give every tensor random values: what starts as zeros (relative positions) would hide faults."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.2)
        else:
            nn.init.normal_(parameter, mean=0.5, std=0.3)
    return module.eval()

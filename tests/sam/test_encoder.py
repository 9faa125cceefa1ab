"""The faster encoder gives what the package's gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tam_edit.models import onednn
from tam_edit.models.sam import encoder as fast
from tam_edit.models.sam.encoder import Encoder
from tests.sam.support import small_encoder

CASES: list[dict[str, Any]] = [
    {},
    {"window": 5},  # windows that fit the grid: no padding
    {"grid": 14, "window": 14},  # one window is the whole picture
    {"grid": 9, "window": 14},  # the window is larger than the picture
    {"relative": False},
    {"qkv_bias": False},
    {"heads": 1},
]


def compared(**case: Any) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    module = small_encoder(**case)
    pixels = torch.randn(1, 3, module.img_size, module.img_size)
    with torch.no_grad():
        return Encoder(module)(pixels), module(pixels)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_package(case: dict[str, Any]) -> None:
    ours, theirs = compared(**case)
    assert ours.shape == theirs.shape and ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    assert theirs.std() > 0.05  # it says something


def test_relative_positions_matter_here() -> None:
    """Without this, the comparison above would pass with the bias left out or turned round."""
    torch.manual_seed(3)
    module = small_encoder()
    pixels = torch.randn(1, 3, module.img_size, module.img_size)
    with torch.no_grad():
        before = module(pixels)
        for block in module.blocks:
            block.attn.rel_pos_h.copy_(block.attn.rel_pos_h.flip(0))
        assert (module(pixels) - before).abs().max() > 1e-2


def test_equals_the_package_without_fused_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch may drop or rename what the fused layers stand on."""
    monkeypatch.setattr(onednn, "FUSES", False)
    ours, theirs = compared()
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_the_input_of_the_encoder_stays_as_it_was() -> None:
    """Sums are made in place; what the package's modules hand over must not be."""
    module = small_encoder()
    pixels = torch.randn(1, 3, module.img_size, module.img_size)
    before = pixels.clone(), {name: value.clone() for name, value in module.state_dict().items()}
    Encoder(module)(pixels)
    assert torch.equal(pixels, before[0])
    assert all(torch.equal(value, before[1][name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("limit", [1, 30_000, 300_000])
def test_any_size_of_the_bias_buffer(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_BIAS_BYTES", limit)
    monkeypatch.setattr(fast, "_MLP_ROWS", 3)
    ours, theirs = compared()
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_tables_of_another_length_are_stretched_as_in_the_package() -> None:
    torch.manual_seed(3)
    module = small_encoder()
    block = module.blocks[1].attn
    block.rel_pos_h = torch.nn.Parameter(torch.randn(27, block.rel_pos_h.shape[1]))
    pixels = torch.randn(1, 3, module.img_size, module.img_size)
    with torch.no_grad():
        torch.testing.assert_close(Encoder(module)(pixels), module(pixels), atol=2e-5, rtol=0)


def test_bfloat16_is_near_and_deterministic() -> None:
    torch.manual_seed(3)
    module = small_encoder()
    pixels = torch.randn(1, 3, module.img_size, module.img_size)
    half = Encoder(module, torch.bfloat16)
    ours, theirs = half(pixels), Encoder(module)(pixels)
    assert ours.dtype == torch.float32
    assert 0 < (ours - theirs).abs().max() < 0.1 * theirs.std()
    assert torch.equal(half(pixels), ours)
    assert module.blocks[0].mlp.lin1.weight.dtype == torch.float32


@pytest.mark.slow
def test_full_size_vit_b_equals_the_package() -> None:
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    module = sam_model_registry["vit_b"]().image_encoder.eval()
    for name, parameter in module.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    pixels = torch.randn(1, 3, 1024, 1024)
    with torch.inference_mode():
        torch.testing.assert_close(Encoder(module)(pixels), module(pixels), atol=1e-3, rtol=0)

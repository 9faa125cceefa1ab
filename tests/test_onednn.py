"""Convolutions with what follows them in one pass give what the plain functions give."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tam_edit.models import onednn
from tam_edit.models.onednn import Convolution


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 1, 1), (2, 1, 1), (1, 0, 4)])
@torch.inference_mode()
def test_all_that_may_follow(
    stride: int, padding: int, groups: int, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "FUSES", onednn.FUSES and fused)
    torch.manual_seed(2)
    weight, bias = torch.randn(32, 16 // groups, 3, 3) / 12, torch.randn(32)
    convolution = Convolution(weight, bias, (1, 16, 12, 10), stride=stride, padding=padding, groups=groups)
    for size in ((12, 10), (7, 15)):  # laid out for the first only
        x = torch.randn(2, 16, *size).contiguous(memory_format=torch.channels_last)
        plain = F.conv2d(x, weight, bias, stride, padding, 1, groups)
        other = torch.randn_like(plain).contiguous(memory_format=torch.channels_last)
        total = other.clone(memory_format=torch.preserve_format)
        convolution.add_to(total, x)
        for got, wanted in (
            (convolution(x), plain),
            (convolution(x, after="relu"), plain.relu()),
            (convolution(x, after="gelu"), F.gelu(plain)),
            (convolution.plus(x, other), plain + other),
            (convolution.plus(x, other, relu=True), (plain + other).relu()),
            (total, plain + other),
        ):
            torch.testing.assert_close(got, wanted, atol=2e-5, rtol=1e-5)


def test_this_torch_fuses() -> None:
    """If this fails, a new torch has renamed what makes CPUs fast: see models/onednn.py."""
    if torch.backends.mkldnn.is_available():
        assert onednn.FUSES

"""Winograd's convolutions against direct ones in double precision: any size, any chunk, whatever follows them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tam_edit.models import onednn
from tam_edit.models.xmem import winograd
from tam_edit.models.xmem.winograd import Winograd


def pictures(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def direct(x: Tensor, weight: Tensor, bias: Tensor, add: Tensor) -> Tensor:
    return (F.conv2d(x.double().relu(), weight.double(), bias.double(), padding=1) + add.double()).relu()


def error(ours: Tensor, truth: Tensor) -> float:
    return float((ours.double() - truth).square().mean().sqrt() / truth.square().mean().sqrt())


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("tiles", [1, 7, 216])
@pytest.mark.parametrize("size", [(1, 64, 12, 16), (3, 48, 5, 9), (2, 300, 33, 7), (1, 16, 3, 70)])
@torch.inference_mode()
def test_equals_direct(
    size: tuple[int, int, int, int], tiles: int, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "_TILES", tiles)
    monkeypatch.setattr(onednn, "FUSES", onednn.FUSES and fused)
    torch.manual_seed(5)
    weight, bias = torch.randn(32, size[1], 3, 3) / size[1] ** 0.5, torch.randn(32)
    convolution = Winograd(weight, bias, size)
    for shape in (size, (2, size[1], 21, 6), (1, size[1], 4, 40)):  # laid out for the first of them only
        x, add = pictures(*shape), pictures(shape[0], 32, *shape[2:])
        before = x.clone(), add.clone()
        ours = convolution(x, rectified=True, add=add, relu=True)
        assert error(ours, direct(x, weight, bias, add)) < 3e-6
        assert torch.equal(x, before[0]) and torch.equal(add, before[1])


@torch.inference_mode()
def test_as_exact_as_a_direct_convolution() -> None:
    """Sums over many channels are made of sums over few: one after another they would lose twice as much."""
    torch.manual_seed(5)
    weight, bias = torch.randn(64, 1024, 3, 3) / 96, torch.randn(64)
    x, add = pictures(1, 1024, 32, 32), torch.zeros(1, 64, 32, 32)
    truth = direct(x, weight, bias, add)
    plain = F.conv2d(x.relu(), weight, bias, padding=1).relu()
    ours = Winograd(weight, bias, x.shape)(x, rectified=True, add=None, relu=True)
    assert error(ours, truth) < 4 * error(plain, truth)


@torch.inference_mode()
def test_a_picture_has_the_same_values_alone_and_among_others() -> None:
    torch.manual_seed(5)
    weight = torch.randn(128, 128, 3, 3) / 34
    x = pictures(3, 128, 30, 41)
    together = Winograd(weight, None, x.shape)(x, rectified=False, add=None, relu=False)
    alone = Winograd(weight, None, x[:1].shape)
    for index in range(3):
        assert torch.equal(alone(x[index : index + 1], rectified=False, add=None, relu=False)[0], together[index])

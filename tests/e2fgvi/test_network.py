"""The network against the recordings, and against a plain second writing of the specification."""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from tam_edit.errors import EngineError
from tam_edit.models import e2fgvi
from tam_edit.models.e2fgvi import transformer
from tam_edit.models.e2fgvi.network import Trace, Variant
from tam_edit.models.e2fgvi.propagation import sample_taps
from tests.e2fgvi import stand_in
from tests.e2fgvi.plain import PlainE2FGVI
from tests.support import PARITY, needs_parity

TOLERANCE = 5e-5


@lru_cache(maxsize=1)
def recorded_network(variant: Variant, precision: str = "fp32") -> e2fgvi.E2FGVI:
    sys.path.insert(0, str(PARITY))
    from weights import stand_in_state  # type: ignore[import-not-found]

    name = {"hq": "e2fgvi_hq", "base": "e2fgvi"}[variant]
    manifest = json.loads((PARITY / f"{name}.keys.json").read_text())
    return e2fgvi.load(stand_in_state(manifest), variant, precision=precision)


def recorded_input(recording: Any) -> Tensor:
    frames = torch.from_numpy(recording["frames"]).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    return (frames * (1 - torch.from_numpy(recording["masks"]).float().unsqueeze(1)))[None]


def recorded_parts(trace: Trace) -> dict[str, Tensor]:
    """The traced tensors, thinned as the recordings hold them."""
    return {
        "output": trace.output,
        "flow_forward": trace.flows[0],
        "flow_backward": trace.flows[1],
        "encoder": trace.encoder[:, ::16],
        "propagated": trace.propagated[:, :, ::16],
        "tokens": trace.tokens[..., ::64],
        "block0": trace.blocks[0][..., ::64],
        "transformer": trace.blocks[-1][..., ::64],
    }


def some_frames(count: int, height: int, width: int, seed: int = 1) -> Tensor:
    """Smooth pictures that move, with a square hole: [1, T, 3, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 12, generator=generator) * 2 - 1
    large = torch.nn.functional.interpolate(coarse, size=(height + 40, width + 40), mode="bicubic").clamp(-1, 1)
    frames = [large[0, :, 3 * t : 3 * t + height, 5 * t : 5 * t + width].clone() for t in range(count)]
    for t, frame in enumerate(frames):
        frame[:, height // 3 : height // 2, width // 4 + t : width // 2 + t] = 0
    return torch.stack(frames)[None]


@needs_parity
@pytest.mark.parametrize(
    ("variant", "name"),
    [("hq", "e2fgvi_hq_forward"), pytest.param("base", "e2fgvi_forward", marks=pytest.mark.slow)],
)
def test_recorded_forward_passes_come_out_again(variant: Variant, name: str) -> None:
    recording = np.load(PARITY / f"{name}.npz")
    trace = recorded_network(variant).trace(recorded_input(recording), int(recording["local"]))
    for part, tensor in recorded_parts(trace).items():
        assert tuple(tensor.shape) == recording[part].shape, part
        assert np.abs(tensor.numpy() - recording[part]).max() <= TOLERANCE, part


@needs_parity
@pytest.mark.slow
def test_bfloat16_stays_near_the_recording() -> None:
    recording = np.load(PARITY / "e2fgvi_hq_forward.npz")
    output, _ = recorded_network("hq", "bf16")(recorded_input(recording), int(recording["local"]))
    error = np.abs(output.numpy() - recording["output"])
    assert error.mean() < 0.01  # of 2; a grey level is .008


@pytest.mark.parametrize(("height", "width", "seed"), [(60, 108, 3), pytest.param(120, 216, 4, marks=pytest.mark.slow)])
def test_other_sizes_and_weights_agree_with_the_plain_writing(height: int, width: int, seed: int) -> None:
    state = stand_in.state("hq", seed)
    frames = some_frames(4, height, width, seed)
    output, flows = e2fgvi.load(state, "hq")(frames, 3)
    expected, expected_flows = PlainE2FGVI(state)(frames, 3)
    assert (output - expected).abs().max() <= TOLERANCE
    for ours, theirs in zip(flows, expected_flows, strict=True):
        assert (ours - theirs).abs().max() <= TOLERANCE


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 1), (4, 4), (6, 2), (1, 11)])
def test_attention_agrees_with_rolled_copies(rows: int, columns: int) -> None:
    """Far windows beyond reach, grids that wrap onto themselves, and queries of the first frames only."""
    network = stand_in.network()
    plain = PlainE2FGVI(stand_in.state("hq"))
    x = torch.randn(2, rows * 5, columns * 9, 512, generator=torch.Generator().manual_seed(5))
    block = network.transformer[0]
    with torch.inference_mode():
        expected = plain._attention("transformer.0", x)
        pooled = block._pool(x)  # type: ignore[operator]
        ours = block.attn(x, pooled, 2)  # type: ignore[operator]
        first = block.attn(x, pooled, 1)  # type: ignore[operator]
    assert (ours - expected).abs().max() < 1e-5
    assert (first - ours[:1]).abs().max() < 1e-5


def test_attention_of_several_windows_at_once_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on GPUs; on the meta device's shapes alone nothing would be compared, so the CPU plays the part."""
    block = stand_in.network().transformer[0]
    x = torch.randn(2, 10, 27, 512, generator=torch.Generator().manual_seed(8))
    with torch.inference_mode():
        pooled = block._pool(x)  # type: ignore[operator]
        one = block.attn(x, pooled, 2)  # type: ignore[operator]
        monkeypatch.setattr(transformer, "_windows_at_once", lambda _device: 4)
        several = block.attn(x, pooled, 2)  # type: ignore[operator]
    assert (one - several).abs().max() < 1e-5


def test_taps_are_those_of_deformable_convolution() -> None:
    generator = torch.Generator().manual_seed(6)
    height, width = 13, 17
    features = torch.randn(1, 64, height, width, generator=generator)
    offsets = torch.randn(1, 2 * 16 * 9, height, width, generator=generator) * 6
    mask = torch.rand(1, 16 * 9, height, width, generator=generator)
    weight = torch.randn(8, 64, 3, 3, generator=generator)
    expected = deform_conv2d(features, offsets, weight, padding=1, mask=mask)
    taps = sample_taps(features[0], offsets.view(16, 9, 2, height, width), mask[0])
    assert torch.allclose(weight.flatten(1) @ taps, expected.view(8, -1), atol=1e-3)


@pytest.mark.parametrize(
    ("rows", "columns"), [((10, 50), (3, 60)), ((0, 33), (40, 108)), ((59, 60), (7, 8)), ((0, 60), (5, 9))]
)
def test_part_of_a_picture_decodes_as_in_the_whole(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    network = stand_in.network()
    features = torch.randn(1, 128, 15, 27, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        whole = network.decode(features)
        part = network.decode(features, rows, columns)
    assert (part - whole[:, :, rows[0] : rows[1], columns[0] : columns[1]]).abs().max() < 1e-5


def test_sharing_features_gives_what_one_call_gives() -> None:
    """The parts that `fill` runs, with the last block for the neighbours only, are the whole call."""
    network = stand_in.network()
    frames = some_frames(3, 60, 108)
    trace = network.trace(frames, 2)
    with torch.inference_mode():
        gathered = network.propagate(trace.encoder[:2], (trace.flows[0][0], trace.flows[1][0]))
        filled = network.transform(torch.cat((gathered, trace.encoder[2:])), 2)
        output = network.decode(filled[1:])
    assert filled.shape[0] == 2
    assert (output - trace.output[1:2]).abs().max() < 1e-5


def test_a_single_neighbour_needs_no_flows() -> None:
    frames = some_frames(2, 60, 108)
    output, (forward, backward) = stand_in.network()(frames, 1)
    assert output.shape == (2, 3, 60, 108)
    assert forward.shape == backward.shape == (1, 0, 2, 15, 27)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize(
    ("shape", "neighbours", "says"),
    [
        ((1, 2, 3, 64, 108), 2, "multiple of 60"),
        ((1, 2, 3, 60, 120), 2, "multiple of 108"),
        ((1, 2, 3, 60, 108), 3, "3 neighbours of 2 frames"),
        ((1, 2, 3, 60, 108), 0, "0 neighbours"),
        ((2, 3, 60, 108), 1, r"\[1, T, 3, H, W\]"),
        ((1, 2, 1, 60, 108), 1, r"\[1, T, 3, H, W\]"),
    ],
)
def test_impossible_input_is_said(shape: tuple[int, ...], neighbours: int, says: str) -> None:
    with pytest.raises(EngineError, match=says):
        stand_in.network()(torch.zeros(shape), neighbours)

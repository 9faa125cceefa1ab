"""Bad input: a clear error that names what, where and what next, before anything has changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tam_edit.errors import EngineError, MaskError, MaskSizeMismatch, UsageError, WeightsMismatch
from tam_edit.models.xmem import MemorySettings, Network, Tracker, load, manifest
from tests.support import PARITY
from tests.xmem.clips import moving_discs
from tests.xmem.reference import State
from tests.xmem.test_tracker import new

CLIP, TRUTH = moving_discs(3, 32, 48, 1)
SQUARE = np.zeros((32, 48), dtype=bool)


@pytest.mark.parametrize(
    ("masks", "error", "words"),
    [
        ({0: SQUARE}, MaskError, "label 0 .* 1 to 255"),
        ({256: SQUARE}, MaskError, "256"),
        ({1.5: SQUARE}, MaskError, "1.5"),
        ({True: SQUARE}, MaskError, "True"),
        ([SQUARE], MaskError, "list"),
        ({1: SQUARE[None]}, MaskError, r"label 1 .*\[1, 32, 48\]"),
        ({1: [[True]]}, MaskError, "list"),
        ({1: SQUARE.astype(complex)}, MaskError, "complex"),
        ({1: np.full((32, 48), np.nan)}, MaskError, "not finite"),
        ({1: np.full((32, 48), np.inf, dtype=np.float32)}, MaskError, "not finite"),
        ({1: np.full((32, 48), 7.0)}, MaskError, "7.0"),
        ({1: np.arange(32 * 48).reshape(32, 48) % 3}, MaskError, "label map"),
        ({1: np.zeros((30, 48), dtype=bool)}, MaskSizeMismatch, "48x30.*48x32"),
        ({1: SQUARE.T}, MaskSizeMismatch, "32x48.*48x32"),
        ({1: SQUARE, 2: np.zeros((0, 0), dtype=bool)}, MaskSizeMismatch, "0x0"),
    ],
)
def test_masks(network: Network, masks: Any, error: type[Exception], words: str) -> None:
    tracker = new(network)
    tracker.step(CLIP[0], TRUTH[0])
    before = tracker.snapshot()
    with pytest.raises(error, match=words):
        tracker.step(CLIP[1], masks)
    with pytest.raises(error, match=words):
        tracker.memorise(CLIP[1], masks)
    after = tracker.snapshot()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert tracker.labels == [1]


@pytest.mark.parametrize("mask", [TRUTH[0][1].astype(np.uint8), TRUTH[0][1] * np.uint8(255), TRUTH[0][1].astype(float)])
def test_masks_in_other_types(network: Network, mask: np.ndarray) -> None:
    assert np.array_equal(new(network).step(CLIP[0], {1: mask}), new(network).step(CLIP[0], TRUTH[0]))


@pytest.mark.parametrize("size", [(31, 48), (33, 49), (32, 47)])
def test_a_pixel_of_rounding_is_forgiven_aloud(network: Network, size: tuple[int, int]) -> None:
    with pytest.warns(UserWarning, match=f"label 1 is {size[1]}x{size[0]}, the frame 48x32"):
        out = new(network).step(CLIP[0], {1: np.ones(size, dtype=bool)})
    assert out.shape == (2, 32, 48) and np.all(out.argmax(0) == 1)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (CLIP[0].astype(np.float32), "float32"),
        (CLIP[0][..., 0], "uint8"),
        (CLIP[0].tolist(), "list"),
        (np.zeros((0, 48, 3), dtype=np.uint8), "no pixels"),
        (np.zeros((40, 48, 3), dtype=np.uint8), "48x40.*48x32"),
    ],
)
def test_frames(network: Network, frame: Any, words: str) -> None:
    tracker = new(network)
    tracker.step(CLIP[0], TRUTH[0])
    with pytest.raises(UsageError, match=words):
        tracker.step(frame)
    assert np.isfinite(tracker.step(CLIP[1])).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"mem_every": 0},
        {"top_k": 1.5},
        {"top_k": True},
        {"enable_long_term": 1},
        {"deep_update_every": -2},
        {"min_mid_term_frames": 10},
        {"max_long_term_elements": 100},
        {"key_dim": 32},
    ],
)
def test_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        MemorySettings(**wrong)


def test_arrays_that_cannot_be_written_to(network: Network, recwarn: pytest.WarningsRecorder) -> None:
    frame, mask = CLIP[0].copy(), TRUTH[0][1].copy()
    for array in (frame, mask):
        array.flags.writeable = False
    assert np.array_equal(new(network).step(frame, {1: mask}), new(network).step(CLIP[0], TRUTH[0]))
    assert not recwarn.list


def test_other_bad_arguments(network: Network, state: State) -> None:
    for side in (0, 1.5, True):
        with pytest.raises(UsageError, match="short_side"):
            Tracker(network, short_side=side)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="precision"):
        load(state, precision="int8")
    with pytest.raises(UsageError, match="bf16"):
        load(state, precision="fp16")
    with pytest.raises(EngineError, match="abacus"):
        load(state, device="abacus")


def test_strict_names(state: State) -> None:
    damaged = dict(state)
    damaged["decoder.pred.bias"] = torch.zeros(2)
    damaged["decoder.more.weight"] = torch.zeros(1)
    del damaged["key_proj.d_proj.weight"]
    with pytest.raises(WeightsMismatch) as caught:
        load(damaged)
    words = str(caught.value)
    assert "missing (1): key_proj.d_proj.weight" in words
    assert "unexpected (1): decoder.more.weight" in words
    assert "wrongly shaped (1): decoder.pred.bias: [2] float32, but [1] float32 is needed" in words


@pytest.mark.parametrize("source", ["mapping", "file"])
def test_single_object_checkpoints(state: State, tmp_path, source: str) -> None:
    single = dict(state)
    single["value_encoder.conv1.weight"] = state["value_encoder.conv1.weight"][:, :4].clone()
    full = dict(state)
    full["value_encoder.conv1.weight"] = state["value_encoder.conv1.weight"].clone()
    full["value_encoder.conv1.weight"][:, 4] = 0
    if source == "file":
        torch.save({"state_dict": single}, tmp_path / "XMem.pth")
        network = load(tmp_path / "XMem.pth")
    else:
        network = load(single)
        assert single["value_encoder.conv1.weight"].shape[1] == 4  # what was given stays as it was
    outs = []
    for loaded in (network, load(full)):
        tracker = new(loaded)
        tracker.step(CLIP[0], TRUTH[0])
        outs.append(tracker.step(CLIP[1]))
    assert np.array_equal(*outs)


def test_counters_may_be_missing(state: State) -> None:
    load({name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")})


def test_the_manifest() -> None:
    shapes = manifest()
    assert len(shapes) == 412
    assert shapes["value_encoder.conv1.weight"] == [64, 5, 7, 7]
    if PARITY.is_dir():
        import json

        official = json.loads((PARITY / "xmem.keys.json").read_text())
        assert shapes == {name: entry[0] for name, entry in official.items()}

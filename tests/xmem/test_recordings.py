"""The recordings of ../shared/parity come out again, in float32 within the specification's tolerances."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import numpy as np
import pytest
import torch

from tam_edit.models.xmem import MemorySettings, Network, Tracker, layers, load
from tam_edit.models.xmem.frames import aggregate
from tests.support import PARITY, needs_parity

pytestmark = needs_parity
CLIPS = ("working_memory_only", "long_term", "late_object_and_correction")


@pytest.fixture(scope="module")
def stand_in() -> Network:
    found = importlib.util.spec_from_file_location("parity_weights", PARITY / "weights.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return load(module.stand_in_state(json.loads((PARITY / "xmem.keys.json").read_text())))


def convolve_by(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """One of the two ways of convolving, whatever the size of the picture."""
    monkeypatch.setattr(layers, "LEAST_TILES", 0 if way == "winograd" else 10**9)


def recording(name: str) -> dict[str, Any]:
    with np.load(PARITY / f"xmem_{name}.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("way", ["direct", "winograd"])
@torch.inference_mode()
def test_blocks(stand_in: Network, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    convolve_by(monkeypatch, way)
    wanted = {name: torch.from_numpy(array) for name, array in recording("blocks").items()}
    image = stand_in.normalised(wanted["frame"].permute(2, 0, 1))
    features = stand_in.encode_frame(image)
    grid = features.f16.shape[-2:]
    hidden = torch.zeros((2, 64, *grid))
    value, deep = stand_in.encode_value(image, features, wanted["masks"].float(), hidden)
    logits, updated = stand_in.decode(features, wanted["value"][0], wanted["hidden"][0], True)
    probability = aggregate(torch.sigmoid(logits))[None]
    got = {
        "key": features.key.T.reshape(1, 64, *grid),
        "shrinkage": features.shrinkage.reshape(1, 1, *grid),
        "selection": features.selection.T.reshape(1, 64, *grid),
        "f16": features.f16[:, ::4],
        "f8": features.f8[:, ::16],
        "f4": features.f4[:, ::32],
        "value": value[None],
        "hidden": deep[None] if deep is not None else None,
        "hidden_next": updated[None] if updated is not None else None,
        "prob_with_bg": probability,
    }
    for name, tensor in got.items():
        assert tensor is not None
        torch.testing.assert_close(
            tensor, wanted[name], rtol=0, atol=1e-4, msg=lambda words, name=name: f"{name}: {words}"
        )
    soft = torch.cat([(1 - torch.sigmoid(logits)).prod(0, keepdim=True), torch.sigmoid(logits)]).clamp(1e-7, 1 - 1e-7)
    torch.testing.assert_close(torch.logit(soft)[None], wanted["logits"], rtol=0, atol=1e-4)


def replay(network: Network, stored: dict[str, Any]) -> list[np.ndarray]:
    tracker = Tracker(network, MemorySettings(**json.loads(str(stored["config"]))), short_side=None)
    outputs = []
    for index, frame in enumerate(stored["frames"]):
        masks = None
        if f"event{index}_mask" in stored:
            known = stored[f"event{index}_all"].tolist()
            planes = stored[f"event{index}_mask"].astype(bool)
            masks = {int(label): planes[known.index(label)] for label in stored[f"event{index}_valid"]}
        outputs.append(tracker.step(frame, masks, last=index == len(stored["frames"]) - 1))
    return outputs


@pytest.mark.parametrize(("name", "way"), [*((name, "direct") for name in CLIPS), (CLIPS[2], "winograd")])
def test_clips(stand_in: Network, monkeypatch: pytest.MonkeyPatch, name: str, way: str) -> None:
    convolve_by(monkeypatch, way)
    stored = recording(name)
    outputs = replay(stand_in, stored)
    for index in stored["kept"]:
        np.testing.assert_allclose(outputs[index], stored[f"prob{index}"].astype(np.float32), rtol=0, atol=2e-3)
    agreement = np.mean([out.argmax(0) == labels for out, labels in zip(outputs, stored["labels"], strict=True)])
    assert agreement >= 0.9995

"""Checkpoints of E2FGVI: official names, both variants, everything else refused with the names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tam_edit.errors import EngineError, WeightsMismatch, WeightsMissing
from tam_edit.models import e2fgvi
from tam_edit.models.e2fgvi.loading import manifest
from tam_edit.models.e2fgvi.network import Variant
from tests.e2fgvi import stand_in
from tests.support import PARITY, needs_parity


@pytest.mark.parametrize("variant", ["hq", "base"])
def test_the_network_has_exactly_the_official_tensors(variant: Variant) -> None:
    own = {name: list(tensor.shape) for name, tensor in e2fgvi.E2FGVI(variant).state_dict().items()}
    official = {name: entry[0] for name, entry in manifest(variant).items() if "valid_ind_rolled" not in name}
    assert own == official


@needs_parity
@pytest.mark.parametrize(("variant", "name"), [("hq", "e2fgvi_hq"), ("base", "e2fgvi")])
def test_manifests_are_those_of_the_recordings(variant: Variant, name: str) -> None:
    assert manifest(variant) == json.loads((PARITY / f"{name}.keys.json").read_text())


def test_a_file_with_index_tables_and_constants_loads(tmp_path: Path) -> None:
    state = stand_in.state("base")
    state["transformer.0.attn.valid_ind_rolled"] = torch.arange(120)
    state["update_spynet.mean"] = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    torch.save(state, tmp_path / "base.pth")
    network = e2fgvi.load(tmp_path / "base.pth", variant="base")
    assert torch.equal(network.sc.bias, state["sc.bias"])
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_bfloat16_leaves_flows_and_norms_alone() -> None:
    network = e2fgvi.load(stand_in.state("hq"), precision="bf16")
    assert network.precision == torch.bfloat16
    assert network.update_spynet.mean.dtype == torch.float32
    assert network.transformer[0].norm1.weight.dtype == torch.float32


def test_wrong_checkpoints_are_refused_with_names() -> None:
    state = stand_in.state("hq")
    with pytest.raises(WeightsMismatch, match="variant 'hq', not 'base'"):
        e2fgvi.load(state, variant="base")
    del state["encoder.layers.4.weight"]
    state["encoder.layers.5.weight"] = torch.zeros(3)
    state["ss.embedding.bias"] = torch.zeros(511)
    with pytest.raises(WeightsMismatch) as caught:
        e2fgvi.load(state)
    for name in ("encoder.layers.4.weight", "encoder.layers.5.weight", "ss.embedding.bias"):
        assert name in str(caught.value)


def test_impossible_wishes_are_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing):
        e2fgvi.load(tmp_path / "none.pth")
    for wish, says in (
        ({"variant": "uhd"}, "no variant 'uhd'"),
        ({"precision": "int8"}, "int8"),
        ({"precision": "fp16"}, "needs a GPU"),
        ({"device": "abacus"}, "abacus"),
    ):
        with pytest.raises(EngineError, match=says):
            e2fgvi.load({}, **wish)


def test_the_licence_is_shown_without_torch() -> None:
    program = (
        "import sys; from tam_edit.models import e2fgvi; print(e2fgvi.LICENCE); "
        "sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "CC BY-NC 4.0" in done.stdout

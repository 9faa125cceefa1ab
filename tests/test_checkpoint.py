"""Checkpoints: what is read, what is refused, and that loading is strict both ways."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from tam_edit.errors import WeightsMismatch, WeightsMissing, WeightsUnsafe
from tam_edit.models.checkpoint import load_strict, read_state


class Intruder:
    """Pickles as a call: whoever unpickles it runs the command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("zipped", [True, False])
def test_reads_plain_and_wrapped(tmp_path: Path, wrap, zipped: bool) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(2)}
    torch.save(wrap(state), tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    for source in (tmp_path / "net.pth", str(tmp_path / "net.pth"), wrap(state)):
        read = read_state(source)
        assert read.keys() == state.keys()
        assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize("form", ["torch", "torch-old", "pickle", "pickle-text"])
def test_code_is_refused_and_never_run(tmp_path: Path, form: str) -> None:
    witness, path = tmp_path / "ran", tmp_path / "net.pth"
    content = {"a": torch.ones(3), "x": Intruder(witness)}
    if form.startswith("torch"):
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    else:
        path.write_bytes(pickle.dumps(Intruder(witness), protocol=0 if form == "pickle-text" else 4))
    with pytest.raises(WeightsUnsafe, match=r"net\.pth.*fetch"):
        read_state(path)
    assert not witness.exists()


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    torch.save(linear(), tmp_path / "net.pth")
    with pytest.raises(WeightsUnsafe):
        read_state(tmp_path / "net.pth")


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"hello there", b"\x80\x02.", b"PK\x03\x04" + b"7" * 99]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(WeightsMismatch, match=r"net\.pth"):
        read_state(tmp_path / "net.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_cut_short(tmp_path: Path, zipped: bool, share: float) -> None:
    path = tmp_path / "net.pth"
    torch.save({"a": torch.ones(9000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(WeightsMismatch, match="damaged"):
        read_state(path)


@pytest.mark.parametrize(
    "content", [[1, 2], torch.ones(3), {}, {"a": 1}, {"state_dict": {}}, {"a": {"b": torch.ones(1)}}]
)
def test_what_is_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsMismatch, match="state dict"):
        read_state(tmp_path / "net.pth")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"nowhere\.pth"):
        read_state(tmp_path / "nowhere.pth")


def official(name: str) -> str:
    return name.replace("fc.", "0.").replace("norm.", "1.")


def official_state() -> dict[str, torch.Tensor]:
    return {name.replace("0.", "fc.").replace("1.", "norm."): t + 1 for name, t in linear().state_dict().items()}


def test_loads_under_official_names() -> None:
    module, state = linear(), official_state()
    load_strict(module, state, keymap=official, origin="toy")
    assert torch.equal(module.state_dict()["0.weight"], state["fc.weight"])
    assert torch.equal(module.state_dict()["1.running_var"], state["norm.running_var"])


def test_the_three_lists_and_nothing_is_copied() -> None:
    module, state = linear(), official_state()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    names = list(state)
    state["fc.bias"] = torch.ones(5)
    state["extra"] = torch.ones(1)
    del state["norm.weight"]
    with pytest.raises(WeightsMismatch) as caught:
        load_strict(module, state, keymap=official, official=names, origin="toy from 'x.pth'")
    words = str(caught.value)
    assert "toy from 'x.pth'" in words
    assert "missing (1): norm.weight;" in words
    assert "unexpected (1): extra;" in words
    assert "wrongly shaped (1): fc.bias: [5] float32, but [2] float32 is needed" in words
    assert all(torch.equal(module.state_dict()[name], before[name]) for name in before)


def test_ignorable_names_may_be_missing_or_left_over() -> None:
    state = official_state()
    del state["norm.num_batches_tracked"]
    state["other.num_batches_tracked"] = torch.tensor(0)
    with pytest.raises(WeightsMismatch):
        load_strict(linear(), state, keymap=official, origin="toy")
    load_strict(linear(), state, keymap=official, ignorable=lambda n: n.endswith("num_batches_tracked"), origin="toy")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_must_be_finite(value: float) -> None:
    state = official_state()
    state["fc.weight"][0, 0] = value
    with pytest.raises(WeightsMismatch, match=r"not finite in fc\.weight"):
        load_strict(linear(), state, keymap=official, origin="toy")

"""Loading E2FGVI checkpoints: official names and shapes, strict, into the working precision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor

from tam_edit.errors import EngineError, WeightsMismatch
from tam_edit.models.checkpoint import load_strict, read_state, usable_device
from tam_edit.models.e2fgvi.network import E2FGVI, Variant

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Constants that the network builds itself; official files hold them too.
_CONSTANTS = ("update_spynet.mean", "update_spynet.std")
_INDEX_TABLE = ".attn.valid_ind_rolled"


def load(
    checkpoint: str | Path | Mapping[str, Tensor],
    variant: str = "hq",
    device: str | torch.device = "cpu",
    precision: str = "fp32",
) -> E2FGVI:
    """Build E2FGVI from a checkpoint: a path, or a state dict under the official names.

    `variant` is "hq" or "base"; `precision` "fp32", "bf16" or, on GPUs, "fp16": that of convolutions and matrix
    products, while flows, norms and sums stay float32. Raises WeightsMissing, WeightsUnsafe, WeightsMismatch (with
    the names), and EngineError for a device or precision that cannot be had.
    """
    if variant not in get_args(Variant):
        raise EngineError(f"E2FGVI has no variant '{variant}': choose 'hq' (any size) or 'base' (432x240)")
    if precision not in _DTYPES:
        raise EngineError(f"unknown precision '{precision}': choose one of {', '.join(_DTYPES)}")
    place = usable_device(device)
    if precision == "fp16" and place.type == "cpu":
        raise EngineError("fp16 needs a GPU: choose bf16 or fp32 on a CPU")
    state = read_state(checkpoint)
    _check_variant(state, variant)
    with torch.device("meta"):  # no time for initial values that are replaced at once
        network = E2FGVI(cast(Variant, variant))
    network.to_empty(device="cpu")
    network.update_spynet.set_constants()
    origin = "the given state dict" if isinstance(checkpoint, Mapping) else f"'{checkpoint}'"
    load_strict(
        network,
        state,
        ignorable=_ignorable,
        official=manifest(network.variant),
        origin=f"E2FGVI ({variant}) from {origin}",
    )
    return prepare(network, _DTYPES[precision], place)


def manifest(variant: Variant) -> dict[str, list[Any]]:
    """Names, shapes and types of an official checkpoint: {name: [shape, dtype]}, "keep" third for built constants."""
    text = files("tam_edit.models.e2fgvi").joinpath(f"manifest_{variant}.json").read_text(encoding="utf-8")
    return cast(dict[str, list[Any]], json.loads(text))


def prepare(network: E2FGVI, dtype: torch.dtype, device: torch.device) -> E2FGVI:
    """Make a network ready to run: precision, device, and convolution weights with the channels last."""
    network.eval().requires_grad_(False)
    for name, module in network.named_modules():
        if name.startswith("update_spynet") or ".norm" in name:
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
    network.to(device)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return network


def _ignorable(name: str) -> bool:
    return name in _CONSTANTS or name.endswith(_INDEX_TABLE)


def _check_variant(state: Mapping[str, Tensor], variant: str) -> None:
    """The two variants differ in one layer: say plainly which one a checkpoint is."""
    found = "hq" if "sc.bias_conv.weight" in state else "base" if "sc.bias" in state else variant
    if found != variant:
        raise WeightsMismatch(
            f"this is a checkpoint of the variant '{found}', not '{variant}': load it with variant='{found}', "
            "or give the other file"
        )

"""Weights for checks without recordings, and a stand-in for the network where its pictures do not matter."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from tam_edit.models import e2fgvi
from tam_edit.models.e2fgvi.loading import manifest
from tam_edit.models.e2fgvi.network import Flows, Variant


def state(variant: Variant, seed: int = 0) -> dict[str, Tensor]:
    """A state dict under the official names whose activations stay of one size."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, entry in manifest(variant).items():
        value = torch.randn(entry[0], generator=generator)
        if len(entry) > 2:
            continue
        if len(entry[0]) >= 2:
            value *= (1.5 / value[0].numel()) ** 0.5 * (0.1 if name == "decoder.6.weight" else 1.0)
        else:
            value = 0.05 * value + (1.0 if ".norm" in name and name.endswith("weight") else 0.0)
        tensors[name] = value
    return tensors


@lru_cache(maxsize=2)
def network(variant: Variant = "hq", precision: str = "fp32") -> e2fgvi.E2FGVI:
    return e2fgvi.load(state(variant), variant, precision=precision)


class Mixer:
    """Stands in for E2FGVI: cheap, and every filled pixel depends on every frame the window sees."""

    device = torch.device("cpu")
    precision = torch.float32
    variant: Variant = "hq"

    def encode(self, picture: Tensor) -> Tensor:
        return picture[:, :1, ::4, ::4] + 0.1

    def shrink(self, picture: Tensor) -> Tensor:
        return picture[:, :, ::4, ::4]

    def flow_pair(self, first: Tensor, second: Tensor) -> Flows:
        flow = (first - second)[:, :2]
        return flow, -flow

    def join_flows(self, pairs: list[Flows], like: Tensor) -> Flows:
        return cast(Flows, e2fgvi.E2FGVI.join_flows(None, pairs, like))  # type: ignore[arg-type]

    def propagate(self, features: Tensor, flows: Flows) -> Tensor:
        return features + sum((flow.sum() for flow in flows[0]), torch.zeros(())) / 1e4

    def transform(self, features: Tensor, queries: int) -> Tensor:
        # The sine of a large sum: whatever any frame changes is seen.
        return features[:queries] * 0.5 + features.mean(0, keepdim=True) * 0.2 + torch.sin(features.sum() * 9) * 0.3

    def decode(self, features: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        whole = features.repeat_interleave(4, 2).repeat_interleave(4, 3).expand(1, 3, -1, -1)
        return whole[:, :, slice(*rows), slice(*columns)]


def mixer() -> e2fgvi.E2FGVI:
    return cast(e2fgvi.E2FGVI, Mixer())

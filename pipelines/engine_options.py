"""How neural engines are to run: the device, the precision, weights named directly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tam_edit.errors import EngineError, UsageError


@dataclass(frozen=True)
class EngineOptions:
    """How neural engines run: device "auto", "cpu" or "cuda"; precision; weights named directly, by catalogue key.

    fast: XMem decodes only around where an object can be. commercial: engines whose weights forbid it are refused.
    Raises UsageError for a device that is none.
    """

    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    fast: bool = False
    weights: Mapping[str, Path] = field(default_factory=dict)
    commercial: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device {self.device!r}: there are auto, cpu and cuda (or cuda:1, the second one)")


def device_of(options: EngineOptions) -> str:
    """The device to run on; raises EngineError for one that is not there."""
    import torch

    if options.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineError(f"--device {options.device}: no such device here: use --device cpu")
    return options.device

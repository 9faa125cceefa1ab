"""The whole state of a tracker as a flat mapping of arrays, and back, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tam_edit.errors import EngineError
from tam_edit.models.xmem.bank import FrameInMemory, MemoryBank
from tam_edit.models.xmem.reading import pack
from tam_edit.models.xmem.settings import MemorySettings

Arrays = dict[str, NDArray[Any]]
FORMAT = 1


def store(arrays: Arrays, name: str, tensor: Tensor) -> None:
    """Add a copy of a tensor; bfloat16, which numpy lacks, as the bits with a note beside them."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        arrays[f"{name}.dtype"] = np.array("bfloat16")
        tensor = tensor.view(torch.uint16)
    arrays[name] = tensor.numpy().copy()


def fetch(arrays: Mapping[str, NDArray[Any]], name: str, device: torch.device) -> Tensor:
    """The tensor that `store` put under this name."""
    tensor = torch.from_numpy(np.array(arrays[name], order="C"))
    if f"{name}.dtype" in arrays:
        tensor = tensor.view(getattr(torch, str(arrays[f"{name}.dtype"])))
    return tensor.to(device)


def conditions(**told: object) -> NDArray[Any]:
    """What must be the same where a snapshot is restored."""
    return np.array(json.dumps({"format": FORMAT, **told}, sort_keys=True))


def check_conditions(arrays: Mapping[str, NDArray[Any]], wanted: NDArray[Any]) -> None:
    """Raise EngineError if a snapshot was taken under other conditions, or is none."""
    if "conditions" not in arrays:
        raise EngineError("this is no snapshot of an XMem tracker: give what Tracker.snapshot() returned")
    if str(arrays["conditions"]) != str(wanted):
        raise EngineError(
            f"the snapshot was taken with {arrays['conditions']}, this tracker has {wanted}: "
            "make the tracker with the same settings, precision and short side"
        )


def bank_arrays(bank: MemoryBank) -> Arrays:
    """A memory bank as arrays: only rows in use, and of each object only its valid ones."""
    arrays: Arrays = {"bank.elements": np.array(bank.elements), "bank.founder": np.array(bank.founder or 0)}
    rows = bank.occupied()
    index = torch.from_numpy(rows).to(bank.device)
    store(arrays, "bank.long", bank.packed[: bank.long])
    store(arrays, "bank.usage", bank.usage[index])
    store(arrays, "bank.life", bank.life[index])
    labels = sorted(bank.objects)
    frames = bank.frames
    arrays["bank.permanent"] = np.array([frame.permanent for frame in frames], dtype=bool)
    arrays["bank.members"] = np.array([[label in frame.members for label in labels] for frame in frames], dtype=bool)
    for part in ("key", "shrinkage", "selection"):
        if frames:
            store(arrays, f"bank.{part}", torch.stack([getattr(frame, part) for frame in frames]))
    arrays["bank.labels"] = np.array(labels, dtype=np.int64)
    for label in labels:
        memory = bank.objects[label]
        arrays[f"bank.valid.{label}"] = np.packbits(memory.valid[rows])
        valid = index[torch.from_numpy(memory.valid[rows]).to(bank.device)]
        store(arrays, f"bank.value.{label}", memory.value[valid])
        store(arrays, f"bank.plane.{label}", memory.plane[valid])
    return arrays


def bank_from(arrays: Mapping[str, NDArray[Any]], settings: MemorySettings, device: torch.device) -> MemoryBank:
    """The memory bank that `bank_arrays` described."""
    labels = [int(label) for label in arrays["bank.labels"]]
    dtype = fetch(arrays, f"bank.value.{labels[0]}", device).dtype if labels else torch.float32
    bank = MemoryBank(settings, int(arrays["bank.elements"]), device, dtype)
    bank.founder = int(arrays["bank.founder"]) or None
    for label in labels:
        bank.enter(label)
    members = arrays["bank.members"]
    bank.make_room(len(members))
    if len(members):
        parts = [fetch(arrays, f"bank.{part}", device) for part in ("key", "shrinkage", "selection")]
        for place, (held, permanent) in enumerate(zip(members, arrays["bank.permanent"], strict=True)):
            valid_for = {label for label, holds in zip(labels, held, strict=True) if holds}
            # Copies, so that dropping one frame later frees it.
            key, shrinkage, selection = (part[place].clone() for part in parts)
            bank.frames.append(FrameInMemory(key, shrinkage, selection, valid_for, bool(permanent)))
            bank.packed[bank.rows_of(place)] = pack(key, shrinkage)
    long = fetch(arrays, "bank.long", device)
    bank.long = len(long)
    bank.packed[: bank.long] = long
    rows = bank.occupied()
    index = torch.from_numpy(rows).to(device)
    bank.usage[index] = fetch(arrays, "bank.usage", device)
    bank.life[index] = fetch(arrays, "bank.life", device)
    for label in labels:
        memory = bank.objects[label]
        held = np.unpackbits(arrays[f"bank.valid.{label}"], count=len(rows)).astype(bool)
        memory.valid[rows] = held
        valid = index[torch.from_numpy(held).to(device)]
        memory.value[valid] = fetch(arrays, f"bank.value.{label}", device)
        memory.plane[valid] = fetch(arrays, f"bank.plane.{label}", device)
    return bank

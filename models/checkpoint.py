"""Checkpoints of all networks: read without running code, loaded strictly under the official names."""

from __future__ import annotations

import pickle
import pickletools
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tam_edit.errors import EngineError, WeightsMismatch, WeightsMissing, WeightsUnsafe

# Wrappers that training programs put around the tensors.
_WRAPPERS = ("state_dict", "model")
# A zip archive (torch >= 1.6) or a bare pickle (before): anything else is no checkpoint at all.
_BEGINNINGS = (b"PK\x03\x04", b"\x80")
_IMPORTS = {"GLOBAL", "STACK_GLOBAL", "INST"}
# Words of torch's restricted unpickler about what it will not run.
_REFUSALS = ("GLOBAL", "Unsupported", "TorchScript", "not an allowed")
# What that unpickler lets through on bytes that are not a sound checkpoint; it has no type of its own for most of it.
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,  # of a read past the end: the file was there and readable just before
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
)
_LISTED = 24


def read_state(source: str | Path | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, by official name, onto the CPU; no code in the file is ever run.

    `source` is a path or the mapping itself; {"state_dict": ...} and {"model": ...} around it are taken off.
    Raises WeightsMissing (no such file), WeightsUnsafe (a pickle that asks for code) and WeightsMismatch
    (unreadable, cut short, or no mapping of tensors).
    """
    if isinstance(source, Mapping):
        return _tensors(source, "the given state dict")
    path = Path(source)
    return _tensors(_unpickle(path), f"'{path}'")


def usable_device(device: str | torch.device) -> torch.device:
    """The device a network is to run on; raises EngineError for one that cannot be had."""
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"device '{device}' cannot be used: {error}") from error
    return place


def load_strict(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    keymap: Callable[[str], str] | None = None,
    ignorable: Callable[[str], bool] | None = None,
    official: Iterable[str] | None = None,
    origin: str,
) -> None:
    """Copy a state dict into a module, strict both ways; nothing is copied unless everything fits.

    `keymap` turns an official name into the module's own, `ignorable` (of an official name) says which may be
    missing or left over, `official` lists the official names so that missing ones are told by them, and `origin`
    says in messages what is loaded ("XMem from 'XMem.pth'").
    Raises WeightsMismatch with the missing, unexpected and wrongly shaped names, and for values that are not finite.
    """
    rename = keymap or _same
    own = module.state_dict()
    official_of = {rename(name): name for name in official} if official is not None else {}
    given = {rename(name): name for name in state}
    skip = ignorable or _never

    unexpected = [name for ours, name in given.items() if ours not in own and not skip(name)]
    missing = [
        official_of.get(ours, ours) for ours in own if ours not in given and not skip(official_of.get(ours, ours))
    ]
    misshapen = [
        f"{name}: {_form(state[name])}, but {_form(own[ours])} is needed"
        for ours, name in given.items()
        if ours in own and not _fits(state[name], own[ours])
    ]
    if missing or unexpected or misshapen:
        raise WeightsMismatch(
            f"{origin}: the tensors are not those of this network. "
            + "; ".join(
                _listed(title, names)
                for title, names in (("missing", missing), ("unexpected", unexpected), ("wrongly shaped", misshapen))
            )
            + ". Give the official checkpoint of this network and variant (tam-edit models list)."
        )
    broken = [name for ours, name in given.items() if ours in own and not _finite(state[name])]
    if broken:
        raise WeightsMismatch(
            f"{origin}: values that are not finite in {_names(broken)}. The file is damaged: fetch it again."
        )
    with torch.no_grad():
        for ours, name in given.items():
            if ours in own:
                own[ours].copy_(state[name])


def _unpickle(path: Path) -> object:
    if not path.is_file():
        raise WeightsMissing(f"no checkpoint at '{path}': fetch it (tam-edit models fetch) or name another file")
    with path.open("rb") as stream:
        beginning = stream.read(65536)
    if not beginning.startswith(_BEGINNINGS):
        if _asks_for_code(beginning):
            raise WeightsUnsafe(_unsafe(path))
        raise WeightsMismatch(
            f"'{path}' is not a checkpoint: it begins with {beginning[:12]!r}. "
            "Is it a web page or a broken download? Fetch it again."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and archive kinds: said in our own words below
            loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        words = str(error)
        if any(sign in words for sign in _REFUSALS):
            raise WeightsUnsafe(_unsafe(path)) from error
        reason = words.splitlines()[0][:120] if words else type(error).__name__
        raise WeightsMismatch(
            f"'{path}' cannot be read as a checkpoint: it is cut short or damaged ({reason}). Fetch it again."
        ) from error
    return loaded


def _unsafe(path: Path) -> str:
    return (
        f"'{path}' asks to run code when it is opened and was not loaded. Use a checkpoint that holds tensors only: "
        "fetch the official file, or save the state dict again from a program you trust."
    )


def _asks_for_code(beginning: bytes) -> bool:
    """Whether these bytes are an old text pickle that imports something; nothing is run to find out."""
    try:
        return any(code.name in _IMPORTS for code, _, _ in pickletools.genops(beginning))
    except (ValueError, LookupError):
        return False


def _tensors(loaded: object, where: str) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        kind = "an empty mapping" if isinstance(loaded, Mapping) else f"a {type(loaded).__name__}"
        raise WeightsMismatch(f"{where} holds {kind} where a state dict {{name: tensor}} is needed: give another file")
    strange = [
        str(name) for name, value in loaded.items() if not isinstance(name, str) or not isinstance(value, Tensor)
    ]
    if strange:
        raise WeightsMismatch(
            f"{where} holds entries that are not tensors: {_names(strange)}. Give the bare state dict."
        )
    return {name: value.detach() for name, value in loaded.items()}


def _fits(given: Tensor, wanted: Tensor) -> bool:
    return given.shape == wanted.shape and given.is_floating_point() == wanted.is_floating_point()


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _form(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _listed(title: str, names: list[str]) -> str:
    return f"{title} ({len(names)}): {_names(names)}"


def _names(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _same(name: str) -> str:
    return name


def _never(_name: str) -> bool:
    return False

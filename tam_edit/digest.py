"""Canonical digests: the same value gives the same hex on every run, for keys and for content."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

DIGEST_BYTES = 16


class _Sink(Protocol):
    def update(self, piece: bytes, /) -> None: ...


def digest_bytes(payload: bytes | memoryview) -> str:
    """Return the BLAKE2b-128 hex digest of raw bytes."""
    return hashlib.blake2b(payload, digest_size=DIGEST_BYTES).hexdigest()


def digest_of(value: Any) -> str:
    """Return the hex digest of a value.

    Accepts None, bool, int, float, str, bytes, Fraction, enums, numpy arrays, frozen dataclasses (by their
    fields, so a new parameter changes the digest by itself), and tuples, lists and mappings of these.
    Raises TypeError for anything else: a value that cannot be named exactly must not enter a key.
    """
    sink = hashlib.blake2b(digest_size=DIGEST_BYTES)
    _feed(sink, value)
    return sink.hexdigest()


def _feed(sink: _Sink, value: Any) -> None:
    # Every piece is tagged with its type and its length, so that ("ab", "c") and ("a", "bc") differ.
    if isinstance(value, np.generic):
        # First of all: np.float64 is a float too, and must digest as the number that it is.
        plain = value.item()
        if isinstance(plain, np.generic):  # longdouble has no plain counterpart
            raise TypeError(f"a {type(value).__qualname__} cannot be part of a key")
        _feed(sink, plain)
    elif isinstance(value, enum.Enum):
        _feed_piece(sink, type(value).__qualname__, value.name.encode())
    elif value is None or isinstance(value, bool | int | float | str | bytes | Fraction):
        body = value if isinstance(value, bytes) else repr(value).encode()
        _feed_piece(sink, type(value).__name__, body)
    elif isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of Python objects cannot be part of a key: its bytes are addresses")
        _feed_piece(sink, "array", f"{value.dtype.str}{value.shape}".encode())
        sink.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _feed_piece(sink, "dataclass", type(value).__qualname__.encode())
        _feed(sink, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, Mapping):
        _feed_piece(sink, "mapping", str(len(value)).encode())
        for name in sorted(value, key=lambda name: (type(name).__name__, repr(name))):
            _feed(sink, name)
            _feed(sink, value[name])
    elif isinstance(value, tuple | list):
        _feed_piece(sink, "sequence", str(len(value)).encode())
        for item in value:
            _feed(sink, item)
    else:
        raise TypeError(f"a {type(value).__qualname__} cannot be part of a key")


def _feed_piece(sink: _Sink, tag: str, body: bytes) -> None:
    sink.update(f"{tag}:{len(body)}:".encode())
    sink.update(body)

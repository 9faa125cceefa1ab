"""A snapshot's arrays as one run of bytes and back: exact, and the same bytes for the same arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.engine.stage import pack_frames, unpack_frames


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Names, types, shapes and contents, ordered by name."""
    names = sorted(arrays)
    head = [[name, arrays[name].dtype.str, list(arrays[name].shape)] for name in names]
    return pack_frames([json.dumps(head).encode(), *(np.ascontiguousarray(arrays[name]).tobytes() for name in names)])


def unpack_arrays(packed: bytes) -> dict[str, NDArray[Any]]:
    """The inverse of `pack_arrays`; every array owns its memory."""
    head, *bodies = unpack_frames(packed)
    return {
        name: np.frombuffer(body, np.dtype(kind)).reshape(shape).copy()
        for (name, kind, shape), body in zip(json.loads(head), bodies, strict=True)
    }

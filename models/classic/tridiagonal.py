"""LAPACK's solver for symmetric tridiagonal systems, so called that several threads can run it at once.

SciPy's own wrapper of the same function keeps Python's global lock while it computes.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_int, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def solve_tridiagonal(diagonal: Floats, beside: Floats, planes: Floats, start: int) -> None:
    """Solve for every plane of [C, N] in place, at [:, start : start + len(diagonal)].

    diagonal [n] and beside [n] (its last entry is not read) are float32, contiguous, and overwritten.
    Raises ValueError for a system that is not positive definite.
    """
    count, length = planes.shape
    size, state = len(diagonal), c_int(0)
    if start + size > length or not planes.flags.c_contiguous:
        raise ValueError(f"planes {planes.shape} hold no {size} values from {start} on")
    _sptsv()(
        byref(c_int(size)),
        byref(c_int(count)),
        diagonal.ctypes.data,
        beside.ctypes.data,
        planes.ctypes.data + start * planes.itemsize,
        byref(c_int(length)),
        byref(state),
    )
    if state.value:
        raise ValueError("the system is not positive definite")


@lru_cache(maxsize=1)
def _sptsv() -> Any:
    """The C address that SciPy publishes for Cython, as a function that gives up the lock while it runs."""
    from scipy.linalg import cython_lapack

    capsule = cython_lapack.__pyx_capi__["sptsv"]
    python = ctypes.pythonapi
    python.PyCapsule_GetName.restype, python.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    python.PyCapsule_GetPointer.restype = c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = python.PyCapsule_GetPointer(capsule, python.PyCapsule_GetName(capsule))
    number = POINTER(c_int)
    return ctypes.CFUNCTYPE(None, number, number, c_void_p, c_void_p, c_void_p, number, number)(address)

"""Limits of the system that our libraries do not bear: they are told before one of them waits for ever.

OpenBLAS, which OpenCV, numpy and SciPy each bring along, takes address space for every core when it is loaded, and some
of its versions try again without end when they are not given it; later on, threads that get none end the process in
ways that cannot be caught. Measured on x86_64 (docs/reliability.md).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tam_edit.errors import EngineError

LIBRARIES_BYTES = 560 << 20
"""Address space of numpy, OpenCV, SciPy, PyAV and PySceneDetect with one thread."""
EACH_CORE_BYTES = 220 << 20
"""What each further thread adds to it: the stacks and buffers of three copies of OpenBLAS."""
WORK_BYTES = 700 << 20
"""What the smallest job takes on top, most of it for the stacks and heaps of decoders' and encoders' threads."""
_LARGE_PIXELS = 4 << 20
_MMAP_THRESHOLD, _HIGHEST_THRESHOLD = -3, 32 << 20  # of glibc's mallopt; it raises its own threshold as far as this


def check_address_space() -> None:
    """Refuse to begin where loading the libraries alone would fail, or never end. Raises EngineError."""
    limit, cores = _limit_bytes(), _threads()
    needed = LIBRARIES_BYTES + EACH_CORE_BYTES * (cores - 1) + WORK_BYTES
    if limit is not None and limit < needed:
        raise EngineError(
            f"this process may take only {limit / 1e6:.0f} MB of address space (ulimit -v); with {cores} "
            f"thread{'s' * (cores > 1)} its libraries and the smallest job need {needed / 1e6:.0f} MB, and some wait "
            "for ever or crash when they get less: lift the limit ('ulimit -v unlimited') and use --memory instead"
        )


def memory_is_short(room_bytes: int = 64 << 20) -> bool:
    """Whether this process gets no more so many bytes: decoders and encoders call that an error like any other."""
    import numpy as np

    try:
        np.empty(room_bytes, np.uint8)
    except MemoryError:
        return True
    return False


def give_back() -> None:
    """Return freed memory to the system, which the C library keeps for later: the next stage allocates otherwise."""
    _tell_allocator("malloc_trim", 0)


@contextlib.contextmanager
def large_pictures_apart(size_wh: tuple[int, int]) -> Iterator[None]:
    """Meanwhile, arrays as large as a large picture have memory of their own, which goes back when they are freed.

    The C library otherwise keeps arrays of up to 32 MB in one heap, and what lies between those freed keeps it from
    shrinking: 110 frames of 4K took a gigabyte more than they used. Smaller pictures are left alone: there, networks
    gain by finding their memory again.
    """
    pixels = size_wh[0] * size_wh[1]
    if pixels < _LARGE_PIXELS:
        yield
        return
    _tell_allocator("mallopt", _MMAP_THRESHOLD, _LARGE_PIXELS)
    try:
        yield
    finally:
        _tell_allocator("mallopt", _MMAP_THRESHOLD, _HIGHEST_THRESHOLD)


def _tell_allocator(name: str, *numbers: int) -> None:
    """Call what only glibc offers; elsewhere nothing happens."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        getattr(ctypes.CDLL(None), name)(*numbers)


def _limit_bytes() -> int | None:
    """The limit for address space; None without one (or where the system knows none)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _threads() -> int:
    """As many as OpenBLAS will make."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        said = os.environ.get(name, "")
        if said.isdigit() and int(said) > 0:
            return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

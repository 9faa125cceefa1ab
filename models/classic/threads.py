"""Using all cores for many small products: by our own threads, with the linear algebra library kept to one each.

The library's own threads wait for each other busily; on products as small as ours that gains little on an idle
machine and loses tenfold on a busy one. Results do not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

_MOST = 8


@lru_cache(maxsize=1)
def _controller() -> Any:
    return ThreadpoolController()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers(), thread_name_prefix="classic")


@lru_cache(maxsize=1)
def workers() -> int:
    """Threads that share the work."""
    return max(1, min(_MOST, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def single_blas() -> AbstractContextManager[object]:
    """While this lasts, each product runs on the thread that asks for it."""
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limit


def share(work: Callable[[int], None], count: int) -> None:
    """Call work(0) .. work(count - 1) on all threads; each must write to a place of its own."""
    if workers() == 1 or count < 2:
        for index in range(count):
            work(index)
        return

    def every(first: int) -> None:
        for index in range(first, count, workers()):
            work(index)

    list(_pool().map(every, range(min(count, workers()))))

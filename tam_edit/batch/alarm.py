"""A job's time limit, kept by the process that does it: the work is interrupted as if by Ctrl-C, so nothing is lost."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

AGAIN_S = 5.0
"""An interrupt may come where Python cannot raise it (in a destructor): it is repeated."""


class Alarm:
    """Interrupts the block after so many seconds with KeyboardInterrupt; `rung` then tells why.

    seconds None: never. In the main thread only, where the system has such a clock (not on Windows); elsewhere the
    pool ends the whole worker a little later.
    """

    def __init__(self, seconds: float | None) -> None:
        self.rung = False
        main = threading.current_thread() is threading.main_thread()
        self._seconds = seconds if main and hasattr(signal, "setitimer") else None
        self._open = False
        self._former: Any = None

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._former = signal.signal(signal.SIGALRM, self._ring)
            self._open = True
            signal.setitimer(signal.ITIMER_REAL, max(self._seconds, 0.001), AGAIN_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False  # first: an alarm from here on must not interrupt what comes after the block
        if self._seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL if self._former is None else self._former)

    def _ring(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - Python's signature
        if self._open:
            self.rung = True
            raise KeyboardInterrupt


def overtime_words(limit_s: float) -> str:
    """What is said of a job that took longer than it may."""
    return (
        f"took longer than its time_limit of {in_words(limit_s)}: what is finished is kept, the next run goes on from "
        "there; give it more time, or divide the clip"
    )


def in_words(seconds: float) -> str:
    """Seconds as a person would write them in the jobs file."""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"

"""What is done to a clip: effects as values, the same from the command line, from edit.json and from Python."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What of the tracked objects an effect is about; None: all of them."""

    objects: tuple[str, ...] | None = None
    invert: bool = False

"""Reading what a request says: JSON of bounded size, and its values with mistakes told in words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from starlette.requests import Request

from tam_edit.errors import UsageError
from tam_edit.masks import Mask

LARGEST_JSON_BYTES = 16 << 20
MOST_POINTS = 500
MOST_LINES = 100


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries. Raises UsageError."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > LARGEST_JSON_BYTES:
            raise UsageError("the request is too large")
        pieces.append(piece)
    try:
        found = json.loads(b"".join(pieces) or b"{}")
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the request is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise UsageError("the request is no JSON object")
    return found


def text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{what} {value!r}: text is needed")
    return value


def number(value: Any, what: str) -> int:
    if isinstance(value, str) and value.isdigit() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 10**9:
        raise UsageError(f"{what} {value!r}: a whole number is needed")
    return value


def points(value: Any, what: str) -> list[tuple[float, float]]:
    if not isinstance(value, list) or len(value) > MOST_POINTS:
        raise UsageError(f"{what}: at most {MOST_POINTS} pairs [x, y] are possible")
    found = []
    for pair in value:
        numbers = pair if isinstance(pair, list) and len(pair) == 2 else [None, None]
        if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            raise UsageError(f"{what} {pair!r}: write [x, y]")
        found.append((float(pair[0]), float(pair[1])))
    return found


def lines(value: Any, what: str) -> list[list[tuple[float, float]]]:
    if not isinstance(value, list) or len(value) > MOST_LINES:
        raise UsageError(f"{what}: at most {MOST_LINES} lists of points are possible")
    return [points(line, f"{what}[{index}]") for index, line in enumerate(value)]


def mask(runs: Any, size_wh: tuple[int, int]) -> Mask:
    """A mask [H, W] from run lengths along the rows, the first of them background."""
    width, height = size_wh
    fits = isinstance(runs, list) and all(type(run) is int and 0 <= run <= width * height for run in runs)
    if not fits or sum(runs) != width * height:
        raise UsageError(f"a mask needs run lengths that add up to {width}x{height} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.asarray(np.repeat(values, runs).reshape(height, width))


def settings(given: dict[str, Any]) -> dict[str, Any]:
    """Fields of Settings by name, of the right kinds; their values are checked by Settings itself."""
    words, switches = ("segmenter", "tracker", "inpainter", "refine", "matte", "shadow"), ("smooth", "mend")
    pixels: dict[str, tuple[type, ...]] = {"dilate_px": (int,), "erode_px": (int,), "feather_px": (int, float)}
    known = {*words, *switches, *pixels}
    if unknown := given.keys() - known:
        raise UsageError(f"settings {sorted(unknown)}: there are {', '.join(sorted(known))}")
    for name, value in given.items():
        if name in words:
            text(value, name)
        elif name in switches and not isinstance(value, bool):
            raise UsageError(f"{name} {value!r}: true or false is needed")
        elif name in pixels and value is not None and (isinstance(value, bool) or not isinstance(value, pixels[name])):
            raise UsageError(f"{name} {value!r}: a number of pixels is needed")
    return {
        name: float(value) if name == "feather_px" and value is not None else value for name, value in given.items()
    }

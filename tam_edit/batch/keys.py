"""The keys of a jobs file: their names are those of the commands' options, and each checks its value once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tam_edit.batch.jobs import EFFECTS, OVERWRITES
from tam_edit.effects import ENDS, FITS, FOLLOWS, MATCHES
from tam_edit.settings import MATTES, REFINE, SHADOWS

_RATE = re.compile(r"\d{1,9}([./]\d{1,9})?")
_EXACT = re.compile(r"\d{1,9}(\.\d{1,9}|/[1-9]\d{0,8})?")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?(s|m|h)")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
MOST_DURATION_S = 30 * 24 * 3600
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class Wrong(ValueError):
    """A value that cannot be meant; the words say what is needed."""


Check = Callable[[Any], Any]


def text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong("text is needed")
    return value


def path(value: Any) -> str:
    return text(value)


def paths(value: Any) -> tuple[str, ...]:
    """A path or pattern, or a list of them."""
    if isinstance(value, str):
        return (path(value),)
    if not isinstance(value, list) or not value:
        raise Wrong("a path, a pattern or a list of them is needed")
    return tuple(path(item) for item in value)


def one_of(*names: str) -> Check:
    def check(value: Any) -> str:
        if value not in names or not isinstance(value, str):
            raise Wrong(f"one of {', '.join(names)} is needed")
        return value

    return check


def yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong("true or false is needed")
    return value


def whole(least: int, most: int) -> Check:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Wrong(f"a whole number from {least} to {most} is needed")
        return value

    return check


def number(least: float, most: float) -> Check:
    def check(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise Wrong(f"a number from {least:g} to {most:g} is needed")
        return float(value)

    return check


def names(value: Any) -> tuple[str, ...]:
    """Objects' names: a list, or text with commas between as on the command line."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list) or not given or not all(isinstance(item, str) and item.strip() for item in given):
        raise Wrong('a list of names is needed, such as ["ball", "shadow"]')
    return tuple(item.strip() for item in given)


def export_format(value: Any) -> str:
    from tam_edit.pipelines.export import EXPORTS

    return str(one_of(*EXPORTS)(value))


def weights(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) and item for item in value.values()):
        raise Wrong('a table is needed, such as { xmem = "XMem.pth" }')
    return dict(value)


def frame_rate(value: Any) -> str:
    words = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    if not _RATE.fullmatch(words):
        raise Wrong('frames a second are needed, such as 25 or "30000/1001"')
    return words


def points(value: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list):
        raise Wrong("points are needed, such as [[320, 200], [340, 190]]")
    return tuple((pair[0], pair[1]) for pair in (_numbers(item, 2, "a point is [x, y]") for item in value))


def box(value: Any) -> tuple[float, ...]:
    sides = _numbers(value, 4, "a box is [x0, y0, x1, y1]")
    if not (sides[0] < sides[2] and sides[1] < sides[3]):
        raise Wrong("a box is [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
    return sides


def _numbers(value: Any, count: int, words: str) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise Wrong(words)
    if not all(isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item) for item in value):
        raise Wrong(words)
    if any(abs(item) > 1e9 for item in value):
        raise Wrong("pixels are meant")
    return tuple(float(item) for item in value)


def lists_of(check: Check, words: str) -> Check:
    def all_of(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise Wrong(words)
        return tuple(check(item) for item in value)

    return all_of


def pair(value: Any) -> tuple[float, ...]:
    return _numbers(value, 2, "[x, y] in pixels is needed")


def colour(value: Any) -> str:
    if not isinstance(value, str) or not _COLOUR.fullmatch(value):
        raise Wrong("a colour is needed, such as #c02020")
    return value


def exactly(value: Any) -> str:
    words = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    if not _EXACT.fullmatch(words):
        raise Wrong('a number is needed, such as 1.5 or "24000/1001"')
    return words


def part(value: Any) -> str:
    sides = value.split(":") if isinstance(value, str) else []
    if len(sides) != 2 or not all(not side or _EXACT.fullmatch(side) for side in sides):
        raise Wrong('a part in seconds is needed, such as "2:7.5"')
    return str(value)


def duration(value: Any) -> float:
    """Seconds: a number, or text with a unit."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = float(found[1]) * _UNITS_S[found[2]] if found else value
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 1 <= seconds <= MOST_DURATION_S:
        raise Wrong('seconds are needed, or a time such as "90s", "45m" or "2h", from 1 s to 30 days')
    return float(seconds)


def or_auto(check: Check) -> Check:
    return lambda value: value if value == "auto" else check(value)


SOURCE: Mapping[str, Check] = {
    "clip": paths,
    "project": paths,
    "keep": path,
    "script": path,
    "fps": frame_rate,
    "allow_truncated": yes,
}
# Keys of a job and what the script's settings call them.
SETTINGS: Mapping[str, str] = {
    "segmenter": "segmenter",
    "tracker": "tracker",
    "inpainter": "inpainter",
    "refine": "refine",
    "dilate": "dilate_px",
    "erode": "erode_px",
    "feather": "feather_px",
    "matte": "matte",
    "smooth": "smooth",
    "mend": "mend",
    "shadow": "shadow",
}
ENGINE: Mapping[str, Check] = {
    "device": text,
    "precision": one_of("fp32", "bf16", "fp16"),
    "fast": yes,
    "weights": weights,
    "commercial": yes,
}
OF_EFFECTS: Mapping[str, Check] = {
    "objects": names,
    "invert": yes,
    "background": text,
    "fit": one_of(*FITS),
    "scale": number(0.01, 100),
    "offset": pair,
    "trim": part,
    "speed": exactly,
    "at_end": one_of(*ENDS),
    "match_colour": one_of(*MATCHES),
    "grain": or_auto(number(0, 64)),
    "follow": one_of(*FOLLOWS),
    "recolour": colour,
    "blur": or_auto(number(0.01, 1000)),
    "pixelate": whole(1, 64),
    "picture": path,
    "format": export_format,
    "lossless": yes,
    "crf": whole(0, 63),
    "codec": text,
}
KEYS: Mapping[str, Check] = {
    "effect": one_of(*EFFECTS),
    "output": path,
    "overwrite": one_of(*OVERWRITES),
    "time_limit": duration,
    "prompts": lambda value: value,  # checked item by item, with the place of each
    **SOURCE,
    "segmenter": text,
    "tracker": text,
    "inpainter": text,
    "refine": one_of(*REFINE),
    "dilate": whole(0, 500),
    "erode": whole(0, 500),
    "feather": number(0, 500),
    "matte": one_of(*MATTES),
    "smooth": yes,
    "mend": yes,
    "shadow": one_of(*SHADOWS),
    **ENGINE,
    **OF_EFFECTS,
}
"""Every key of [defaults] and of [[jobs]]."""

COMMON = frozenset(KEYS) - frozenset(OF_EFFECTS)
"""The keys that every job may have, whatever its effect."""

BASE = frozenset({"version"})

lines = lists_of(points, "a list of lines is needed, each a list of points [x, y]")

PROMPT_KEYS: Mapping[str, Check] = {
    "object": text,
    "frame": whole(0, 2**31 - 1),
    "points": points,
    "negative": points,
    "box": box,
    "mask": path,
    "absent": yes,
    "boxes": lists_of(box, "a list of boxes is needed, each [x0, y0, x1, y1]"),
    "scribbles": lines,
    "negative_scribbles": lines,
    "polish": yes,
    "candidate": whole(0, 2),
}

"""Damage by seed: to bytes, to JSON trees and to text."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

# Values where something else was meant.
STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    255,
    256,
    2**31,
    2**63,
    10**30,
    -(10**400),
    0.5,
    1e308,
    -1e-300,
    float("nan"),
    float("inf"),
    "",
    " ",
    ".",
    "..",
    "/",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "~",
    "nowhere.mp4",
    "auto",
    "classic",
    "xmem",
    "\0",
    "a\0b",
    "\ud800",
    "é" * 300,
    "x" * 70000,
    "../" * 500,
    "{name}",
    "{0.__class__}",
    "%s%n",
    "$(id)",
    [],
    [[]],
    [None],
    {},
    {"": {}},
    [0] * 5000,
)


def bytes_of(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Some damage to a file's bytes, and its name."""
    name, damage = rng.choice(BYTES)
    return damage(content, rng), name


def _flipped(content: bytes, rng: random.Random, count: int, start: int = 0, stop: int | None = None) -> bytes:
    changed = bytearray(content)
    for _ in range(count):
        if changed:
            changed[rng.randrange(start, min(stop or len(changed), len(changed)))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut_out(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.randrange(1, 4096) :]


def _doubled(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    stop = start + rng.randrange(1, 4096)
    return content[:stop] + content[start:]


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    stop = min(start + rng.randrange(1, 2048), len(content))
    return content[:start] + bytes(stop - start) + content[stop:]


def _sizes(content: bytes, rng: random.Random) -> bytes:
    """Wrong sizes in front of boxes: four bytes before something that looks like a box's name."""
    names = [found.start() for found in re.finditer(rb"[a-z]{3}[a-z0-9 ]", content) if found.start() >= 4]
    if not names:
        return _flipped(content, rng, 8, 0, 64)
    at = rng.choice(names)
    size = rng.choice([0, 1, 7, 8, 2**16, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)])
    return content[: at - 4] + size.to_bytes(4, "big") + content[at:]


BYTES: list[tuple[str, Callable[[bytes, random.Random], bytes]]] = [
    ("one bit", lambda content, rng: _flipped(content, rng, 1)),
    ("many bits", lambda content, rng: _flipped(content, rng, 1 + len(content) // 200)),
    ("header bits", lambda content, rng: _flipped(content, rng, 6, 0, 200)),
    ("tail bits", lambda content, rng: _flipped(content, rng, 6, max(len(content) - 900, 0))),
    ("cut short", lambda content, rng: content[: rng.randrange(len(content) + 1)]),
    ("cut a little", lambda content, rng: content[: -rng.randrange(1, 64)]),
    ("head missing", lambda content, rng: content[rng.randrange(1, 600) :]),
    ("a piece missing", _cut_out),
    ("a piece twice", _doubled),
    ("a piece zero", _zeroed),
    ("wrong box size", _sizes),
    ("noise behind", lambda content, rng: content + rng.randbytes(rng.randrange(1, 5000))),
    ("only noise", lambda content, rng: rng.randbytes(len(content))),
    ("empty", lambda content, rng: b""),
]


def json_of(text: str, rng: random.Random) -> str:
    """Some damage to a JSON text: to its tree mostly, sometimes to its letters."""
    if rng.random() < 0.25:
        return bytes_of(text.encode(), rng)[0].decode("utf-8", "surrogateescape")
    if rng.random() < 0.05:
        depth = rng.choice([50, 2000, 100_000])
        return "[" * depth + "]" * depth
    tree = json.loads(text)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        tree = changed_tree(tree, rng)
    return json.dumps(tree)


def changed_tree(tree: Any, rng: random.Random) -> Any:
    """A tree with one thing in it changed, taken away, added or put elsewhere."""
    places: list[tuple[Any, Any]] = []
    _places(tree, places)
    if not places or rng.random() < 0.02:
        return rng.choice(STRANGE)
    holder, key = rng.choice(places)
    action = rng.random()
    if action < 0.3:
        holder[key] = another(holder[key], rng)
    elif action < 0.6:
        holder[key] = rng.choice(STRANGE)
    elif action < 0.75:
        del holder[key]
    elif action < 0.85:
        other, place = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[place])) if place in _keys(other) else None
    elif isinstance(holder, dict):
        holder[rng.choice(["points", "box", "mask", "absent", "frame", "x", "effects", "\n"])] = rng.choice(STRANGE)
    else:
        holder.extend([holder[key]] * rng.choice([1, 300]))
    return tree


def another(value: Any, rng: random.Random) -> Any:
    """Another value of the same kind: what a person might write, and what is not refused at first sight."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice([-1, 1, 3, 5, 0.5, -30, 30, 60, 1000])
    if isinstance(value, str):
        return rng.choice(
            [
                "ball",
                "corner",
                "remove",
                "replace",
                "classic",
                "never",
                "always",
                "/dev/zero",
                value[:-1],
                "../" + value,
            ]
        )
    if isinstance(value, list):
        return rng.choice([value[::-1], value + value, value[:-1]])
    return {}


def _keys(holder: Any) -> Any:
    return holder.keys() if isinstance(holder, dict) else range(len(holder))


def _places(tree: Any, found: list[tuple[Any, Any]]) -> None:
    if isinstance(tree, dict | list):
        for key in _keys(tree):
            found.append((tree, key))
            _places(tree[key], found)


TOML_PIECES = (
    '""',
    '"/dev/zero"',
    "-1",
    "0",
    "1e999",
    "nan",
    "true",
    "[]",
    "[[1,2]]",
    "{}",
    '"' + "x" * 5000 + '"',
    '"{nope}"',
    '"{name"',
    '"**"',
    '"[a"',
    '"\\u0000"',
    "2020-01-01",
    "99999999999999999999999",
    '"auto"',
    '"export"',
    '"#zzzzzz"',
    "'''a\nb'''",
    "[" * 3000,
    "{ object = 1 }",
    '"../*.edit"',
    '"*"',
)


def toml_of(text: str, rng: random.Random) -> str:
    """Some damage to a jobs file: values mostly, else lines or letters."""
    lines = text.splitlines()
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(lines))
        action = rng.random()
        if action < 0.55 and "=" in lines[at]:
            lines[at] = lines[at].split("=")[0] + "= " + rng.choice(TOML_PIECES)
        elif action < 0.65:
            del lines[at]
        elif action < 0.75:
            lines.insert(at, rng.choice(lines))
        elif action < 0.85:
            lines.insert(
                at, f"{rng.choice(['crf', 'pixelate', 'weights', 'keep', 'x.y', 'trim'])} = {rng.choice(TOML_PIECES)}"
            )
        else:
            lines[at] = bytes_of(lines[at].encode(), rng)[0].decode("utf-8", "surrogateescape")
        if not lines:
            break
    return "\n".join(lines) + "\n"

"""JSON trees that people write by hand: taken apart with every mistake told by its path, and written for reading."""

from __future__ import annotations

import dataclasses
import difflib
import json
import reprlib
from fractions import Fraction
from typing import Any, NoReturn

from tam_edit.errors import ScriptError

MOST_NUMBER = 1e9

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def shown(value: Any) -> str:
    """A wrong value for a message, cut short: the place says where the rest is."""
    return _SHORT.repr(value)


def _short(name: str) -> str:
    return name if name.isprintable() and len(name) <= 60 else shown(name)


class Repeated(dict[str, Any]):
    """A JSON object that says something twice: the reader refuses it where it stands."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def pairs_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) == len(pairs):
        return tree
    names = [name for name, _ in pairs]
    return Repeated(next(name for name in names if names.count(name) > 1))


class TreeReader:
    """Takes values out of a tree; every mistake is raised as ScriptError with its path, such as objects[0].name."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def mapping(self, tree: Any, at: str, known: set[str], needed: set[str]) -> dict[str, Any]:
        """A JSON object with none but the known fields, and all that are needed."""
        if not isinstance(tree, dict):
            self.fail(at, f"{shown(tree)}: an object with {', '.join(sorted(known))} is needed")
        if isinstance(tree, Repeated):
            self.fail(f"{at}.{_short(tree.name)}".lstrip("."), "is there twice: join the two into one")
        for name in tree:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                self.fail(
                    f"{at}.{_short(name)}".lstrip("."), "is unknown" + (f": do you mean {close[0]!r}?" if close else "")
                )
        for name in sorted(needed - tree.keys()):
            self.fail(f"{at}.{name}".lstrip("."), "is missing")
        return dict(tree)

    def list(self, tree: Any, at: str) -> list[Any]:
        if not isinstance(tree, list):
            self.fail(at, f"{shown(tree)}: a list is needed")
        return list(tree)

    def whole(self, tree: Any, at: str) -> int:
        if not isinstance(tree, int) or isinstance(tree, bool) or not 0 <= tree < 2**31:
            self.fail(at, f"{shown(tree)}: a whole number from 0 is needed")
        return int(tree)

    def number(self, tree: Any, at: str) -> float:
        if not isinstance(tree, int | float) or isinstance(tree, bool) or not abs(tree) <= MOST_NUMBER:
            self.fail(at, f"{shown(tree)}: a number is needed")
        return float(tree)

    def flag(self, tree: Any, at: str) -> bool:
        if not isinstance(tree, bool):
            self.fail(at, f"{shown(tree)}: true or false is needed")
        return bool(tree)

    def fail(self, at: str, words: str) -> NoReturn:
        raise ScriptError(f"{self.origin}: {at or 'the top'}: {words}")


def without_defaults(value: Any, always: tuple[str, ...] = ()) -> dict[str, Any]:
    """A dataclass as a JSON object without what is as usual, save for the fields that are always there."""
    found = {}
    for item in dataclasses.fields(value):
        content = getattr(value, item.name)
        if item.name in always or content != item.default:
            found[item.name] = plain(content)
    return found


def plain(value: Any) -> Any:
    """A field as JSON: fractions as text, whole floats as whole numbers."""
    if dataclasses.is_dataclass(value):
        return without_defaults(value)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def pretty(tree: Any, indent: str = "") -> str:
    """JSON with one line for every list of plain values or of points: a click reads as one line in a diff."""
    deeper = indent + "  "
    if isinstance(tree, dict) and tree:
        inner = [f"{deeper}{json.dumps(name)}: {pretty(value, deeper)}" for name, value in tree.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        return "[\n" + ",\n".join(deeper + pretty(item, deeper) for item in tree) + f"\n{indent}]"
    line = json.dumps(tree, ensure_ascii=False)
    # File names may hold bytes that are no text, or signs that nobody sees: those are written as escapes.
    return line if line.isprintable() else json.dumps(tree)

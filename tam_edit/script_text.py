"""The edit script's text, edit.json: read with every mistake told by its path, written as the same bytes each time.

docs/edit.schema.json describes the same for other programs.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from fractions import Fraction
from typing import Any, NoReturn

from tam_edit.errors import MaskError, PromptError, ScriptError
from tam_edit.script import (
    FRAME_RATE,
    MOST_FRAMES_A_SECOND,
    MOST_NAME_SIGNS,
    MOST_NUMBER,
    MOST_OBJECTS,
    EditScript,
    Point,
    Prompt,
    ScriptObject,
    ScriptSource,
    StoredMask,
    check_name,
    shown,
)
from tam_edit.settings import Settings

FORMAT = "tam-edit"
VERSION = 1
MOST_SIDE_PX = 65536


def text_of(script: EditScript) -> str:
    """The file's text: two spaces of indent, one prompt's small lists on one line, ends with a newline."""
    return _pretty(tree_of(script)) + "\n"


def tree_of(script: EditScript) -> dict[str, Any]:
    """The script as JSON, without what is as usual."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "source": _without_defaults(script.source, always=("path", "digest")),
        "objects": [
            {
                "name": item.name,
                "prompts": [
                    {"frame": frame, **_without_defaults(prompt)} for frame, prompt in sorted(item.prompts.items())
                ],
            }
            for item in script.objects
        ],
        "settings": _without_defaults(script.settings),
    }


def parse(text: str, origin: str) -> EditScript:
    """Read and check a script. Raises ScriptError naming the file and the line or path of the first mistake."""
    try:
        return _Reader(origin).script(json.loads(text, object_pairs_hook=_pairs))
    except json.JSONDecodeError as error:
        raise ScriptError(
            f"{origin}, line {error.lineno}, column {error.colno}: {error.msg}: mend it there, or take the last "
            "good version from version control"
        ) from error
    except RecursionError as error:
        raise ScriptError(f"{origin}: nested too deeply for an edit script") from error
    except ValueError as error:  # Python's limit for the digits of a whole number
        raise ScriptError(f"{origin}: a number has too many digits: shorten it") from error


class _Repeated(dict[str, Any]):
    """A JSON object that says something twice: the reader refuses it where it stands."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) == len(pairs):
        return tree
    names = [name for name, _ in pairs]
    return _Repeated(next(name for name in names if names.count(name) > 1))


class _Reader:
    """Takes the JSON tree apart; every mistake is raised with its path, such as objects[0].prompts[2].box."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def script(self, tree: Any) -> EditScript:
        top = self.mapping(tree, "", {"format", "version", "source", "objects", "settings"}, {"format", "source"})
        if top["format"] != FORMAT:
            self.fail("format", f"{shown(top['format'])} is not an edit script of tam-edit")
        version = top.get("version", VERSION)
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
            self.fail("version", f"{shown(version)} is unknown here (newest: {VERSION}): use a newer tam-edit")
        objects = tuple(
            self.object(item, f"objects[{index}]")
            for index, item in enumerate(self.list(top.get("objects", []), "objects"))
        )
        names = [item.name for item in objects]
        for index, name in enumerate(names):
            if name in names[:index]:
                self.fail(f"objects[{index}].name", f"{name!r} is there twice: each object needs a name of its own")
        if len(objects) > MOST_OBJECTS:
            self.fail("objects", f"{len(objects)} objects, at most {MOST_OBJECTS} are possible")
        return EditScript(self.source(top["source"]), objects, self.settings(top.get("settings", {})))

    def source(self, tree: Any) -> ScriptSource:
        known = {"path", "digest", "frame_rate", "allow_truncated"}
        given = self.mapping(tree, "source", known, {"path", "digest"})
        rate = given.get("frame_rate")
        frame_rate = None if rate is None else self.rate(rate, "source.frame_rate")
        path, digest = given["path"], given["digest"]
        if not isinstance(path, str) or not path or "\0" in path:
            self.fail("source.path", f"{shown(path)}: the path of a clip is needed")
        if not isinstance(digest, str):
            self.fail("source.digest", f"{shown(digest)}: text is needed")
        return ScriptSource(
            path, digest, frame_rate, self.flag(given.get("allow_truncated", False), "source.allow_truncated")
        )

    def object(self, tree: Any, at: str) -> ScriptObject:
        given = self.mapping(tree, at, {"name", "prompts"}, {"name"})
        if not isinstance(given["name"], str):
            self.fail(f"{at}.name", f"{shown(given['name'])}: text is needed")
        if len(given["name"]) > MOST_NAME_SIGNS:
            self.fail(f"{at}.name", f"{len(given['name'])} signs: a name has at most {MOST_NAME_SIGNS}")
        try:
            check_name(given["name"])
        except PromptError as error:
            self.fail(f"{at}.name", str(error))
        prompts: dict[int, Prompt] = {}
        for index, item in enumerate(self.list(given.get("prompts", []), f"{at}.prompts")):
            place = f"{at}.prompts[{index}]"
            frame, prompt = self.prompt(item, place)
            if frame in prompts:
                self.fail(f"{place}.frame", f"frame {frame} is there twice: join the two into one")
            prompts[frame] = prompt
        return ScriptObject(given["name"], dict(sorted(prompts.items())))

    def prompt(self, tree: Any, at: str) -> tuple[int, Prompt]:
        names = {item.name for item in dataclasses.fields(Prompt)}
        given = self.mapping(tree, at, names | {"frame"}, {"frame"})
        frame = self.whole(given["frame"], f"{at}.frame")
        box = given.get("box")
        try:
            prompt = Prompt(
                points=self.points(given.get("points", []), f"{at}.points"),
                negative=self.points(given.get("negative", []), f"{at}.negative"),
                box=None if box is None else self.box(box, f"{at}.box"),
                mask=self.stored_mask(given.get("mask"), f"{at}.mask"),
                absent=self.flag(given.get("absent", False), f"{at}.absent"),
                prior=self.stored_mask(given.get("prior"), f"{at}.prior"),
                candidate=self.whole(given.get("candidate", 0), f"{at}.candidate"),
            )
        except PromptError as error:
            self.fail(at, str(error))
        return frame, prompt

    def settings(self, tree: Any) -> Settings:
        fields = {item.name for item in dataclasses.fields(Settings)}
        given = self.mapping(tree, "settings", fields, set())
        for name in ("segmenter", "tracker", "inpainter"):
            if not isinstance(given.get(name, ""), str):
                self.fail(f"settings.{name}", f"{shown(given[name])}: the name of an engine is needed")
        if given.get("dilate_px") is not None:
            self.whole(given["dilate_px"], "settings.dilate_px")
        if given.get("feather_px") is not None:
            # A float as from the command line: 2 and 2.0 must not give two keys.
            given["feather_px"] = self.number(given["feather_px"], "settings.feather_px")
        try:
            return Settings(**given)
        except PromptError as error:
            self.fail("settings", str(error))

    def stored_mask(self, tree: Any, at: str) -> StoredMask | None:
        if tree is None:
            return None
        given = self.mapping(tree, at, {"size_wh", "counts"}, {"size_wh", "counts"})
        size = self.list(given["size_wh"], f"{at}.size_wh")
        if len(size) != 2 or not isinstance(given["counts"], str):
            self.fail(at, 'a mask is {"size_wh": [width, height], "counts": "COCO run lengths"}')
        width, height = (self.whole(side, f"{at}.size_wh") for side in size)
        if not (0 < width <= MOST_SIDE_PX and 0 < height <= MOST_SIDE_PX):
            self.fail(f"{at}.size_wh", f"{width}x{height} is no size of a picture")
        stored = StoredMask((width, height), given["counts"])
        try:
            stored.check()
        except MaskError as error:
            self.fail(f"{at}.counts", str(error))
        return stored

    def points(self, tree: Any, at: str) -> tuple[Point, ...]:
        found = []
        for index, item in enumerate(self.list(tree, at)):
            place = f"{at}[{index}]"
            pair = self.list(item, place)
            if len(pair) != 2:
                self.fail(place, f"{shown(item)}: a point is [x, y]")
            found.append((self.number(pair[0], place), self.number(pair[1], place)))
        return tuple(found)

    def box(self, tree: Any, at: str) -> tuple[float, float, float, float]:
        sides = [self.number(side, at) for side in self.list(tree, at)]
        if len(sides) != 4:
            self.fail(at, f"{shown(tree)}: a box is [x0, y0, x1, y1]")
        return sides[0], sides[1], sides[2], sides[3]

    def mapping(self, tree: Any, at: str, known: set[str], needed: set[str]) -> dict[str, Any]:
        if not isinstance(tree, dict):
            self.fail(at, f"{shown(tree)}: an object with {', '.join(sorted(known))} is needed")
        if isinstance(tree, _Repeated):
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

    def rate(self, tree: Any, at: str) -> Fraction:
        words = str(tree) if isinstance(tree, int | float | str) and not isinstance(tree, bool) else ""
        if not FRAME_RATE.fullmatch(words) or not 0 < Fraction(words) <= MOST_FRAMES_A_SECOND:
            self.fail(at, f'{shown(tree)}: write frames a second, such as "25" or "30000/1001"')
        return Fraction(words)

    def flag(self, tree: Any, at: str) -> bool:
        if not isinstance(tree, bool):
            self.fail(at, f"{shown(tree)}: true or false is needed")
        return bool(tree)

    def fail(self, at: str, words: str) -> NoReturn:
        raise ScriptError(f"{self.origin}: {at or 'the top'}: {words}")


def _short(name: str) -> str:
    return name if name.isprintable() and len(name) <= 60 else shown(name)


def _without_defaults(value: Any, always: tuple[str, ...] = ()) -> dict[str, Any]:
    found = {}
    for item in dataclasses.fields(value):
        content = getattr(value, item.name)
        if item.name in always or content != item.default:
            found[item.name] = _plain(content)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, StoredMask):
        return {"size_wh": list(value.size_wh), "counts": value.counts}
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _pretty(tree: Any, indent: str = "") -> str:
    """JSON with one line for every list of plain values or of points: a click reads as one line in a diff."""
    deeper = indent + "  "
    if isinstance(tree, dict) and tree:
        inner = [f"{deeper}{json.dumps(name)}: {_pretty(value, deeper)}" for name, value in tree.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        return "[\n" + ",\n".join(deeper + _pretty(item, deeper) for item in tree) + f"\n{indent}]"
    line = json.dumps(tree, ensure_ascii=False)
    # File names may hold bytes that are no text, or signs that nobody sees: those are written as escapes.
    return line if line.isprintable() else json.dumps(tree)

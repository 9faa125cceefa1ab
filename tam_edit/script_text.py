"""The edit script's text, edit.json: read with every mistake told by its path, written as the same bytes each time.

docs/edit.schema.json describes the same for other programs.
"""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from typing import Any

from tam_edit.effects_text import EffectsReader, tree_of_effect
from tam_edit.errors import MaskError, PromptError, ScriptError, UsageError
from tam_edit.script import (
    FRAME_RATE,
    MOST_FRAMES_A_SECOND,
    MOST_NAME_SIGNS,
    MOST_OBJECTS,
    EditScript,
    Point,
    Prompt,
    ScriptObject,
    ScriptSource,
    StoredMask,
    check_name,
)
from tam_edit.settings import Settings
from tam_edit.tree import TreeReader, pairs_once, pretty, shown, without_defaults

FORMAT = "tam-edit"
VERSION = 1
MOST_SIDE_PX = 65536


def text_of(script: EditScript) -> str:
    """The file's text: two spaces of indent, one prompt's small lists on one line, ends with a newline."""
    return pretty(tree_of(script)) + "\n"


def tree_of(script: EditScript) -> dict[str, Any]:
    """The script as JSON, without what is as usual."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "source": without_defaults(script.source, always=("path", "digest")),
        "objects": [
            {
                "name": item.name,
                "prompts": [
                    {"frame": frame, **without_defaults(prompt)} for frame, prompt in sorted(item.prompts.items())
                ],
            }
            for item in script.objects
        ],
        "settings": without_defaults(script.settings),
        # A list that is empty is left out: scripts without effects read as they always did.
        **({"effects": [tree_of_effect(effect) for effect in script.effects]} if script.effects else {}),
    }


def parse(text: str, origin: str) -> EditScript:
    """Read and check a script. Raises ScriptError naming the file and the line or path of the first mistake."""
    try:
        return _Reader(origin).script(json.loads(text, object_pairs_hook=pairs_once))
    except json.JSONDecodeError as error:
        raise ScriptError(
            f"{origin}, line {error.lineno}, column {error.colno}: {error.msg}: mend it there, or take the last "
            "good version from version control"
        ) from error
    except RecursionError as error:
        raise ScriptError(f"{origin}: nested too deeply for an edit script") from error
    except ValueError as error:  # Python's limit for the digits of a whole number
        raise ScriptError(f"{origin}: a number has too many digits: shorten it") from error


class _Reader(TreeReader):
    """Takes the JSON tree apart; every mistake is raised with its path, such as objects[0].prompts[2].box."""

    def script(self, tree: Any) -> EditScript:
        known = {"format", "version", "source", "objects", "settings", "effects"}
        top = self.mapping(tree, "", known, {"format", "source"})
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
        effects = EffectsReader(self.origin).effects(top.get("effects", []), names)
        return EditScript(self.source(top["source"]), objects, self.settings(top.get("settings", {})), effects)

    def source(self, tree: Any) -> ScriptSource:
        known = {"path", "digest", "frame_rate", "allow_truncated", "result_of", "result_digest"}
        given = self.mapping(tree, "source", known, {"path", "digest"})
        rate = given.get("frame_rate")
        frame_rate = None if rate is None else self.rate(rate, "source.frame_rate")
        path, digest = given["path"], given["digest"]
        if not isinstance(path, str) or not path or "\0" in path:
            self.fail("source.path", f"{shown(path)}: the path of a clip is needed")
        if not isinstance(digest, str):
            self.fail("source.digest", f"{shown(digest)}: text is needed")
        first = given.get("result_of", "the path of a project")
        if not isinstance(first, str) or not first or "\0" in first:
            self.fail("source.result_of", f"{shown(first)}: the path of a project is needed")
        if not isinstance(given.get("result_digest", ""), str):
            self.fail("source.result_digest", f"{shown(given['result_digest'])}: text is needed")
        truncated = self.flag(given.get("allow_truncated", False), "source.allow_truncated")
        try:
            return ScriptSource(path, digest, frame_rate, truncated, given.get("result_of"), given.get("result_digest"))
        except UsageError as error:
            self.fail("source", str(error))

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
                scribbles=self.lines(given.get("scribbles", []), f"{at}.scribbles"),
                negative_scribbles=self.lines(given.get("negative_scribbles", []), f"{at}.negative_scribbles"),
                box=None if box is None else self.box(box, f"{at}.box"),
                boxes=tuple(
                    self.box(item, f"{at}.boxes[{index}]")
                    for index, item in enumerate(self.list(given.get("boxes", []), f"{at}.boxes"))
                ),
                mask=self.stored_mask(given.get("mask"), f"{at}.mask"),
                polish=self.flag(given.get("polish", False), f"{at}.polish"),
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
        for name in ("dilate_px", "erode_px"):
            if given.get(name) is not None:
                self.whole(given[name], f"settings.{name}")
        for name in ("smooth", "mend"):
            if name in given:
                self.flag(given[name], f"settings.{name}")
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

    def lines(self, tree: Any, at: str) -> tuple[tuple[Point, ...], ...]:
        return tuple(self.points(item, f"{at}[{index}]") for index, item in enumerate(self.list(tree, at)))

    def box(self, tree: Any, at: str) -> tuple[float, float, float, float]:
        sides = [self.number(side, at) for side in self.list(tree, at)]
        if len(sides) != 4:
            self.fail(at, f"{shown(tree)}: a box is [x0, y0, x1, y1]")
        return sides[0], sides[1], sides[2], sides[3]

    def rate(self, tree: Any, at: str) -> Fraction:
        words = str(tree) if isinstance(tree, int | float | str) and not isinstance(tree, bool) else ""
        if not FRAME_RATE.fullmatch(words) or not 0 < Fraction(words) <= MOST_FRAMES_A_SECOND:
            self.fail(at, f'{shown(tree)}: write frames a second, such as "25" or "30000/1001"')
        return Fraction(words)

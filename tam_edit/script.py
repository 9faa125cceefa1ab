"""The edit script, edit.json: the source, the objects with what was said of them frame by frame, the settings.

Values only; `EditScript.parse` checks everything and says where in the file a mistake is, `EditScript.text` writes
the same script as the same bytes. docs/edit.schema.json describes the same for other programs.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from tam_edit.errors import MaskError, PromptError, ScriptError, UsageError
from tam_edit.masks import Mask, check_counts, counts_from_text, fitted, mask_from_counts, rle_counts, rle_text

FORMAT = "tam-edit"
VERSION = 1
MOST_OBJECTS = 255
MOST_NAME_SIGNS = 100
MOST_SIDE_PX = 65536
MOST_NUMBER = 1e9
MOST_FRAMES_A_SECOND = 100000
# "25", "23.976", "30000/1001"; short, since Fraction("1e999999999") would be computed in full.
_FRAME_RATE = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20}|/[1-9][0-9]{0,19})?")

Point = tuple[float, float]


@dataclass(frozen=True)
class StoredMask:
    """A mask as COCO's compressed run lengths: small, exact, and a line of text in the script."""

    size_wh: tuple[int, int]
    counts: str

    @classmethod
    def of(cls, mask: Mask) -> StoredMask:
        return cls((mask.shape[1], mask.shape[0]), rle_text(rle_counts(mask)))

    def check(self) -> None:
        """Raise MaskError when the run lengths are not the size's; no picture is made, however large it says it is."""
        check_counts(counts_from_text(self.counts), self.size_wh)

    def mask(self) -> Mask:
        """The mask, bool [H, W]; raises MaskError when the run lengths are not its own."""
        return mask_from_counts(counts_from_text(self.counts), self.size_wh)


@dataclass(frozen=True)
class Prompt:
    """What was said of one object on one frame; points and box in pixels of the upright picture.

    Exactly one kind: `absent`, a `mask`, or clicks (points, negative points, a box). `prior` is the mask which the
    frame had when it was corrected: the clicks mend that one. `candidate` picks one of several extents (0 the best).
    Raises PromptError when it says nothing or two things at once.
    """

    points: tuple[Point, ...] = ()
    negative: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: StoredMask | None = None
    absent: bool = False
    prior: StoredMask | None = None
    candidate: int = 0

    def __post_init__(self) -> None:
        clicks = bool(self.points or self.negative or self.box)
        if self.absent + (self.mask is not None) + clicks != 1:
            raise PromptError(
                "say one thing of an object on a frame: --absent, --mask, or clicks (--point, --not, --box)"
            )
        if self.negative and not (self.points or self.box or self.prior):
            raise PromptError("only what the object is not: add a --point on it or a --box around it")
        if self.candidate < 0:
            raise PromptError(f"candidate {self.candidate}: 0 is the best one, 1 and 2 the next")
        for x, y in (*self.points, *self.negative, *(((self.box[:2], self.box[2:])) if self.box else ())):
            if not (abs(x) <= MOST_NUMBER and abs(y) <= MOST_NUMBER):
                raise PromptError(f"position {x},{y}: pixels are meant")
        if self.box and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise PromptError(f"box {self.box}: write X0,Y0,X1,Y1 with X0 < X1 and Y0 < Y1")

    def check_inside(self, size_wh: tuple[int, int]) -> None:
        """Raise PromptError when a position or mask does not fit a picture of this size."""
        width, height = size_wh
        for x, y in (*self.points, *self.negative):
            if not (0 <= x < width and 0 <= y < height):
                raise PromptError(
                    f"point {x:g},{y:g} lies outside the picture of {width}x{height}: "
                    f"x goes from 0 to {width - 1}, y from 0 to {height - 1}"
                )
        if self.box and not (self.box[0] < width and self.box[1] < height and self.box[2] > 0 and self.box[3] > 0):
            raise PromptError(f"box {self.box} lies outside the picture of {width}x{height}")
        for stored in (self.mask, self.prior):
            if stored is not None and stored.size_wh != size_wh:
                raise PromptError(
                    f"a mask of {stored.size_wh[0]}x{stored.size_wh[1]} for a picture of {width}x{height}: "
                    "give a mask of the picture's size"
                )


@dataclass(frozen=True)
class ScriptObject:
    """One object: its name and what was said of it, by frame. Its label is its place in the script, from 1."""

    name: str
    prompts: Mapping[int, Prompt] = field(default_factory=dict)


@dataclass(frozen=True)
class ScriptSource:
    """Where the clip lies (relative to the project's folder where possible) and what its content was.

    frame_rate: for folders of pictures. Raises UsageError for one that no clip has.
    """

    path: str
    digest: str
    frame_rate: Fraction | None = None
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        rate = self.frame_rate
        if rate is not None and not (_FRAME_RATE.fullmatch(str(rate)) and 0 < rate <= MOST_FRAMES_A_SECOND):
            raise UsageError(f"frame rate {_shown(str(rate))}: write frames a second, such as 25 or 30000/1001")


@dataclass(frozen=True)
class Settings:
    """What shapes the result. Sizes in pixels; None lets the size follow from the picture's.

    segmenter, tracker, inpainter: an engine's name or "auto". dilate_px grows the masks before removal, feather_px is
    the width of the soft edge beyond that.
    """

    segmenter: str = "auto"
    tracker: str = "auto"
    inpainter: str = "auto"
    dilate_px: int | None = None
    feather_px: float | None = None

    def __post_init__(self) -> None:
        if self.dilate_px is not None and not 0 <= self.dilate_px <= 500:
            raise PromptError(f"dilate {self.dilate_px}: 0 to 500 pixels are possible")
        if self.feather_px is not None and not (math.isfinite(self.feather_px) and 0 <= self.feather_px <= 500):
            raise PromptError(f"feather {self.feather_px}: 0 to 500 pixels are possible")


@dataclass(frozen=True)
class EditScript:
    """The whole script; every change makes a new one."""

    source: ScriptSource
    objects: tuple[ScriptObject, ...] = ()
    settings: Settings = field(default_factory=Settings)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.objects)

    def label_of(self, name: str) -> int:
        """The label of an object, 1..255; raises PromptError with the names there are."""
        if name not in self.names:
            there = ", ".join(repr(known) for known in self.names) or "none yet"
            raise PromptError(f"no object {name!r} in this project (there are: {there})")
        return self.names.index(name) + 1

    def prompt(self, name: str, frame: int) -> Prompt | None:
        for item in self.objects:
            if item.name == name:
                return item.prompts.get(frame)
        return None

    def marked(self, name: str, frame: int, prompt: Prompt) -> EditScript:
        """The script with this said of an object on a frame; a new name makes a new object."""
        check_name(name)
        if name not in self.names:
            if len(self.objects) >= MOST_OBJECTS:
                raise PromptError(f"a project holds at most {MOST_OBJECTS} objects: start another project for {name!r}")
            return dataclasses.replace(self, objects=(*self.objects, ScriptObject(name, {frame: prompt})))
        return self._with_prompts(name, lambda prompts: {**prompts, frame: prompt})

    def unmarked(self, name: str, frame: int) -> EditScript:
        """The script without what was said of an object on a frame. Raises PromptError when nothing was."""
        self.label_of(name)
        if self.prompt(name, frame) is None:
            frames = next(sorted(item.prompts) for item in self.objects if item.name == name)
            raise PromptError(f"nothing is said of {name!r} on frame {frame} (but on frames: {frames})")
        return self._with_prompts(name, lambda prompts: {at: what for at, what in prompts.items() if at != frame})

    def _with_prompts(self, name: str, change: Any) -> EditScript:
        objects = tuple(
            dataclasses.replace(item, prompts=dict(sorted(change(item.prompts).items()))) if item.name == name else item
            for item in self.objects
        )
        return dataclasses.replace(self, objects=objects)

    # Text

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "source": _without_defaults(self.source, always=("path", "digest")),
            "objects": [
                {
                    "name": item.name,
                    "prompts": [
                        {"frame": frame, **_without_defaults(prompt)} for frame, prompt in sorted(item.prompts.items())
                    ],
                }
                for item in self.objects
            ],
            "settings": _without_defaults(self.settings),
        }

    def text(self) -> str:
        """The file's text: two spaces of indent, one prompt's small lists on one line, ends with a newline."""
        return _pretty(self.to_json()) + "\n"

    @classmethod
    def parse(cls, text: str, origin: str) -> EditScript:
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


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def check_name(name: str) -> None:
    """Raise PromptError for an object's name that files and tables could not carry."""
    if not name or len(name) > MOST_NAME_SIGNS or name != name.strip() or not name.isprintable() or "," in name:
        raise PromptError(
            f"object name {name!r}: 1 to {MOST_NAME_SIGNS} printable signs without commas or spaces at the ends"
        )


class _Reader:
    """Takes the JSON tree apart; every mistake is raised with its path, such as objects[0].prompts[2].box."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def script(self, tree: Any) -> EditScript:
        top = self.mapping(tree, "", {"format", "version", "source", "objects", "settings"}, {"format", "source"})
        if top["format"] != FORMAT:
            self.fail("format", f"{_shown(top['format'])} is not an edit script of tam-edit")
        version = top.get("version", VERSION)
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
            self.fail("version", f"{_shown(version)} is unknown here (newest: {VERSION}): use a newer tam-edit")
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
            self.fail("source.path", f"{_shown(path)}: the path of a clip is needed")
        if not isinstance(digest, str):
            self.fail("source.digest", f"{_shown(digest)}: text is needed")
        return ScriptSource(
            path, digest, frame_rate, self.flag(given.get("allow_truncated", False), "source.allow_truncated")
        )

    def object(self, tree: Any, at: str) -> ScriptObject:
        given = self.mapping(tree, at, {"name", "prompts"}, {"name"})
        if not isinstance(given["name"], str):
            self.fail(f"{at}.name", f"{_shown(given['name'])}: text is needed")
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
                self.fail(f"settings.{name}", f"{_shown(given[name])}: the name of an engine is needed")
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
                self.fail(place, f"{_shown(item)}: a point is [x, y]")
            found.append((self.number(pair[0], place), self.number(pair[1], place)))
        return tuple(found)

    def box(self, tree: Any, at: str) -> tuple[float, float, float, float]:
        sides = [self.number(side, at) for side in self.list(tree, at)]
        if len(sides) != 4:
            self.fail(at, f"{_shown(tree)}: a box is [x0, y0, x1, y1]")
        return sides[0], sides[1], sides[2], sides[3]

    def mapping(self, tree: Any, at: str, known: set[str], needed: set[str]) -> dict[str, Any]:
        if not isinstance(tree, dict):
            self.fail(at, f"{_shown(tree)}: an object with {', '.join(sorted(known))} is needed")
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
            self.fail(at, f"{_shown(tree)}: a list is needed")
        return list(tree)

    def whole(self, tree: Any, at: str) -> int:
        if not isinstance(tree, int) or isinstance(tree, bool) or not 0 <= tree < 2**31:
            self.fail(at, f"{_shown(tree)}: a whole number from 0 is needed")
        return int(tree)

    def number(self, tree: Any, at: str) -> float:
        if not isinstance(tree, int | float) or isinstance(tree, bool) or not abs(tree) <= MOST_NUMBER:
            self.fail(at, f"{_shown(tree)}: a number is needed")
        return float(tree)

    def rate(self, tree: Any, at: str) -> Fraction:
        words = str(tree) if isinstance(tree, int | float | str) and not isinstance(tree, bool) else ""
        if not _FRAME_RATE.fullmatch(words) or not 0 < Fraction(words) <= MOST_FRAMES_A_SECOND:
            self.fail(at, f'{_shown(tree)}: write frames a second, such as "25" or "30000/1001"')
        return Fraction(words)

    def flag(self, tree: Any, at: str) -> bool:
        if not isinstance(tree, bool):
            self.fail(at, f"{_shown(tree)}: true or false is needed")
        return bool(tree)

    def fail(self, at: str, words: str) -> NoReturn:
        raise ScriptError(f"{self.origin}: {at or 'the top'}: {words}")


def _shown(value: Any) -> str:
    """A wrong value for a message, cut short: the place says where the rest is."""
    return _SHORT.repr(value)


def _short(name: str) -> str:
    return name if name.isprintable() and len(name) <= 60 else _SHORT.repr(name)


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


def mask_from_picture(pixels: np.ndarray[Any, Any], size_wh: tuple[int, int], what: str) -> Mask:
    """A mask from a picture's pixels [H, W] or [H, W, C]: non-zero is the object.

    A difference of one pixel in a side comes from rounding elsewhere and is resized; more raises PromptError.
    """
    flat = pixels if pixels.ndim == 2 else pixels[..., : min(pixels.shape[2], 3)].any(axis=2)
    mask = np.asarray(flat != 0)
    height, width = mask.shape
    same = fitted(mask, size_wh)
    if same is None:
        raise PromptError(
            f"{what} is {width}x{height}, the picture {size_wh[0]}x{size_wh[1]}: give a mask of the picture's size"
        )
    return same

"""The edit script's values: the source, the objects with what was said of them frame by frame, the settings.

Every value checks itself when it is made. How a script is read from edit.json and written to it: script_text.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from tam_edit import effects as lists
from tam_edit.effects import Effect
from tam_edit.errors import PromptError, UsageError
from tam_edit.masks import Mask, check_counts, counts_from_text, fitted, mask_from_counts, rle_counts, rle_text
from tam_edit.settings import Settings
from tam_edit.tree import MOST_NUMBER, shown

MOST_OBJECTS = 255
MOST_NAME_SIGNS = 100
MOST_FRAMES_A_SECOND = 100000
# "25", "23.976", "30000/1001"; short, since Fraction("1e999999999") would be computed in full.
FRAME_RATE = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20}|/[1-9][0-9]{0,19})?")

Point = tuple[float, float]
Box = tuple[float, float, float, float]


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
    """What was said of one object on one frame; points and boxes in pixels of the upright picture.

    Exactly one kind: `absent`, a `mask`, or clicks (points, scribbles along the object, negative ones of both beside
    it, a box; more `boxes` where each holds a part of it). A mask is the object's exact pixels, or with `polish` a
    rough one that the segmenter redraws. `prior` is the mask which the frame had when it was corrected: the clicks mend
    that one. `candidate` picks one of several extents (0 the best). Raises PromptError when it says nothing or two
    things.
    """

    points: tuple[Point, ...] = ()
    negative: tuple[Point, ...] = ()
    scribbles: tuple[tuple[Point, ...], ...] = ()
    negative_scribbles: tuple[tuple[Point, ...], ...] = ()
    box: Box | None = None
    boxes: tuple[Box, ...] = ()
    mask: StoredMask | None = None
    polish: bool = False
    absent: bool = False
    prior: StoredMask | None = None
    candidate: int = 0

    def __post_init__(self) -> None:
        if self.absent + (self.mask is not None) + self.is_clicks != 1:
            raise PromptError(
                "say one thing of an object on a frame: --absent, --mask, or clicks (--point, --not, --scribble, "
                "--not-scribble, --box)"
            )
        beside = self.negative or self.negative_scribbles
        if beside and not (self.points or self.scribbles or self.box or self.prior):
            raise PromptError("only what the object is not: add a --point on it or a --box around it")
        if self.boxes and self.box is None:
            raise PromptError("boxes without a box: the first one is the box, the others are its boxes")
        if self.polish and self.mask is None:
            raise PromptError("polish without a mask: give the rough one with --mask")
        if not all((*self.scribbles, *self.negative_scribbles)):
            raise PromptError("a scribble without a point: write X,Y X,Y ... along the object, or beside it")
        if self.candidate < 0:
            raise PromptError(f"candidate {self.candidate}: 0 is the best one, 1 and 2 the next")
        corners = [corner for box in self.all_boxes for corner in (box[:2], box[2:])]
        for x, y in (*self._positions, *corners):
            if not (abs(x) <= MOST_NUMBER and abs(y) <= MOST_NUMBER):
                raise PromptError(f"position {x},{y}: pixels are meant")
        for box in self.all_boxes:
            if not (box[0] < box[2] and box[1] < box[3]):
                raise PromptError(f"box {box}: write X0,Y0,X1,Y1 with X0 < X1 and Y0 < Y1")

    @property
    def is_clicks(self) -> bool:
        """Whether a segmenter is asked where the object is, rather than given its mask."""
        lines = self.scribbles or self.negative_scribbles
        return bool(self.points or self.negative or lines or self.box or self.boxes)

    @property
    def all_boxes(self) -> tuple[Box, ...]:
        return (*(() if self.box is None else (self.box,)), *self.boxes)

    @property
    def _positions(self) -> tuple[Point, ...]:
        lines = (*self.scribbles, *self.negative_scribbles)
        return (*self.points, *self.negative, *(point for line in lines for point in line))

    def check_inside(self, size_wh: tuple[int, int]) -> None:
        """Raise PromptError when a position or mask does not fit a picture of this size."""
        width, height = size_wh
        for x, y in self._positions:
            if not (0 <= x < width and 0 <= y < height):
                raise PromptError(
                    f"point {x:g},{y:g} lies outside the picture of {width}x{height}: "
                    f"x goes from 0 to {width - 1}, y from 0 to {height - 1}"
                )
        for box in self.all_boxes:
            if not (box[0] < width and box[1] < height and box[2] > 0 and box[3] > 0):
                raise PromptError(f"box {box} lies outside the picture of {width}x{height}")
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

    frame_rate: for folders of pictures. result_of: the project whose result the clip is, and result_digest what that
    was made from. Raises UsageError for a frame rate that no clip has, and for one of the last two alone.
    """

    path: str
    digest: str
    frame_rate: Fraction | None = None
    allow_truncated: bool = False
    result_of: str | None = None
    result_digest: str | None = None

    def __post_init__(self) -> None:
        if (self.result_of is None) != (self.result_digest is None):
            raise UsageError("result_of and result_digest: only together do they say whose result the clip is")
        rate = self.frame_rate
        if rate is not None and not (FRAME_RATE.fullmatch(str(rate)) and 0 < rate <= MOST_FRAMES_A_SECOND):
            raise UsageError(f"frame rate {shown(str(rate))}: write frames a second, such as 25 or 30000/1001")


@dataclass(frozen=True)
class EditScript:
    """The whole script; every change makes a new one."""

    source: ScriptSource
    objects: tuple[ScriptObject, ...] = ()
    settings: Settings = field(default_factory=Settings)
    effects: tuple[Effect, ...] = ()

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
        frame = whole_frame(frame)
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

    def moved(self, name: str, frame: int, to: int, *, copy: bool = False) -> EditScript:
        """The script with what was said of an object on a frame said on another one instead, or there too (copy).

        Clicks that mended a frame's mask stand alone on the other frame. Raises PromptError when nothing was said.
        """
        prompt = self.prompt(name, frame)
        without = self.unmarked(name, frame)  # raises with the frames there are
        if prompt is None or frame == to:
            return self
        there = dataclasses.replace(prompt, prior=None) if prompt.is_clicks else prompt
        return (self if copy else without).marked(name, to, there)

    def renamed(self, name: str, to: str) -> EditScript:
        """The script with an object called something else, in its effects too. Raises PromptError."""
        self.label_of(name)
        check_name(to)
        if name == to:
            return self
        if to in self.names:
            raise PromptError(f"there is an object {to!r} already: choose another name")
        objects = tuple(dataclasses.replace(item, name=to) if item.name == name else item for item in self.objects)
        return dataclasses.replace(self, objects=objects, effects=lists.renamed(self.effects, name, to))

    def without(self, name: str) -> EditScript:
        """The script without an object and without effects about it alone. Raises PromptError when there is none."""
        self.label_of(name)
        objects = tuple(item for item in self.objects if item.name != name)
        return dataclasses.replace(self, objects=objects, effects=lists.without(self.effects, name))

    def _with_prompts(self, name: str, change: Any) -> EditScript:
        objects = tuple(
            dataclasses.replace(item, prompts=dict(sorted(change(item.prompts).items()))) if item.name == name else item
            for item in self.objects
        )
        return dataclasses.replace(self, objects=objects)

    # Text

    def text(self) -> str:
        """The file's text: two spaces of indent, one prompt's small lists on one line, ends with a newline."""
        from tam_edit.script_text import text_of

        return text_of(self)

    def to_json(self) -> dict[str, Any]:
        """The file's JSON tree, without what is as usual."""
        from tam_edit.script_text import tree_of

        return tree_of(self)

    @classmethod
    def parse(cls, text: str, origin: str) -> EditScript:
        """Read and check a script. Raises ScriptError naming the file and the line or path of the first mistake."""
        from tam_edit.script_text import parse

        return parse(text, origin)


def check_name(name: str) -> None:
    """Raise PromptError for an object's name that files and tables could not carry."""
    printable = isinstance(name, str) and name.isprintable()
    if not name or not printable or len(name) > MOST_NAME_SIGNS or name != name.strip() or "," in name:
        raise PromptError(
            f"object name {name!r}: 1 to {MOST_NAME_SIGNS} printable signs without commas or spaces at the ends"
        )


def whole_frame(frame: int) -> int:
    """A frame's number as Python's own, from numpy's too. Raises PromptError for what is no whole number."""
    try:
        return operator.index(frame)
    except TypeError as error:
        raise PromptError(f"frame {frame!r}: give a whole number, frames count from 0") from error


def mask_from_picture(pixels: np.ndarray[Any, Any], size_wh: tuple[int, int], what: str) -> Mask:
    """A mask from a picture's pixels [H, W] or [H, W, C]: non-zero is the object.

    A difference of one pixel in a side comes from rounding elsewhere and is resized; more raises PromptError.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim not in (2, 3):
        raise PromptError(f"{what} has shape {list(pixels.shape)}: give an array [H, W], non-zero where the object is")
    flat = pixels if pixels.ndim == 2 else pixels[..., : min(pixels.shape[2], 3)].any(axis=2)
    mask = np.asarray(flat != 0)
    height, width = mask.shape
    same = fitted(mask, size_wh)
    if same is None:
        raise PromptError(
            f"{what} is {width}x{height}, the clip's pictures are {size_wh[0]}x{size_wh[1]}: give one of their size"
        )
    return same

"""The list of effects as it stands in edit.json: read with every mistake told by its path, and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tam_edit.effects import (
    NONE_NAMED,
    Alter,
    Alteration,
    Blurred,
    Choice,
    Effect,
    EffectMistake,
    Look,
    Pictured,
    Pixelated,
    Recolour,
    Remove,
    Replace,
    exact,
    settled,
)
from tam_edit.errors import UsageError
from tam_edit.tree import TreeReader, plain, shown

DOES = ("remove", "replace", "alter")
ALTERATIONS = ("recolour", "blur", "pixelate", "picture")
_COMMON = {"do", "objects", "invert"}
_LOOK = tuple(item.name for item in dataclasses.fields(Look))


class EffectsReader(TreeReader):
    """Takes the list apart."""

    def effects(self, tree: Any, names: Sequence[str]) -> tuple[Effect, ...]:
        """The list, checked against the objects there are."""
        found = tuple(self.effect(item, f"effects[{index}]") for index, item in enumerate(self.list(tree, "effects")))
        try:
            settled(found, names)
        except EffectMistake as error:
            place = f"effects[{error.index}]"
            self.fail(f"{place}.{error.place}" if error.place else place, error.words)
        return found

    def effect(self, tree: Any, at: str) -> Effect:
        """One effect, by what it says to do."""
        known = _COMMON | {"background", *_LOOK, *ALTERATIONS}
        does = self.mapping(tree, at, known, {"do"})["do"]
        if does not in DOES:
            self.fail(f"{at}.do", f"{shown(does)}: {', '.join(DOES)} can be done")
        try:
            if does == "remove":
                return Remove(self.choice(self.mapping(tree, at, _COMMON, {"do"}), at))
            if does == "replace":
                given = self.mapping(tree, at, _COMMON | {"background", *_LOOK}, {"do", "background"})
                background = self.text(given["background"], f"{at}.background")
                return Replace(background, self.choice(given, at), self.look(given, at))
            given = self.mapping(tree, at, _COMMON | {*ALTERATIONS}, {"do"})
            return Alter(self.alteration(given, at), self.choice(given, at))
        except UsageError as error:
            self.fail(at, str(error))

    def choice(self, given: dict[str, Any], at: str) -> Choice:
        objects = given.get("objects")
        if objects is not None:
            listed = self.list(objects, f"{at}.objects")
            objects = tuple(self.text(name, f"{at}.objects[{index}]") for index, name in enumerate(listed))
            if not objects:
                self.fail(f"{at}.objects", NONE_NAMED)
        return Choice(objects, self.flag(given.get("invert", False), f"{at}.invert"))

    def look(self, given: dict[str, Any], at: str) -> Look:
        found = {name: given[name] for name in _LOOK if given.get(name) is not None}
        for name, value in found.items():
            place = f"{at}.{name}"
            if name in ("start_s", "stop_s", "speed"):
                found[name] = self.exact(value, place)
            elif name == "scale" or (name == "grain" and value != "auto"):
                found[name] = self.number(value, place)
            elif name == "offset_px":
                sides = [self.number(side, place) for side in self.list(value, place)]
                if len(sides) != 2:
                    self.fail(place, f"{shown(value)}: an offset is [x, y]")
                found[name] = (sides[0], sides[1])
            else:
                self.text(value, place)
        return Look(**found)

    def alteration(self, given: dict[str, Any], at: str) -> Alteration:
        named = [name for name in ALTERATIONS if name in given]
        if len(named) != 1:
            self.fail(at, f"exactly one of {', '.join(ALTERATIONS)} is needed" + (f", not {named}" if named else ""))
        name = named[0]
        value, place = given[name], f"{at}.{name}"
        if name == "recolour":
            return Recolour(self.text(value, place))
        if name == "blur":
            return Blurred(None if value == "auto" else self.number(value, place))
        if name == "pixelate":
            return Pixelated(self.whole(value, place))
        return Pictured(self.text(value, place))

    def text(self, tree: Any, at: str) -> str:
        if not isinstance(tree, str) or not tree or "\0" in tree:
            self.fail(at, f"{shown(tree)}: text is needed")
        return str(tree)

    def exact(self, tree: Any, at: str) -> Fraction:
        if not isinstance(tree, int | float | str) or isinstance(tree, bool):
            self.fail(at, f"{shown(tree)}: a number is needed")
        try:
            return exact(tree)
        except UsageError as error:
            self.fail(at, str(error))


def tree_of_effect(effect: Effect) -> dict[str, Any]:
    """One effect as JSON. Raises UsageError for a background that is not a name, such as a moviepy clip."""
    tree: dict[str, Any] = {"do": "remove"}
    if isinstance(effect, Replace):
        if not isinstance(effect.background, str):
            raise UsageError("a clip from Python cannot be written to edit.json: give a file as background")
        tree = {"do": "replace", "background": effect.background}
    elif isinstance(effect, Alter):
        tree = {"do": "alter", **_tree_of_alteration(effect.how)}
    if effect.choice.objects is not None:
        tree["objects"] = list(effect.choice.objects)
    if effect.choice.invert:
        tree["invert"] = True
    if isinstance(effect, Replace):
        for item in dataclasses.fields(Look):
            value = getattr(effect.look, item.name)
            if value != item.default:
                tree[item.name] = _number(value) if isinstance(value, Fraction) else plain(value)
    return tree


def _tree_of_alteration(how: Alteration) -> dict[str, Any]:
    if isinstance(how, Recolour):
        return {"recolour": how.colour}
    if isinstance(how, Blurred):
        return {"blur": "auto" if how.sigma_px is None else plain(how.sigma_px)}
    if isinstance(how, Pixelated):
        return {"pixelate": how.blocks}
    return {"picture": how.path}


def _number(value: Fraction) -> int | float | str:
    """A fraction as people write it: 2, 1.5, or "1/3"."""
    if value.denominator == 1:
        return value.numerator
    near = float(value)
    try:
        return near if exact(near) == value else str(value)
    except UsageError:
        return str(value)

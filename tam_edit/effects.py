"""What is done to a clip: effects as values, the same from the command line, from edit.json and from Python."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tam_edit.errors import PromptError, UsageError

FITS = ("fill", "fit", "stretch", "tile")
ENDS = ("loop", "hold")
MATCHES = ("none", "background", "foreground")
FOLLOWS = ("none", "camera")
MOST_EFFECTS = 64
USUAL_BLOCKS = 8
NONE_NAMED = "no object is named: leave it out to mean all of them"

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_BLUR = re.compile(r"blur(:.*)?")


@dataclass(frozen=True)
class Choice:
    """What of the tracked objects an effect is about; None: all of them."""

    objects: tuple[str, ...] | None = None
    invert: bool = False


@runtime_checkable
class MovingPicture(Protocol):
    """What a background from Python can be: a moviepy clip, or anything with its two members."""

    duration: Any

    def get_frame(self, t: float) -> Any:
        """RGB uint8 [H, W, 3] at t seconds."""
        ...


@dataclass(frozen=True)
class Look:
    """How a background lies behind what is kept.

    fit: "fill" covers the frame, "fit" shows the whole picture, "stretch" forgets its shape, "tile" repeats it;
    scale and offset_px (x right, y down) then change it from there. A video plays from start_s to stop_s (None: its
    end) at `speed`, and at its end begins again ("loop") or stays ("hold"). match_colour brings mean and deviation
    of the background to the clip's ("background") or those of what is kept to the background's ("foreground").
    grain: noise added to the background, its deviation in levels of 255, or "auto": as much as the clip has.
    follow "camera" moves a still picture with the clip's camera. Raises UsageError for what cannot be.
    """

    fit: str = "fill"
    scale: float = 1.0
    offset_px: tuple[float, float] = (0.0, 0.0)
    at_end: str = "loop"
    start_s: Fraction = Fraction(0)
    stop_s: Fraction | None = None
    speed: Fraction = Fraction(1)
    match_colour: str = "none"
    grain: float | str = 0.0
    follow: str = "none"

    def __post_init__(self) -> None:
        # One value for 2 and 2.0, so that they give one key.
        for name in ("start_s", "stop_s", "speed"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Fraction):
                object.__setattr__(self, name, exact(value))
        object.__setattr__(self, "scale", float(self.scale))
        object.__setattr__(self, "offset_px", tuple(float(side) for side in self.offset_px))
        if not isinstance(self.grain, str):
            object.__setattr__(self, "grain", float(self.grain))
        _one_of("fit", self.fit, FITS)
        _one_of("at_end", self.at_end, ENDS)
        _one_of("match_colour", self.match_colour, MATCHES)
        _one_of("follow", self.follow, FOLLOWS)
        if not 0.01 <= self.scale <= 100:
            raise UsageError(f"scale {self.scale:g}: 0.01 to 100 is possible")
        if len(self.offset_px) != 2 or not all(abs(side) <= 65536 for side in self.offset_px):
            raise UsageError(f"offset {self.offset_px}: x and y in pixels are needed")
        if self.start_s < 0 or (self.stop_s is not None and self.stop_s <= self.start_s):
            part = f"from {_seconds(self.start_s)} to {_seconds(self.stop_s)}"
            raise UsageError(f"{part}: a part begins at 0 or later and ends after that")
        if not Fraction(1, 100) <= self.speed <= 100:
            raise UsageError(f"speed {float(self.speed):g}: 0.01 to 100 is possible")
        if isinstance(self.grain, str):
            _one_of("grain", self.grain, ("auto",))
        elif not 0 <= self.grain <= 64:
            raise UsageError(f"grain {self.grain:g}: 0 to 64 levels are possible, or auto")


@dataclass(frozen=True)
class Recolour:
    """The object in another colour, "#RRGGBB"; light and shade stay."""

    colour: str

    def __post_init__(self) -> None:
        if not _COLOUR.fullmatch(self.colour):
            raise UsageError(f"colour {self.colour!r}: write #RRGGBB, such as #c02020")


@dataclass(frozen=True)
class Blurred:
    """The object out of focus; sigma_px None: a sixth of its short side where it is largest in a shot."""

    sigma_px: float | None = None

    def __post_init__(self) -> None:
        if self.sigma_px is not None and not (math.isfinite(self.sigma_px) and 0 < self.sigma_px <= 1000):
            raise UsageError(f"blur {self.sigma_px:g}: a sigma above 0 and at most 1000 pixels")
        if self.sigma_px is not None:
            object.__setattr__(self, "sigma_px", float(self.sigma_px))


@dataclass(frozen=True)
class Pixelated:
    """The object in squares of one colour each, so many across its short side where it is largest in a shot."""

    blocks: int = USUAL_BLOCKS

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= 64:
            raise UsageError(f"pixelate {self.blocks}: 1 to 64 blocks across the object are possible")


@dataclass(frozen=True)
class Pictured:
    """A picture in the object's place, following its box; transparent parts show what is behind the object."""

    path: str


Alteration = Recolour | Blurred | Pixelated | Pictured


@dataclass(frozen=True)
class Remove:
    """Objects are gone, what lies behind them is filled in."""

    choice: Choice = field(default_factory=Choice)


@dataclass(frozen=True)
class Replace:
    """Objects stay, everything else is another background: BG of the contract, or a moviepy clip."""

    background: str | MovingPicture
    choice: Choice = field(default_factory=Choice)
    look: Look = field(default_factory=Look)


@dataclass(frozen=True)
class Alter:
    """Objects look different."""

    how: Alteration
    choice: Choice = field(default_factory=Choice)


Effect = Remove | Replace | Alter


class EffectMistake(PromptError):
    """One effect of a list that cannot be; `index` says which, `place` which part of it."""

    def __init__(self, index: int, place: str, words: str) -> None:
        super().__init__(f"effect {index + 1}, {place}: {words}" if place else f"effect {index + 1}: {words}")
        self.index, self.place, self.words = index, place, words


def settled(effects: Sequence[Effect], names: Sequence[str]) -> tuple[Effect, ...]:
    """The same effects with every object named: "all" means all that an effect before or after does not remove.

    Removals come first, since what is filled in is made from the clip as it is. Raises EffectMistake for an object
    that does not exist, for one that is removed and yet kept or altered, and for a removal after a replacement.
    """
    if len(effects) > MOST_EFFECTS:
        raise EffectMistake(MOST_EFFECTS, "", f"at most {MOST_EFFECTS} are possible")
    removing = True
    for index, effect in enumerate(effects):
        if isinstance(effect, Remove) and not removing:
            raise EffectMistake(index, "", "removes after something was replaced or altered: put removals first")
        removing = isinstance(effect, Remove)
        if effect.choice.objects == ():
            raise EffectMistake(index, "objects", NONE_NAMED)
        for place, name in enumerate(effect.choice.objects or ()):
            if name not in names:
                there = ", ".join(repr(known) for known in names) or "none yet"
                raise EffectMistake(index, f"objects[{place}]", f"no object {name!r} (there are: {there})")
    gone = {name for effect in effects if isinstance(effect, Remove) for name in _meant(effect.choice, names)}
    return tuple(_settled(effects, names, gone))


def _settled(effects: Sequence[Effect], names: Sequence[str], gone: set[str]) -> Iterator[Effect]:
    for index, effect in enumerate(effects):
        objects = effect.choice.objects
        if isinstance(effect, Remove):
            everything = tuple(names) if objects is None else objects
            yield dataclasses.replace(effect, choice=dataclasses.replace(effect.choice, objects=everything))
            continue
        if isinstance(effect, Replace) and effect.background == "transparent":
            raise EffectMistake(index, "background", "transparency cannot be part of a list: use 'replace' alone")
        if objects is None:
            objects = tuple(name for name in names if effect.choice.invert or name not in gone)
            if names and not objects:
                raise EffectMistake(index, "", "every object is removed: none is left for this")
        both = [name for name in objects if name in gone]
        if both and not effect.choice.invert:
            raise EffectMistake(index, "objects", f"{both[0]!r} is removed by another effect: leave it out of one")
        yield dataclasses.replace(effect, choice=dataclasses.replace(effect.choice, objects=objects))


def _meant(choice: Choice, names: Sequence[str]) -> tuple[str, ...]:
    """The objects that a removal takes away."""
    listed = names if choice.objects is None else choice.objects
    return tuple(name for name in names if (name in listed) != choice.invert)


def renamed(effects: Sequence[Effect], name: str, to: str) -> tuple[Effect, ...]:
    """The effects after an object got another name."""
    found: list[Effect] = []
    for effect in effects:
        objects = effect.choice.objects
        if objects is not None:
            objects = tuple(to if known == name else known for known in objects)
        found.append(dataclasses.replace(effect, choice=dataclasses.replace(effect.choice, objects=objects)))
    return tuple(found)


def without(effects: Sequence[Effect], name: str) -> tuple[Effect, ...]:
    """The effects after an object was taken out of the project; one that was about it alone is gone too."""
    left: list[Effect] = []
    for effect in effects:
        objects = effect.choice.objects
        if objects is not None:
            objects = tuple(known for known in objects if known != name)
            if not objects:
                continue
        left.append(dataclasses.replace(effect, choice=dataclasses.replace(effect.choice, objects=objects)))
    return tuple(left)


def located(effect: Effect, folder: Path) -> Effect:
    """The effect with its files counted from a folder."""
    return with_files(effect, lambda name: str(folder / name))


def files_of(effect: Effect) -> tuple[str, ...]:
    """The files that an effect names."""
    if isinstance(effect, Replace) and isinstance(effect.background, str) and names_a_file(effect.background):
        return (effect.background,)
    if isinstance(effect, Alter) and isinstance(effect.how, Pictured):
        return (effect.how.path,)
    return ()


def with_files(effect: Effect, rename: Callable[[str], str]) -> Effect:
    """The effect with the files that it names under other names."""
    if isinstance(effect, Replace) and isinstance(effect.background, str) and names_a_file(effect.background):
        return dataclasses.replace(effect, background=rename(effect.background))
    if isinstance(effect, Alter) and isinstance(effect.how, Pictured):
        return dataclasses.replace(effect, how=Pictured(rename(effect.how.path)))
    return effect


def names_a_file(background: str) -> bool:
    """Whether BG is a file or project, and not a colour, a blur or transparency."""
    return not (background == "transparent" or background.startswith("#") or _BLUR.fullmatch(background))


def exact(text: str | float) -> Fraction:
    """A number as people write it ("1.5", "30000/1001"), exact. Raises UsageError."""
    words = str(text)
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9}|/[1-9]\d{0,8})?", words):
        raise UsageError(f"{words[:40]!r}: a number is needed, such as 1.5 or 24000/1001")
    return Fraction(words)


def _seconds(value: Fraction | None) -> str:
    return "the end" if value is None else f"{float(value):g} s"


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"{name} {value!r}: {', '.join(known)} can be chosen")

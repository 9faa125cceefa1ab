"""Options for how a background lies, and for how objects are altered; `--blur` and its like may stand alone."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import click

from tam_edit.cli.options import Numbers, stacked
from tam_edit.effects import (
    ENDS,
    FITS,
    MATCHES,
    USUAL_BLOCKS,
    Alteration,
    Blurred,
    Look,
    Pictured,
    Pixelated,
    Recolour,
    exact,
)
from tam_edit.errors import UsageError


class ExactNumber(click.ParamType[Fraction]):
    """A number taken exactly, such as 1.5 or 24000/1001."""

    name = "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        try:
            return exact(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Part(click.ParamType[tuple[Fraction, Fraction | None]]):
    """A stretch of time, START:STOP in seconds; either side may be left out."""

    name = "START:STOP"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Fraction, Fraction | None]:
        if isinstance(value, tuple):
            return value
        start, colon, stop = str(value).partition(":")
        if not colon:
            self.fail(f"{value!r}: write START:STOP in seconds, such as 2:7.5", param, ctx)
        try:
            return exact(start or 0), exact(stop) if stop else None
        except UsageError as error:
            self.fail(str(error), param, ctx)


class NumberOrAuto(click.ParamType[float | str]):
    """A number, or "auto"."""

    name = "NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == "auto":
            return "auto"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r}: a number is needed, or nothing after the option", param, ctx)


look_options = stacked(
    click.option("--fit", type=click.Choice(FITS), default="fill", show_default=True, help="How a background fits."),
    click.option("--scale", type=click.FloatRange(0.01, 100), default=1.0, help="Then so many times as large."),
    click.option("--offset", type=Numbers("X,Y", 2), default=(0, 0), metavar="X,Y", help="Then moved right and down."),
    click.option("--trim", type=Part(), metavar="START:STOP", help="Only this part of a video, in seconds."),
    click.option("--speed", type=ExactNumber(), default="1", metavar="X", help="A video plays so many times as fast."),
    click.option(
        "--at-end", type=click.Choice(ENDS), default="loop", show_default=True, help="When a video is at its end."
    ),
    click.option(
        "--match-colour",
        type=click.Choice(MATCHES),
        is_flag=False,
        flag_value="background",
        default="none",
        help="Bring colour and light of the background to the clip's, or of the foreground to the background's.",
    ),
    click.option(
        "--grain",
        type=NumberOrAuto(),
        is_flag=False,
        flag_value="auto",
        default="0",
        metavar="[LEVELS]",
        help="Noise over the background: as much as the clip has, or so many levels.",
    ),
    click.option(
        "--follow",
        type=click.Choice(["none", "camera"]),
        default="none",
        show_default=True,
        help="Move a still picture as the camera moves.",
    ),
)

alteration_options = stacked(
    click.option("--recolour", metavar="#RRGGBB", help="Another colour; light and shade stay."),
    click.option(
        "--blur", type=NumberOrAuto(), is_flag=False, flag_value="auto", metavar="[SIGMA]", help="Out of focus."
    ),
    click.option(
        "--pixelate",
        type=click.IntRange(1, 64),
        is_flag=False,
        flag_value=USUAL_BLOCKS,
        metavar="[N]",
        help="In squares, N across the object's short side.",
    ),
    click.option("--picture", metavar="FILE", help="A picture in the object's place, following it."),
)


def look(options: dict[str, Any]) -> Look:
    """What the look options say; takes its own out of `options`. Raises UsageError."""
    start, stop = options.pop("trim") or (Fraction(0), None)
    offset = options.pop("offset")
    return Look(
        fit=options.pop("fit"),
        scale=options.pop("scale"),
        offset_px=(float(offset[0]), float(offset[1])),
        at_end=options.pop("at_end"),
        start_s=start,
        stop_s=stop,
        speed=options.pop("speed"),
        match_colour=options.pop("match_colour"),
        grain=options.pop("grain"),
        follow=options.pop("follow"),
    )


def alteration(options: dict[str, Any]) -> Alteration | None:
    """What the alteration options say, None for nothing. Raises UsageError for two at once."""
    recolour, blur = options.pop("recolour"), options.pop("blur")
    pixelate, picture = options.pop("pixelate"), options.pop("picture")
    found: list[Alteration] = []
    if recolour is not None:
        found.append(Recolour(recolour))
    if blur is not None:
        found.append(Blurred(None if blur == "auto" else blur))
    if pixelate is not None:
        found.append(Pixelated(pixelate))
    if picture is not None:
        found.append(Pictured(picture))
    if len(found) > 1:
        raise UsageError("one of --recolour, --blur, --pixelate and --picture at a time: list several in edit.json")
    return found[0] if found else None

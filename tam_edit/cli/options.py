"""Options that several commands share, and the kinds of values they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

CLIP_OR_EDIT = click.Path(path_type=Path)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers with commas between, such as a point or a box."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.count = count

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != self.count:
            self.fail(f"{value!r}: write {self.name}", param, ctx)
        return numbers


PICTURES = (".png", ".bmp", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp")


class Scribble(click.ParamType[tuple[tuple[float, float], ...] | Path]):
    """Points with spaces between, or the name of a picture."""

    name = "SCRIBBLE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[float, float], ...] | Path:
        try:
            pairs = [tuple(float(part) for part in pair.split(",")) for pair in value.split()]
        except ValueError:
            pairs = []
        if pairs and all(len(pair) == 2 for pair in pairs):
            return tuple((pair[0], pair[1]) for pair in pairs)
        if Path(value).suffix.lower() not in PICTURES:
            self.fail(f'{value!r}: write "X,Y X,Y ..." or name a picture', param, ctx)
        return Path(value)


class Png(click.ParamType[Path]):
    """The name of a PNG to write."""

    name = "PNG"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.suffix.lower() != ".png":
            self.fail(f"{value!r}: a PNG is written: end the name in .png", param, ctx)
        return path


class ByteSize(click.ParamType[int]):
    """A size such as 8GB, 500MB or 4GiB."""

    name = "SIZE"
    units = {"": 1, "B": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}  # noqa: RUF012

    def __init__(self, least: int = 0) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip().upper().removesuffix("B")
        binary = text.endswith("I")
        text = text.removesuffix("I")
        unit = text[-1:] if text[-1:].isalpha() else ""
        try:
            number = float(text.removesuffix(unit))
            scale = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}[unit] if binary else self.units[unit]
        except (ValueError, KeyError):
            self.fail(f"{value!r}: write a size such as 8GB or 500MB", param, ctx)
        if not self.least <= number * scale < 2**60:
            self.fail(f"{value!r}: write a size such as 8GB or 500MB", param, ctx)
        return int(number * scale)


def stacked(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator of several, shown in --help in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")

prompt_options = stacked(
    click.option("--frame", type=click.IntRange(0), default=0, show_default=True, help="The frame meant, from 0."),
    click.option(
        "--point", "points", type=Numbers("X,Y", 2), multiple=True, metavar="X,Y", help="A pixel of the object."
    ),
    click.option(
        "--not",
        "negative",
        type=Numbers("X,Y", 2),
        multiple=True,
        metavar="X,Y",
        help="A pixel that is not the object.",
    ),
    click.option(
        "--scribble",
        "scribbles",
        type=Scribble(),
        multiple=True,
        metavar='"X,Y X,Y ..."',
        help="A line along the object, or a picture of lines.",
    ),
    click.option(
        "--not-scribble",
        "negative_scribbles",
        type=Scribble(),
        multiple=True,
        metavar='"X,Y X,Y ..."',
        help="A line beside the object, or a picture of lines.",
    ),
    click.option(
        "--box",
        "boxes",
        type=Numbers("X0,Y0,X1,Y1", 4),
        multiple=True,
        metavar="X0,Y0,X1,Y1",
        help="A box around the object; several: each holds a part of it.",
    ),
    click.option("--mask", type=click.Path(path_type=Path), metavar="PNG", help="A picture: non-zero is the object."),
    click.option("--polish", is_flag=True, help="The mask is rough: the segmenter redraws it along edges."),
    click.option("--absent", is_flag=True, help="The object is not there from this frame on."),
    click.option("--candidate", type=click.IntRange(0), default=0, help="Take the second (1) or third (2) extent."),
)

engine_options = stacked(
    click.option("--segmenter", metavar="NAME", help="auto, classic, sam: from clicks to a mask."),
    click.option("--tracker", metavar="NAME", help="auto, classic, xmem: masks through the clip."),
    click.option("--inpainter", metavar="NAME", help="auto, classic, e2fgvi, e2fgvi-hq: what lies behind."),
    click.option(
        "--refine",
        type=click.Choice(["auto", "never", "always"]),
        help="Ask the segmenter about doubtful tracked masks; auto: where that pays.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda, for neural engines."),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "bf16", "fp16"]),
        default="fp32",
        show_default=True,
        help="For neural engines.",
    ),
    click.option("--fast", is_flag=True, help="XMem decodes only around where objects can be."),
    click.option("--weights", multiple=True, metavar="NAME=FILE", help="Use this checkpoint, for example xmem=FILE."),
    click.option("--commercial", is_flag=True, help="Refuse engines whose weights forbid commercial use."),
    click.option(
        "--memory",
        type=ByteSize(least=1),
        default="8GB",
        show_default=True,
        metavar="SIZE",
        help="How much memory to use at most.",
    ),
)

shadow_option = click.option(
    "--shadow", type=click.Choice(["auto", "none"]), help="Whether removal takes the object's shadow along."
)

edge_options = stacked(
    click.option(
        "--dilate", "dilate_px", type=click.IntRange(0, 500), metavar="PX", help="Grow the masks by so many pixels."
    ),
    click.option(
        "--erode", "erode_px", type=click.IntRange(0, 500), metavar="PX", help="Shrink them; with --dilate, the rest."
    ),
    click.option(
        "--feather", "feather_px", type=click.FloatRange(0, 500), metavar="PX", help="Width of the soft edge."
    ),
    click.option(
        "--matte",
        type=click.Choice(["auto", "contour", "hard"]),
        help="The edge: refined against the picture (auto), the smoothed contour, or the mask's pixels.",
    ),
    click.option("--smooth/--no-smooth", default=None, help="Hold edges still in time (usual), or not."),
    click.option("--mend/--no-mend", default=None, help="Fill small holes and leave out specks (usual), or not."),
    shadow_option,
)

output_options = stacked(
    click.option("--lossless", is_flag=True, help="Keep every bit outside the masks (FFV1 in .mkv)."),
    click.option("--crf", type=click.IntRange(0, 63), help="Quality of the encoder; less is better."),
    click.option("--codec", default="auto", show_default=True, help="auto, h264, hevc, ffv1, vp9, av1 or prores."),
)

objects_option = click.option("--objects", metavar="A,B", help="Only these objects.")

choice_options = stacked(
    objects_option,
    click.option("--invert", is_flag=True, help="Swap what is kept and what is removed."),
)

source_options = stacked(
    click.option(
        "--fps", "frame_rate", metavar="RATE", help="Frames a second of a folder of pictures, such as 24 or 30000/1001."
    ),
    click.option("--allow-truncated", is_flag=True, help="Go on with what can be read of a file that breaks off."),
)

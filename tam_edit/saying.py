"""What a person says of an object on a frame: completed to a prompt, answered with a mask, kept in the script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tam_edit.engine.store import EntryLost
from tam_edit.errors import MaskEmpty, PromptError
from tam_edit.script import Box, Prompt, StoredMask, check_name, mask_from_picture, whole_frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tam_edit.pipelines.context import Context
    from tam_edit.pipelines.engines import Engines
    from tam_edit.pipelines.keyframes import Candidate
    from tam_edit.workbench import Workbench


@dataclass(frozen=True)
class Saying:
    """Clicks, a box, a mask, or that it is absent; positions in pixels of the upright picture.

    mask: a picture's path or an array [H, W], non-zero is the object; polish: it is rough, the segmenter redraws it.
    candidate picks one of several extents. boxes: several, each around a part of the object. scribbles: lines drawn
    along the object, each a list of points or a picture (path or array) whose non-zero pixels are the line;
    negative_scribbles: the same beside it.
    """

    frame: int = 0
    points: Sequence[tuple[float, float]] = ()
    negative: Sequence[tuple[float, float]] = ()
    box: Sequence[float] | None = None
    mask: NDArray[Any] | str | Path | None = None
    absent: bool = False
    candidate: int = 0
    boxes: Sequence[Sequence[float]] = ()
    scribbles: Sequence[Sequence[tuple[float, float]] | NDArray[Any] | str | Path] = ()
    polish: bool = False
    negative_scribbles: Sequence[Sequence[tuple[float, float]] | NDArray[Any] | str | Path] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", whole_frame(self.frame))

    @property
    def is_clicks(self) -> bool:
        given = self.points, self.negative, self.all_boxes, self.scribbles, self.negative_scribbles
        return any(len(each) for each in given)  # an array has no truth of its own

    @property
    def says_something(self) -> bool:
        return self.is_clicks or self.mask is not None or self.absent

    @property
    def all_boxes(self) -> tuple[Sequence[float], ...]:
        return (*(() if self.box is None else (self.box,)), *self.boxes)


def say(bench: Workbench, name: str, saying: Saying) -> NDArray[np.bool_]:
    """Find the mask that is meant, bool [H, W], and keep what was said in the script."""
    prompts: list[Prompt] = []

    def work(context: Context, engines: Engines) -> NDArray[np.bool_]:
        from tam_edit.pipelines.keyframes import key_mask

        prompts.append(prompt_of(saying, name, bench, context))
        context.runner.stage("segment", 1)
        return key_mask(context, name, saying.frame, prompts[-1], engines.segmenter).load()

    # The script is changed only once the mask is there: clicks that hit nothing leave it as it was.
    found = bench.run("mark", work)
    bench.change(lambda script: script.marked(name, saying.frame, prompts[-1]))
    return found


def candidates(bench: Workbench, name: str, saying: Saying) -> tuple[Candidate, ...]:
    """The masks that clicks could mean, best first; the script stays as it is."""

    def work(context: Context, engines: Engines) -> tuple[Candidate, ...]:
        from tam_edit.pipelines.keyframes import check_prompt, propose

        prompt = prompt_of(saying, name, bench, context)
        check_prompt(context, name, saying.frame, prompt)
        return propose(context, saying.frame, prompt, engines.segmenter)

    return bench.run("candidates", work, keep=False)


def prompt_of(saying: Saying, name: str, bench: Workbench, context: Context) -> Prompt:
    """The prompt to keep: a drawn mask is read in, a correction by clicks gets the mask that it mends.

    Raises PromptError and MaskEmpty for what cannot be meant.
    """
    check_name(name)
    if saying.frame < 0:
        raise PromptError(f"frame {saying.frame}: frames count from 0")
    try:
        points, negative = _pairs(saying.points), _pairs(saying.negative)
        boxes = tuple(_box(box) for box in saying.all_boxes)
        scribbles, beside = _lines(saying.scribbles), _lines(saying.negative_scribbles)
    except (TypeError, ValueError) as error:
        raise PromptError(f"points are (x, y), a box is (x0, y0, x1, y1), in pixels ({error})") from error
    size_wh = context.source.size_wh
    return Prompt(
        points=(*points, *_painted(saying.scribbles, size_wh)),
        negative=(*negative, *_painted(saying.negative_scribbles, size_wh)),
        scribbles=scribbles,
        negative_scribbles=beside,
        box=boxes[0] if boxes else None,
        boxes=boxes[1:],
        mask=None if saying.mask is None else _stored(saying.mask, size_wh, name),
        polish=saying.polish,
        absent=saying.absent,
        prior=_prior(name, saying.frame, bench, context) if saying.is_clicks else None,
        candidate=saying.candidate,
    )


def _pairs(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def _lines(scribbles: Sequence[Any]) -> tuple[tuple[tuple[float, float], ...], ...]:
    return tuple(_pairs(line) for line in scribbles if _is_line(line))


def _painted(scribbles: Sequence[Any], size_wh: tuple[int, int]) -> list[tuple[float, float]]:
    return [point for line in scribbles if not _is_line(line) for point in _sampled(line, size_wh)]


def _box(sides: Sequence[float]) -> Box:
    numbers = tuple(float(side) for side in sides)
    if len(numbers) != 4:
        raise PromptError(f"box {numbers}: write X0,Y0,X1,Y1")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _is_line(scribble: Any) -> bool:
    """Whether a scribble is a list of points; else it is a picture."""
    return not isinstance(scribble, str | Path) and not (hasattr(scribble, "ndim") and scribble.shape[-1:] != (2,))


def _sampled(scribble: Any, size_wh: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """Points that stand for the strokes of a picture."""
    from tam_edit.pipelines.prompts import SCRIBBLE_POINTS, spread_points

    what = str(scribble) if isinstance(scribble, str | Path) else "the scribble"
    pixels = _read_mask(Path(scribble)) if isinstance(scribble, str | Path) else scribble
    mask = mask_from_picture(pixels, size_wh, what)
    if not mask.any():
        raise MaskEmpty(f"{what} has no stroke: draw with any colour but black")
    return spread_points(mask, SCRIBBLE_POINTS)


def _stored(mask: NDArray[Any] | str | Path, size_wh: tuple[int, int], name: str) -> StoredMask:
    from_file = isinstance(mask, str | Path)
    what = str(mask) if from_file else "the mask"
    pixels = _read_mask(Path(mask)) if isinstance(mask, str | Path) else mask
    found = mask_from_picture(pixels, size_wh, what)
    if not found.any():
        raise MaskEmpty(f"{what} has no pixel of {name!r}: give one with pixels, or say --absent")
    return StoredMask.of(found)


def _prior(name: str, frame: int, bench: Workbench, context: Context) -> StoredMask | None:
    """The mask that the object has on a frame by tracking, when that is known without running anything."""
    from tam_edit.pipelines.recipes import tubes

    script = bench.effective
    if name not in script.names:
        return None
    former = script.prompt(name, frame)
    if former is not None:
        return former.prior
    if not any(item.prompts for item in script.objects):
        return None
    with bench.context(bench.runner(dry=True), probed=context) as dry:
        found = tubes(dry, script, bench.engines())
        if found.maps.digests.get(frame) is None:
            return None
        try:
            mask = found.maps.load(frame) == script.label_of(name)
        except EntryLost:
            return None  # the cache was pruned: the clicks stand alone
    return StoredMask.of(mask) if mask.any() else None


def _read_mask(path: Path) -> NDArray[Any]:
    """A mask picture's pixels; palette pictures by index, transparent pixels as background. Raises PromptError."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        if Path(path).exists() and not Path(path).is_file():
            raise ValueError("it is no file")  # a pipe would be waited for
        with Image.open(path) as picture:
            if picture.mode in ("RGBA", "LA", "PA"):
                pixels = np.asarray(picture.convert("RGBA"))
                return np.asarray(pixels[..., :3].any(axis=2) & (pixels[..., 3] > 0))
            return np.asarray(picture)
    except FileNotFoundError as error:
        raise PromptError(f"mask {path}: no such file") from error
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise PromptError(f"mask {path} cannot be read as a picture ({error}): give a PNG") from error

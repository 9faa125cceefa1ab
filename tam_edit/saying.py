"""What a person says of an object on a frame, checked and completed to a prompt of the script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tam_edit.engine.store import EntryLost
from tam_edit.errors import MaskEmpty, PromptError
from tam_edit.script import Prompt, StoredMask, check_name, mask_from_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tam_edit.pipelines.context import Context
    from tam_edit.workbench import Workbench


@dataclass(frozen=True)
class Saying:
    """Clicks, a box, a mask, or that it is absent; positions in pixels of the upright picture.

    mask: a picture's path or an array [H, W], non-zero is the object. candidate picks one of several extents.
    """

    frame: int = 0
    points: Sequence[tuple[float, float]] = ()
    negative: Sequence[tuple[float, float]] = ()
    box: Sequence[float] | None = None
    mask: NDArray[Any] | str | Path | None = None
    absent: bool = False
    candidate: int = 0


def prompt_of(saying: Saying, name: str, bench: Workbench, context: Context) -> Prompt:
    """The prompt to keep: a drawn mask is read in, a correction by clicks gets the mask that it mends.

    Raises PromptError and MaskEmpty for what cannot be meant.
    """
    check_name(name)
    if saying.frame < 0:
        raise PromptError(f"frame {saying.frame}: frames count from 0")
    try:
        points, negative = _pairs(saying.points), _pairs(saying.negative)
        sides = None if saying.box is None else tuple(float(side) for side in saying.box)
    except (TypeError, ValueError) as error:
        raise PromptError(f"points are (x, y), a box is (x0, y0, x1, y1), in pixels ({error})") from error
    if sides is not None and len(sides) != 4:
        raise PromptError(f"box {sides}: write X0,Y0,X1,Y1")
    clicks = bool(points or negative or sides)
    return Prompt(
        points=points,
        negative=negative,
        box=None if sides is None else (sides[0], sides[1], sides[2], sides[3]),
        mask=None if saying.mask is None else _stored(saying.mask, context.source.size_wh, name),
        absent=saying.absent,
        prior=_prior(name, saying.frame, bench, context) if clicks else None,
        candidate=saying.candidate,
    )


def _pairs(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


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
        with Image.open(path) as picture:
            if picture.mode in ("RGBA", "LA", "PA"):
                pixels = np.asarray(picture.convert("RGBA"))
                return np.asarray(pixels[..., :3].any(axis=2) & (pixels[..., 3] > 0))
            return np.asarray(picture)
    except FileNotFoundError as error:
        raise PromptError(f"mask {path}: no such file") from error
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise PromptError(f"mask {path} cannot be read as a picture ({error}): give a PNG") from error

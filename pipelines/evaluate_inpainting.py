"""Fillers against the truth: holes where nothing is hidden, cut by another sequence's masks or by a still rectangle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import EngineError, UsageError
from tam_edit.masks import Mask
from tam_edit.pipelines.evaluate_clock import Clock
from tam_edit.pipelines.evaluate_dataset import AnnotatedSequence
from tam_edit.pipelines.metrics import finite_mean, psnr, ssim, true_flow, warping_error

Picture = NDArray[np.uint8]
Fill = Callable[[Sequence[Picture], Sequence[Mask]], Iterator[Picture]]

HOLES = ("moving", "fixed")


@dataclass(frozen=True)
class FillingEngine:
    """A filler by name: `fill(frames, masks)` gives as many frames, uint8 RGB [H, W, 3], in order."""

    name: str
    version: str
    fill: Fill


@dataclass(frozen=True)
class FillScore:
    """What one engine made of one sequence's holes; PSNR in dB, means over frames; errors in grey levels."""

    sequence: str
    hole: str
    engine: str
    psnr: float
    ssim: float
    hole_psnr: float
    warp: float
    frames_run: int
    seconds: float
    cpu_seconds: float
    hole_psnr_by_frame: tuple[float, ...]

    def row(self) -> dict[str, Any]:
        """The score as a flat row of a table."""
        return {
            "sequence": self.sequence,
            "hole": self.hole,
            "engine": self.engine,
            "PSNR": self.psnr,
            "SSIM": self.ssim,
            "hole PSNR": self.hole_psnr,
            "warp": self.warp,
            "seconds_per_frame": self.seconds / max(self.frames_run, 1),
            "cpu_seconds_per_frame": self.cpu_seconds / max(self.frames_run, 1),
        }


def telea() -> FillingEngine:
    """OpenCV's fast marching fill of each frame alone (Telea, Journal of Graphics Tools 2004): the yardstick."""
    import cv2

    def fill(frames: Sequence[Picture], masks: Sequence[Mask]) -> Iterator[Picture]:
        for frame, mask in zip(frames, masks, strict=True):
            filled: Picture = cv2.inpaint(frame, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
            yield filled

    return FillingEngine("telea", cv2.__version__, fill)


def untouched() -> FillingEngine:
    """The true pictures themselves, as a ceiling: their warping error is the flow's own."""
    return FillingEngine("truth", "", lambda frames, _: iter(frames))


def evaluate_fill(
    engines: Sequence[FillingEngine],
    sequence: AnnotatedSequence,
    donor: AnnotatedSequence,
    *,
    hole: str = "moving",
    size_wh: tuple[int, int] = (432, 240),
    frames: int = 50,
) -> list[FillScore]:
    """Every engine on the same holes of one sequence's first frames, shrunk to `size_wh`.

    hole: "moving", the masks of the donor sequence, or "fixed", a rectangle of a quarter of the width and height in
    the middle. Raises UsageError for another hole, EngineError when an engine gives fewer or other frames.
    """
    pictures = [_shrunk(sequence.picture(index), size_wh) for index in range(min(frames, len(sequence)))]
    masks = holes(hole, donor, len(pictures), size_wh)
    flows = [true_flow(before, after) for before, after in pairwise(pictures)]
    return [_score(engine, sequence.name, hole, pictures, masks, flows) for engine in engines]


def holes(hole: str, donor: AnnotatedSequence, count: int, size_wh: tuple[int, int]) -> list[Mask]:
    """The holes of `count` frames, bool [H, W]; a donor that is shorter goes back and forth."""
    import cv2

    width, height = size_wh
    if hole == "fixed":
        mask = np.zeros((height, width), bool)
        top, left = (height - height // 4) // 2, (width - width // 4) // 2
        mask[top : top + height // 4, left : left + width // 4] = True
        return [mask] * count
    if hole != "moving":
        raise UsageError(f"no hole called {hole!r}: there are {', '.join(HOLES)}")
    there_and_back = [*range(len(donor)), *range(len(donor) - 2, 0, -1)]
    picked = (there_and_back[index % len(there_and_back)] for index in range(count))
    maps = ((donor.truth(index) > 0).astype(np.uint8) for index in picked)
    return [cv2.resize(one, size_wh, interpolation=cv2.INTER_NEAREST).astype(bool) for one in maps]


def donor_of(sequence: AnnotatedSequence, everything: Sequence[AnnotatedSequence]) -> AnnotatedSequence:
    """Whose masks cut the moving holes: the next sequence by name, the first one's for the last."""
    names = sorted(everything, key=lambda other: other.name)
    later = [other for other in names if other.name > sequence.name]
    return (later or names)[0]


def _score(
    engine: FillingEngine,
    name: str,
    hole: str,
    pictures: Sequence[Picture],
    masks: Sequence[Mask],
    flows: Sequence[NDArray[np.float32]],
) -> FillScore:
    clock = Clock()
    filled: list[Picture] = []
    # The engine sees no pixel of the truth inside the hole.
    hidden = [np.where(mask[:, :, None], np.uint8(0), picture) for picture, mask in zip(pictures, masks, strict=True)]
    given = pictures if engine.name == "truth" else hidden
    with clock:
        filled.extend(engine.fill(given, masks))
    if len(filled) != len(pictures) or any(a.shape != b.shape for a, b in zip(filled, pictures, strict=False)):
        raise EngineError(f"engine {engine.name} gave {len(filled)} frames for {len(pictures)} of {name}")
    in_hole = [psnr(a, b, mask) for a, b, mask in zip(filled, pictures, masks, strict=True)]
    warps = [
        warping_error(before, after, flow, mask)
        for (before, after), flow, mask in zip(pairwise(filled), flows, masks, strict=False)
    ]
    return FillScore(
        name,
        hole,
        engine.name,
        finite_mean([psnr(a, b) for a, b in zip(filled, pictures, strict=True)]),
        finite_mean([ssim(a, b) for a, b in zip(filled, pictures, strict=True)]),
        finite_mean(in_hole),
        finite_mean(warps),
        len(filled),
        clock.seconds,
        clock.cpu_seconds,
        tuple(in_hole),
    )


def _shrunk(picture: Picture, size_wh: tuple[int, int]) -> Picture:
    import cv2

    if (picture.shape[1], picture.shape[0]) == size_wh:
        return picture
    smaller: Picture = cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA)
    return smaller

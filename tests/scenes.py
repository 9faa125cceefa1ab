"""A small clip whose truth is known, and engines that are quick and simple, for tests of everything around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tam_edit.masks import Mask
from tam_edit.pipelines.context import Rgb
from tam_edit.pipelines.engines import Engines
from tam_edit.pipelines.inpaint import Room
from tam_edit.pipelines.keyframes import Candidate
from tam_edit.pipelines.prompts import clicked
from tam_edit.script import Prompt

SIZE_WH = (96, 64)
BALL_PX = 14
RED, BLUE = (220, 40, 40), (40, 60, 220)


def ball_at(frame: int, lane: int = 0) -> tuple[int, int]:
    """Top left corner (x, y) of the ball on a frame."""
    return (4 + frame) % (SIZE_WH[0] - BALL_PX), 8 + 26 * lane


def centre(frame: int, lane: int = 0) -> tuple[int, int]:
    x, y = ball_at(frame, lane)
    return x + BALL_PX // 2, y + BALL_PX // 2


def truth(frame: int, lane: int = 0) -> Mask:
    mask = np.zeros((SIZE_WH[1], SIZE_WH[0]), dtype=bool)
    x, y = ball_at(frame, lane)
    mask[y : y + BALL_PX, x : x + BALL_PX] = True
    return mask


def picture(frame: int, shot: int = 0, lanes: Sequence[tuple[int, int, int]] = (RED,)) -> Rgb:
    """A grey texture that drifts slowly, another one in each shot, with a ball of each colour on its lane."""
    noise = np.random.default_rng(shot).uniform(60, 190, (11, 20)).astype(np.float32)
    large = cv2.resize(noise, (SIZE_WH[0] + 40, SIZE_WH[1]), interpolation=cv2.INTER_CUBIC)
    shift = 40 - abs(40 - frame // 4 % 80)  # to and fro, without a jump however long the clip
    grey = np.clip(large[:, shift : shift + SIZE_WH[0]], 20, 230).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    for lane, colour in enumerate(lanes):
        rgb[truth(frame, lane)] = colour
    return rgb


def write_clip(
    path: Path,
    frames: int = 80,
    cuts: Sequence[int] = (),
    lanes: Sequence[tuple[int, int, int]] = (RED,),
    rate: int | Fraction = 25,
    pixel_format: str = "yuv444p",
) -> Path:
    """Encode `picture`s as H.264 of high quality."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate, options={"crf": "4", "preset": "ultrafast"})
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = 1 / Fraction(rate)
        for index in range(frames):
            shot = sum(cut <= index for cut in cuts)
            frame = av.VideoFrame.from_ndarray(picture(index, shot, lanes), format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


class SquareSegmenter:
    """Each click means the square of its colour around it."""

    identity = "square/1"
    looks_ahead = False

    def candidates(self, rgb: Rgb, prompt: Prompt, next_rgb: Rgb | None) -> tuple[Candidate, ...]:
        if prompt.mask is not None:  # to be polished
            return (Candidate(like(rgb, np.median(rgb[prompt.mask.mask()], axis=0)), 0.9, "polished"),)
        mask = np.zeros(rgb.shape[:2], dtype=bool) if prompt.prior is None else prompt.prior.mask()
        for x, y in clicked(prompt):
            mask |= like(rgb, rgb[int(y), int(x)])
        for x, y in prompt.negative:
            mask &= ~like(rgb, rgb[int(y), int(x)])
        for box in prompt.all_boxes:
            x0, y0, x1, y1 = (int(side) for side in box)
            mask[y0:y1, x0:x1] = True
        return (Candidate(mask, 0.9, "whole"),)


@dataclass(frozen=True)
class Tracking:
    """A kind of tracker, as the stage asks for one."""

    make: Callable[[], ScriptedTracker]
    identity: str
    chunk: int = 8
    crosses_cuts: bool = False


class ScriptedTracker:
    """What scripted trackers share: one array for each label is all they remember, and teaching tells them nothing."""

    def __init__(self) -> None:
        self.kept: dict[int, NDArray[Any]] = {}

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(sorted(self.kept))

    def step(
        self, frame: Rgb, masks: Mapping[int, Mask] | None = None, *, last: bool = False, cut: bool = False
    ) -> NDArray[np.float32]:
        raise NotImplementedError

    def teach(self, frame: Rgb, masks: Mapping[int, Mask]) -> None:
        pass

    def trust(self) -> Mapping[int, Any]:
        return {label: FixedTrust(0) for label in self.labels}

    def snapshot(self) -> dict[str, NDArray[Any]]:
        return {str(label): array for label, array in self.kept.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.kept = {int(name): array for name, array in state.items()}


class ColourTracker(ScriptedTracker):
    """Follows the colours that the masks had; its memory counts steps, so that lost state would show."""

    steps = 0

    def step(
        self, frame: Rgb, masks: Mapping[int, Mask] | None = None, *, last: bool = False, cut: bool = False
    ) -> NDArray[np.float32]:
        self.teach(frame, masks or {})
        for label, mask in (masks or {}).items():
            if not mask.any():
                self.kept[label] = np.full(3, -1000.0)
        self.steps += 1
        planes = [like(frame, self.kept[label]).astype(np.float32) for label in self.labels]
        for label, mask in (masks or {}).items():
            planes[self.labels.index(label)] = mask.astype(np.float32)
        sure = np.float32(0.9 + 0.001 * (self.steps % 50))
        objects = np.stack(planes) * sure
        return np.concatenate([1 - objects.sum(axis=0, keepdims=True).clip(0, 1), objects]).astype(np.float32)

    def teach(self, frame: Rgb, masks: Mapping[int, Mask]) -> None:
        for label, mask in masks.items():
            if mask.any():
                self.kept[label] = np.median(frame[mask], axis=0)

    def trust(self) -> Mapping[int, Any]:
        return {label: FixedTrust(self.steps) for label in self.labels}

    def snapshot(self) -> dict[str, NDArray[Any]]:
        return {**super().snapshot(), "steps": np.asarray(self.steps)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.steps = int(state["steps"])
        super().restore({name: array for name, array in state.items() if name != "steps"})


class StillTracker(ScriptedTracker):
    """Repeats the masks of its keyframe: for large clips, where looking at every pixel takes long."""

    def step(
        self, frame: Rgb, masks: Mapping[int, Mask] | None = None, *, last: bool = False, cut: bool = False
    ) -> NDArray[np.float32]:
        self.kept |= masks or {}
        objects = np.stack([self.kept[label] for label in self.labels]).astype(np.float32)
        return np.concatenate([1 - objects.max(axis=0, keepdims=True), objects])


class GreyFilling:
    """Fills holes with grey, whatever is around."""

    identity = "grey/1"

    def make(
        self, read: Callable[[int], tuple[Rgb, Mask]], read_mask: Callable[[int], Mask], frame_count: int, room: Room
    ) -> GreyFiller:
        return GreyFiller(read)


class GreyFiller:
    chunk = 16
    notes = ()

    def __init__(self, read: Callable[[int], tuple[Rgb, Mask]]) -> None:
        self.read = read

    def looks(self, start: int, stop: int) -> range:
        return range(0)

    def reads(self, start: int, stop: int) -> range:
        return range(start, stop)

    def fill(self, start: int, stop: int) -> Iterator[Rgb]:
        for at in range(start, stop):
            rgb, hole = self.read(at)
            filled = rgb.copy()
            filled[hole] = 128
            yield filled


class FixedTrust:
    """Falls with the number of steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @property
    def combined(self) -> float:
        return max(0.0, 1 - self.steps / 100)


class MeanFilling:
    """Fills a hole with the mean colour around it over the frames within reach."""

    identity = "mean/1"

    def __init__(self, chunk: int = 4, reach: int = 3) -> None:
        self.chunk, self.reach = chunk, reach

    def make(
        self, read: Callable[[int], tuple[Rgb, Mask]], read_mask: Callable[[int], Mask], frame_count: int, room: Room
    ) -> MeanFiller:
        return MeanFiller(self, read, frame_count)


class MeanFiller:
    def __init__(self, kind: MeanFilling, read: Callable[[int], tuple[Rgb, Mask]], frame_count: int) -> None:
        self.kind, self.read, self.frame_count = kind, read, frame_count
        self.chunk = kind.chunk
        self.notes: list[tuple[str, list[int]]] = []

    def looks(self, start: int, stop: int) -> range:
        return range(0)

    def reads(self, start: int, stop: int) -> range:
        return range(max(0, start - self.kind.reach), min(self.frame_count, stop + self.kind.reach))

    def fill(self, start: int, stop: int) -> Iterator[Rgb]:
        seen = [self.read(at) for at in self.reads(start, stop)]
        colour = np.mean([rgb[~hole].mean(axis=0) for rgb, hole in seen], axis=0)
        for at in range(start, stop):
            rgb, hole = self.read(at)
            filled = rgb.copy()
            filled[hole] = np.rint(colour)
            if at % 10 == 0:
                self.notes.append(("a round number", [at]))
            yield filled


def simple_engines(*, crosses_cuts: bool = False) -> Engines:
    names = {"segmenter": "square", "tracker": "colour", "inpainter": "mean"}
    tracking = Tracking(ColourTracker, "colour/1", crosses_cuts=crosses_cuts)
    return Engines(SquareSegmenter(), tracking, MeanFilling(), names)


def still_engines() -> Engines:
    names = {"segmenter": "square", "tracker": "still", "inpainter": "grey"}
    return Engines(SquareSegmenter(), Tracking(StillTracker, "still/1", chunk=64), GreyFilling(), names)


def like(rgb: Rgb, colour: NDArray[Any]) -> Mask:
    return np.asarray(np.abs(rgb.astype(float) - colour).max(axis=2) < 30)

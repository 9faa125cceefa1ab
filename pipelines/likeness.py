"""The likeness stage: tone and noise of a shot and of what comes behind it, so that the two can be made alike.

Measured once for a shot, over frames spread evenly through it: what is matched frame by frame would flicker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_of
from tam_edit.effects import Look
from tam_edit.engine.stage import NOTHING, Product, Stage, Unit
from tam_edit.models.classic.noise import Grain, grain_of, grained
from tam_edit.models.classic.oklab import Tone, ToneSum, gains, toned
from tam_edit.pipelines.camera import masked
from tam_edit.pipelines.context import Context, Rgb
from tam_edit.pipelines.overlays import Background
from tam_edit.pipelines.propagate import Tubes

STAGE = Stage("likeness", 1)
SAMPLES = 8
MOST_PIXELS = 200_000
"""A sample is thinned to about so many pixels for its tone."""
LEAST_SHARE = 0.02
"""Where less of a picture lies outside all objects, the whole picture tells its tone."""


@dataclass(frozen=True)
class Likeness:
    """What one shot and its background look like. grain is None where no calm place was found."""

    clip: Tone
    behind: Tone
    clip_grain: Grain | None
    behind_grain: Grain | None


Likenesses = Mapping[FrameSpan, Likeness | None]
"""By shot; None while planning what has not run."""


def likenesses(context: Context, tubes: Tubes, background: Background, shots: Iterable[FrameSpan]) -> Likenesses:
    """Measure every shot that gets this background."""
    return {shot: _measure(context, tubes, background, shot) for shot in shots}


def samples(shot: FrameSpan) -> list[int]:
    """Frames spread evenly over a shot."""
    count = min(SAMPLES, len(shot))
    return [shot.start + (2 * at + 1) * len(shot) // (2 * count) for at in range(count)]


def _measure(context: Context, tubes: Tubes, background: Background, shot: FrameSpan) -> Likeness | None:
    frames = samples(shot)
    context.runner.stage(STAGE.name, len(shot))
    unit = Unit(
        STAGE,
        shot,
        {"samples": len(frames)},
        {
            "picture": context.picture_reads(frames),
            "mask": {frame: tubes.maps.digests.get(frame, NOTHING) for frame in frames},
            **background.reads(frames),
        },
    )

    def compute() -> Product:
        found = _seen(context, tubes, background, frames)
        return Product([digest_of(found)] * len(shot), facts={"likeness": found})

    record = context.runner.obtain(unit, compute)
    if record is None:
        return None
    facts = record.facts["likeness"]
    return Likeness(
        _tone(facts["clip"]), _tone(facts["behind"]), _grain(facts["clip_grain"]), _grain(facts["behind_grain"])
    )


def _seen(context: Context, tubes: Tubes, background: Background, frames: list[int]) -> dict[str, Any]:
    clip, behind = ToneSum(), ToneSum()
    clip_grains, behind_grains = [], []
    for frame in frames:
        rgb, back = context.rgb(frame), background.load(frame)
        outside = ~masked(context, tubes, frame)
        if outside.mean() < LEAST_SHARE:
            outside[:] = True
        clip.add(_thinned(rgb[outside]))
        behind.add(_thinned(back.reshape(-1, 3)))
        clip_grains.append(grain_of(rgb, outside))
        behind_grains.append(grain_of(back, np.ones(back.shape[:2], dtype=bool)))
    tones = clip.tone(), behind.tone()
    return {
        "clip": None if tones[0] is None else dataclasses.asdict(tones[0]),
        "behind": None if tones[1] is None else dataclasses.asdict(tones[1]),
        "clip_grain": _middle(clip_grains),
        "behind_grain": _middle(behind_grains),
    }


def _thinned(pixels: Rgb) -> Rgb:
    return pixels[:: max(1, len(pixels) // MOST_PIXELS)]


def _middle(grains: list[Grain | None]) -> dict[str, float] | None:
    """The median of several measurements, part by part."""
    known = [dataclasses.astuple(grain) for grain in grains if grain is not None]
    if not known:
        return None
    fine, coarse, chroma = (float(value) for value in np.median(np.array(known), axis=0))
    return {"fine": fine, "coarse": coarse, "chroma": chroma}


def _tone(facts: Mapping[str, Any]) -> Tone:
    mean, deviation = facts["mean"], facts["deviation"]
    return Tone((mean[0], mean[1], mean[2]), (deviation[0], deviation[1], deviation[2]))


def _grain(facts: Mapping[str, float] | None) -> Grain | None:
    return None if facts is None else Grain(facts["fine"], facts["coarse"], facts["chroma"])


@dataclass
class LikenedBackground:
    """A background brought to the clip's tone, then to its grain. likenesses: none needed for grain by number."""

    inner: Background
    look: Look
    measured: Likenesses

    def reads(self, frames: Iterable[int]) -> Mapping[str, Mapping[int, str | None]]:
        frames = list(frames)
        return {**self.inner.reads(frames), "look": {frame: self._digest(frame) for frame in frames}}

    def _digest(self, frame: int) -> str | None:
        here = self._here(frame)
        if here is None and self.measured:
            return None
        # The noise itself follows from the frame's number.
        number = frame if self.look.grain else None
        return digest_of((self.look.match_colour == "background", self.look.grain, number, here))

    def _here(self, frame: int) -> Likeness | None:
        return next((found for shot, found in self.measured.items() if frame in shot), None)

    def load(self, frame: int) -> Rgb:
        rgb = self.inner.load(frame)
        here = self._here(frame)
        if here is not None and self.look.match_colour == "background":
            rgb = toned(rgb, here.behind, here.clip)
        grain = self._grain(here)
        return rgb if grain is None else grained(rgb, grain, frame)

    def _grain(self, here: Likeness | None) -> Grain | None:
        """The noise to add: as much as the clip has and the background lacks, or what was asked for."""
        if not isinstance(self.look.grain, str):
            level = self.look.grain
            return Grain(level, 0.0, level / 2) if level > 0 else None
        if here is None or here.clip_grain is None:
            return None
        there = here.behind_grain or Grain()
        if self.look.match_colour == "background":
            gain = float(gains(here.behind, here.clip)[0])
            there = Grain(there.fine * gain, there.coarse * gain, there.chroma * gain)
        return here.clip_grain.missing(there)


@dataclass(frozen=True)
class Toned:
    """The change of what is kept before a background: the clip's tone made the background's."""

    measured: Likenesses

    def digest(self, frame: int) -> str | None:
        here = self._here(frame)
        return None if here is None else digest_of(("toned", here.clip, here.behind))

    def changed(self, rgb: Rgb, alpha: np.ndarray[Any, Any], frame: int, at_xy: tuple[int, int]) -> Rgb:  # noqa: ARG002
        here = self._here(frame)
        if here is None:
            raise AssertionError("a frame was asked for before its likeness")
        return toned(rgb, here.clip, here.behind)

    def _here(self, frame: int) -> Likeness | None:
        return next((found for shot, found in self.measured.items() if frame in shot), None)

"""Effects as overlays over a clip: what each one needs is planned or made, other clips are opened and closed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tam_edit.effects import (
    Alter,
    Choice,
    Effect,
    Look,
    Pictured,
    Pixelated,
    Recolour,
    Remove,
    Replace,
    located,
    settled,
)
from tam_edit.errors import SourceMissing, UsageError
from tam_edit.media.digests import digest_source
from tam_edit.pipelines import background as backgrounds
from tam_edit.pipelines.alter import Altered, Blurring, Change, Following, Pixelating, Recolouring, middle_lightness
from tam_edit.pipelines.background_moving import ClipBackground, VideoBackground
from tam_edit.pipelines.camera import FollowingPicture, camera_path
from tam_edit.pipelines.context import Context
from tam_edit.pipelines.encode import Overlay
from tam_edit.pipelines.engines import Engines
from tam_edit.pipelines.likeness import LikenedBackground, Likenesses, Toned, likenesses
from tam_edit.pipelines.matte import Mattes, mattes
from tam_edit.pipelines.overlays import Background, Replacement
from tam_edit.pipelines.probe import probe
from tam_edit.pipelines.propagate import Tubes
from tam_edit.pipelines.recipes import matte_settings, removal, tubes
from tam_edit.pipelines.stack import Kept, Under, stacked
from tam_edit.pipelines.tracks import shots_with, track
from tam_edit.project import Project
from tam_edit.script import EditScript

MOST_PROJECTS_DEEP = 8


def check(effects: Sequence[Effect]) -> None:
    """Refuse what can be seen to be wrong before any work. Raises UsageError, SourceError."""
    for effect in effects:
        if isinstance(effect, Replace) and isinstance(effect.background, str):
            kind = backgrounds.parse_background(effect.background)
            still = isinstance(kind, backgrounds.File) and backgrounds.is_picture(kind.path)
            _check_look(effect.look, still, effect.background)
        elif isinstance(effect, Replace):
            _check_look(effect.look, False, "clip")
        elif isinstance(effect, Alter) and isinstance(effect.how, Pictured):
            if not Path(effect.how.path).is_file():
                raise SourceMissing(f"picture {effect.how.path}: no such file")
            if effect.choice.invert:
                raise UsageError("a picture follows objects: it cannot stand for everything but them")


def _check_look(look: Look, still: bool, what: str) -> None:
    if look.follow == "camera" and not still:
        raise UsageError(f"background {what}: only a still picture can follow the camera; leave --follow away")


def _is_timed(look: Look) -> bool:
    """Whether something is said of the time of a background."""
    usual = Look()
    return any(getattr(look, name) != getattr(usual, name) for name in ("start_s", "stop_s", "speed", "at_end"))


class Maker:
    """Makes overlays over one clip; other clips that they need stay open until `opened` is closed."""

    def __init__(
        self,
        context: Context,
        script: EditScript,
        engines: Engines,
        opened: contextlib.ExitStack,
        depth: int = 0,
    ) -> None:
        self.context, self.script, self.engines = context, script, engines
        self._opened, self._depth = opened, depth
        self._found: Tubes | None = None

    @property
    def found(self) -> Tubes:
        if self._found is None:
            self._found = tubes(self.context, self.script, self.engines)
        return self._found

    def overlay(self, effects: Sequence[Effect]) -> Overlay:
        """All effects in order as one overlay. Raises EffectMistake, UsageError, SourceError."""
        overlays: list[Overlay] = []
        for effect in settled(effects, self.script.names):
            if isinstance(effect, Remove):
                overlays.append(Kept(self._removal(effect.choice)))
            elif isinstance(effect, Replace):
                overlays.extend(map(Kept, self._replacement(effect, overlays)))
            else:
                for choice in _one_by_one(effect.choice):
                    overlays.extend(map(Kept, self._alteration(effect, choice, self._under(overlays))))
        return stacked(overlays)

    def _removal(self, choice: Choice) -> Overlay:
        return removal(self.context, self.found, self.script, self.engines, choice)

    def _replacement(self, effect: Replace, below: Sequence[Overlay]) -> list[Overlay]:
        kept = mattes(self.context, self.found, matte_settings(self.context, self.script, effect.choice, grown=False))
        look = effect.look
        behind = self._behind(effect, kept)
        measured: Likenesses = {}
        if look.match_colour != "none" or look.grain == "auto":
            measured = likenesses(self.context, self.found, behind, shots_with(self.context, kept))
        for shot, found in measured.items():
            if look.grain == "auto" and found is not None and found.clip_grain is None:
                words = "no calm place shows the clip's noise: no grain is added; give its strength, such as --grain 3"
                self.context.runner.ledger.warn(words, shot.indices())
        if look.match_colour == "background" or look.grain:
            behind = LikenedBackground(behind, look, measured)
        made: list[Overlay] = []
        if look.match_colour == "foreground":
            # What is kept takes the background's tone first; the background then comes over everything else.
            made.append(Altered(self._under(below), kept, Toned(measured), whole=True))
        return [*made, Replacement(kept, behind, self._under([*below, *made]))]

    def _under(self, overlays: Sequence[Overlay]) -> Under:
        return Under(self.context, stacked(overlays))

    def _behind(self, effect: Replace, kept: Mattes) -> Background:
        """What stands behind, before it is made to look like the clip."""
        context, look = self.context, effect.look
        size_wh = context.source.size_wh
        if not isinstance(effect.background, str):
            return ClipBackground(effect.background, context.source, look)
        kind = backgrounds.parse_background(effect.background)
        file = kind.path if isinstance(kind, backgrounds.File) else None
        plays = file is not None and not backgrounds.is_picture(file) and not Project.is_one(file)
        if _is_timed(look) and not plays:
            words = "is no video that plays: what was said of trim, speed and its end is not used"
            context.runner.ledger.warn(f"background {effect.background} {words}")
        if isinstance(kind, backgrounds.Colour):
            return backgrounds.colour_background(kind, size_wh)
        if isinstance(kind, backgrounds.Blur):
            sigma_px = backgrounds.blur_sigma_px(kind, size_wh)
            return backgrounds.PlateBackground(context, self._removal(Choice()), sigma_px, size_wh, look)
        if isinstance(kind, backgrounds.Transparent):
            raise UsageError("a transparent background: export it with --format webm-alpha, prores4444, png or exr")
        if Project.is_one(kind.path):
            return self._project(kind.path, look)
        if not backgrounds.is_picture(kind.path):
            other = self._opened.enter_context(_other_clip(context, kind.path))
            return VideoBackground(other.source, context.source, look, other)
        if look.follow == "camera":
            rgb = backgrounds.read_picture(kind.path)
            paths = {shot: camera_path(context, self.found, shot) for shot in shots_with(context, kept)}
            return FollowingPicture(rgb, backgrounds.picture_digest(rgb), size_wh, look, paths)
        return backgrounds.picture_background(kind.path, size_wh, look)

    def _project(self, folder: Path, look: Look) -> backgrounds.PlateBackground:
        """Another project's result behind the frames of the same number: its effects, or its objects removed."""
        if self._depth >= MOST_PROJECTS_DEEP:
            raise UsageError(f"background {folder}: projects stand behind one another without end")
        project = Project(folder)
        script = project.script()
        other = self._opened.enter_context(_other_clip(self.context, project.source_path(script), script))
        if other.source.frames < self.context.source.frames:
            raise UsageError(
                f"background {folder}: has {other.source.frames} frames, the clip {self.context.source.frames}: "
                "another project goes behind frame by frame, so it needs as many (a video file is repeated instead)"
            )
        maker = Maker(other, script, self.engines, self._opened, self._depth + 1)
        overlay = maker.overlay(effects_of(script, project.folder))
        return backgrounds.PlateBackground(other, overlay, 0.0, self.context.source.size_wh, look)

    def _alteration(self, effect: Alter, choice: Choice, under: Under) -> list[Overlay]:
        context, how = self.context, effect.how
        if isinstance(how, Pictured):
            tight = mattes(context, self.found, matte_settings(context, self.script, choice, grown=False))
            picture = Following(backgrounds.read_rgba(Path(how.path)), track(context, tight), context.source.size_wh)
            return [self._removal(choice), picture]
        if isinstance(how, Recolour):
            tight = mattes(context, self.found, matte_settings(context, self.script, choice, grown=False))
            colour = backgrounds.rgb_of(how.colour)
            return [Altered(under, tight, Recolouring(colour, middle_lightness(context, tight)))]
        # Grown as for removal: nothing of the object may look out, and its shadow is no part of it.
        wanted = dataclasses.replace(matte_settings(context, self.script, choice, grown=True), shadow=False)
        grown = mattes(context, self.found, wanted)
        where = track(context, grown)
        change: Change = Pixelating(how.blocks, where) if isinstance(how, Pixelated) else Blurring(how.sigma_px, where)
        return [Altered(under, grown, change)]


def effects_of(script: EditScript, folder: Path) -> tuple[Effect, ...]:
    """What a project's result is: its list of effects, or without one its objects removed."""
    if script.effects:
        return tuple(located(effect, folder) for effect in script.effects)
    return (Remove(),) if any(item.prompts for item in script.objects) else ()


def _one_by_one(choice: Choice) -> list[Choice]:
    """Each object for itself, since its size and colour are its own; everything but some stays one."""
    if choice.invert or choice.objects is None:
        return [choice]
    return [Choice((name,)) for name in choice.objects]


def _other_clip(context: Context, path: Path, script: EditScript | None = None) -> Context:
    """Another clip beside the edited one, probed through the same store."""
    given = script.source if script else None
    probed = probe(
        context.runner,
        path,
        digest_source(path),
        frame_rate=given.frame_rate if given else None,
        allow_truncated=given.allow_truncated if given else False,
    )
    return Context(context.runner, probed.source, probed.cuts, context.memory_bytes)

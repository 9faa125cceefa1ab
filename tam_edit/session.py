"""Edit: the one way in for the command line, the page and Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tam_edit.beginning import begin, begin_with_result, first_of, take_anew, undo_beginning
from tam_edit.clip import ClipSource, FrameSpan
from tam_edit.effects import (
    Alter,
    Alteration,
    Choice,
    Effect,
    Look,
    MovingPicture,
    Pixelated,
    Remove,
    Replace,
    settled,
    with_files,
)
from tam_edit.effects_text import tree_of_effect
from tam_edit.engine.report import Report
from tam_edit.engine.store import Store
from tam_edit.errors import PromptError, UsageError
from tam_edit.exchange import Imported, plan_cut_out, read_masks, write_export
from tam_edit.making import (
    OutputOptions,
    cut_out_notes,
    effects_clip,
    plan_effects,
    script_effects,
    transparent_format,
    write_effects,
)
from tam_edit.masks import MaskTube
from tam_edit.project import Project, check_free
from tam_edit.saying import Saying, candidates, say
from tam_edit.script import EditScript
from tam_edit.settings import Settings
from tam_edit.sources import changed_since, new_script
from tam_edit.trusting import keep_trust, tracked, trust_by_object
from tam_edit.workbench import Surroundings, Workbench, shared_cache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tam_edit.pipelines.context import Context
    from tam_edit.pipelines.engines import EngineOptions, Engines
    from tam_edit.pipelines.keyframes import Candidate
    from tam_edit.pipelines.review import Doubt


class Edit:
    """One clip being edited: prompts in, masks and edited videos out; what is finished is never run again.

    Make one with `Edit.create`, `Edit.open` or `Edit.once`. Every method raises TamEditError (see tam_edit.errors)
    for whatever is worth telling; `report` is what the last run did.
    """

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    @classmethod
    def _of(
        cls,
        project: Project | None,
        script: EditScript,
        store: Store,
        surroundings: Surroundings | None,
        engines: EngineOptions | None,
    ) -> Edit:
        from tam_edit.pipelines.engines import EngineOptions

        return cls(Workbench(project, script, store, surroundings or Surroundings(), engines or EngineOptions()))

    # Making and opening

    @classmethod
    def create(
        cls,
        clip: str | Path,
        project: str | Path,
        *,
        frame_rate: Fraction | str | None = None,
        allow_truncated: bool = False,
        settings: Settings | None = None,
        surroundings: Surroundings | None = None,
        engines: EngineOptions | None = None,
    ) -> Edit:
        """Make a project for a clip (a video, a folder of pictures, or another project's result) and probe it.

        Another project's result is written into the new folder first, every bit and time kept; `refresh` takes it
        anew when that project has changed. Raises UsageError when the folder exists, SourceError for a clip that cannot
        be edited; then no folder is left.
        """
        folder = Path(project)
        check_free(folder)
        made_here = not folder.exists()
        if Project.is_one(Path(clip)):
            first = Project(Path(clip))
            bench = cls.open(clip, surroundings=surroundings, engines=engines).bench
            place = begin_with_result(first, bench, folder, frame_rate, allow_truncated, settings)
        else:
            place = begin(Path(clip), folder, frame_rate, allow_truncated, settings)
        edit = cls._of(place, place.script(), Store(place.cache), surroundings, engines)
        try:
            edit.source()
        except BaseException:
            undo_beginning(place, keep_folder=not made_here)
            raise
        return edit

    @classmethod
    def open(
        cls,
        project: str | Path,
        *,
        surroundings: Surroundings | None = None,
        engines: EngineOptions | None = None,
    ) -> Edit:
        """Open a project. Raises ScriptError when it is none or its script has a mistake."""
        place = Project(Path(project))
        around = surroundings or Surroundings()
        return cls._of(place, place.script(), Store(place.cache, around.cache_bytes), around, engines)

    @classmethod
    def once(
        cls,
        clip: str | Path,
        *,
        frame_rate: Fraction | str | None = None,
        allow_truncated: bool = False,
        surroundings: Surroundings | None = None,
        engines: EngineOptions | None = None,
    ) -> Edit:
        """Edit a clip without a project: nothing but the output is left, save what the user's cache keeps."""
        around = surroundings or Surroundings()
        script = new_script(Path(clip), frame_rate, allow_truncated, None)
        store = Store(shared_cache(), around.cache_bytes)
        return cls._of(None, script, store, around, engines)

    def refresh(self) -> bool:
        """Take the result of the project that this one was made from anew; what was marked and listed here stays.

        Returns whether the clip is another one now; `report` is what making the result ran. Raises UsageError when this
        project's clip is no other one's result, SourceMissing when that project is not there.
        """
        project = self.bench.with_project("refresh")
        first = first_of(project)
        bench = Edit.open(first.folder, surroundings=self.bench.surroundings, engines=self.bench.engine_options).bench
        with project.working(self.bench.surroundings.say, self.bench.surroundings.wait_s):
            other = take_anew(project, first, bench)
        self.bench.report = bench.report
        return other

    # What is known

    @property
    def project(self) -> Project | None:
        return self.bench.project

    @property
    def script(self) -> EditScript:
        """The script as it is now, hand edits included."""
        return self.bench.script

    @property
    def report(self) -> Report:
        """What the last run did. Raises UsageError before the first one."""
        return self.bench.last_report()

    def override(self, **settings: Any) -> None:
        """Use other settings than the script's from now on (fields of Settings); None leaves the script's."""
        self.bench.overrides |= {name: value for name, value in settings.items() if value is not None}
        _ = self.bench.settings  # a wrong one is refused here

    def source(self) -> ClipSource:
        """What the clip is; probed once."""
        with self.bench.context(self.bench.runner(dry=True)) as context:
            return context.source

    def notes(self) -> tuple[str, ...]:
        """What is odd about the clip, and whether the project whose result it is was changed since."""
        found = None if self.project is None else changed_since(self.bench.store, self.project, self.script.source)
        return (*self.source().warnings, *(() if found is None else (found,)))

    def cuts(self) -> tuple[int, ...]:
        """First frames of all shots but the first."""
        with self.bench.context(self.bench.runner(dry=True)) as context:
            return context.cuts

    # Saying where objects are

    def mark(
        self,
        object: str,
        frame: int = 0,
        points: Sequence[tuple[float, float]] = (),
        negative: Sequence[tuple[float, float]] = (),
        box: Sequence[float] | None = None,
        mask: NDArray[Any] | str | Path | None = None,
        absent: bool = False,
        candidate: int = 0,
        *,
        boxes: Sequence[Sequence[float]] = (),
        scribbles: Sequence[Any] = (),
        polish: bool = False,
        negative_scribbles: Sequence[Any] = (),
    ) -> NDArray[np.bool_]:
        """Say where an object is on a frame, in pixels of the upright picture, and return its mask there, bool [H, W].

        boxes: several, each around a part of it. scribbles: lines of points along it, or pictures of lines;
        negative_scribbles: the same beside it. polish: the mask is a rough one, which the segmenter redraws.
        On a frame that is tracked already this is a correction: the clicks mend the mask which the frame has. What was
        said of the object on this frame before is replaced. Raises PromptError, MaskEmpty.
        """
        beside = negative_scribbles
        return self.say(
            object, Saying(frame, points, negative, box, mask, absent, candidate, boxes, scribbles, polish, beside)
        )

    def say(self, name: str, saying: Saying) -> NDArray[np.bool_]:
        """As `mark`, with everything that is said in one value."""
        return say(self.bench, name, saying)

    def candidates(self, name: str, saying: Saying) -> tuple[Candidate, ...]:
        """The masks that clicks could mean, best first, without changing anything."""
        return candidates(self.bench, name, saying)

    def unmark(self, object: str, frame: int) -> None:
        """Take back what was said of an object on a frame. Raises PromptError when nothing was."""
        self.bench.change(lambda script: script.unmarked(object, frame))

    def move(self, object: str, frame: int, to: int, *, copy: bool = False) -> None:
        """Say on another frame what was said of an object here; `copy`: on both. Raises PromptError."""
        frames = self.source().frames
        if not 0 <= to < frames:
            raise PromptError(f"frame {to}: the clip has frames 0 to {frames - 1}")
        self.bench.change(lambda script: script.moved(object, frame, to, copy=copy))

    def rename(self, object: str, to: str) -> None:
        """Call an object something else; its masks and the effects about it stay. Raises PromptError."""
        self.bench.change(lambda script: script.renamed(object, to))

    def forget(self, object: str) -> None:
        """Take an object out of the project; those after it move up by one label. Raises PromptError."""
        self.bench.change(lambda script: script.without(object))

    def undo(self) -> None:
        """Take the last change of the script back. Raises UsageError without one, or without a project."""
        self.bench.step_back()

    def redo(self) -> None:
        """Do again what was taken back last."""
        self.bench.step_forward()

    # Running

    def track(self, objects: Sequence[str] | None = None, frames: FrameSpan | None = None) -> MaskTube:
        """Carry the masks of all objects through the clip.

        objects: only these are in the tube that comes back (all are tracked together, since they compete).
        frames: stop-and-go, only as far as these frames need. Loading is lazy: `masks["ball"][120]` is bool [H, W].
        """
        names, wanted = self.script.names, _names(objects)
        for name in wanted or ():
            self.script.label_of(name)

        def work(context: Context, engines: Engines) -> MaskTube:
            from tam_edit.pipelines.recipes import mask_tube, tubes

            if frames is not None and frames.stop > context.source.frames:
                raise UsageError(f"frames {frames}: the clip has {context.source.frames} frames")
            found = tubes(context, self.bench.effective, engines, frames)
            keep_trust(self.bench, context, found)
            return mask_tube(context, found, names, wanted)

        return self.bench.run("track", work)

    def shadows(self) -> MaskTube:
        """What `remove` takes along as shadows of all objects with shadow "auto": `masks["shadow"][120]`."""

        def work(context: Context, engines: Engines) -> MaskTube:
            from tam_edit.pipelines.matte_shadow import shadow_tube
            from tam_edit.pipelines.recipes import tubes

            labels = tuple(range(1, len(self.script.names) + 1))
            return shadow_tube(context, tubes(context, self.bench.effective, engines), labels)

        return self.bench.run("shadows", work, keep=False)

    def remove(
        self,
        output: str | Path,
        *,
        objects: Sequence[str] | None = None,
        invert: bool = False,
        options: OutputOptions | None = None,
    ) -> Report:
        """Write the clip without the objects (all, or those named; `invert`: without everything else)."""
        effect = Remove(Choice(_names(objects), invert))
        return write_effects(self.bench, "remove", [effect], Path(output), options or OutputOptions())

    def replace(
        self,
        output: str | Path,
        background: str | Path | MovingPicture,
        *,
        objects: Sequence[str] | None = None,
        invert: bool = False,
        look: Look | None = None,
        options: OutputOptions | None = None,
    ) -> Report:
        """Write the clip with another background behind the objects.

        background: what the contract calls BG, or a moviepy clip. look: how it lies there.
        """
        if _is_transparent(background):
            place, choice = Path(output), Choice(_names(objects), invert)
            notes = cut_out_notes(look or Look(), options or OutputOptions())
            return write_export(self.bench, transparent_format(place), place, choice, command="replace", notes=notes)
        effect = Replace(_background(background), Choice(_names(objects), invert), look or Look())
        return write_effects(self.bench, "replace", [effect], Path(output), options or OutputOptions())

    def alter(
        self,
        output: str | Path,
        how: Alteration,
        *,
        objects: Sequence[str] | None = None,
        invert: bool = False,
        options: OutputOptions | None = None,
    ) -> Report:
        """Write the clip with objects recoloured, blurred, pixelated, or a picture in their place."""
        effect = Alter(how, Choice(_names(objects), invert))
        return write_effects(self.bench, "alter", [effect], Path(output), options or OutputOptions())

    def render(
        self,
        output: str | Path,
        effects: Sequence[Effect] | None = None,
        *,
        options: OutputOptions | None = None,
    ) -> Report:
        """Write the clip under several effects, made in order in one pass; those of edit.json when none are given."""
        chosen = script_effects(self.bench) if effects is None else effects
        return write_effects(self.bench, "render", chosen, Path(output), options or OutputOptions())

    def set_effects(self, effects: Sequence[Effect]) -> None:
        """Keep a list of effects in the script, for `render`; files are kept relative to the project's folder.

        Raises PromptError, UsageError for what cannot be.
        """
        settled(effects, self.script.names)
        project = self.project
        if project is not None:
            effects = [with_files(effect, lambda name: project.relative(Path(name))) for effect in effects]
        for effect in effects:
            tree_of_effect(effect)  # a clip from Python cannot be written down
        self.bench.change(lambda script: dataclasses.replace(script, effects=tuple(effects)))

    def plan(
        self,
        command: str,
        output: str | Path = "out.mp4",
        *,
        background: str | Path | MovingPicture | None = None,
        objects: Sequence[str] | None = None,
        invert: bool = False,
        look: Look | None = None,
        how: Alteration | None = None,
        effects: Sequence[Effect] | None = None,
        options: OutputOptions | None = None,
    ) -> Report:
        """What remove, replace, alter, render or track would run, what they would reuse, and why; nothing is run."""
        if command == "track":
            from tam_edit.pipelines.recipes import tubes

            return self.bench.planned("track", lambda context, engines: tubes(context, self.bench.effective, engines))
        choice = Choice(_names(objects), invert)
        chosen: Sequence[Effect]
        if command == "render":
            chosen = script_effects(self.bench) if effects is None else effects
        elif command == "remove":
            chosen = [Remove(choice)]
        elif command == "replace" and background is not None and _is_transparent(background):
            return plan_cut_out(self.bench, choice)
        elif command == "replace":
            chosen = [Replace("#00ff00" if background is None else _background(background), choice, look or Look())]
        elif command == "alter":
            chosen = [Alter(how or Pixelated(), choice)]
        else:
            raise UsageError(f"plan {command!r}: remove, replace, alter, render and track can be planned")
        return plan_effects(self.bench, command, chosen, Path(output), options or OutputOptions())

    def review(self, limit: int | None = None, threshold: float | None = None) -> list[Doubt]:
        """Frames to look at, worst trust first, one for each stretch of trouble. Raises UsageError before tracking."""
        from tam_edit.pipelines.review import doubts

        return doubts(tracked(self.bench), self.script.names, threshold)[:limit]

    def trust(self) -> dict[str, dict[int, Mapping[str, float]]]:
        """How far each object's mask can be believed on each frame: "combined" 0..1, and what it is made of.

        Raises UsageError before tracking.
        """
        return trust_by_object(tracked(self.bench), self.script.names)

    def export(
        self,
        format: str,
        output: str | Path,
        *,
        objects: Sequence[str] | None = None,
    ) -> Report:
        """Write the masks, or what they cut out, in another program's format (see pipelines.export.EXPORTS)."""
        return write_export(self.bench, format, Path(output), Choice(_names(objects)))

    def ingest(self, format: str, path: str | Path) -> Imported:
        """Take masks in another program's format in as keyframes.

        Raises MaskError and its kinds for what does not fit the clip, UsageError for unknown formats.
        """
        return read_masks(self.bench, self.source(), format, Path(path))

    def clip(
        self,
        background: str | Path | MovingPicture | None = None,
        *,
        objects: Sequence[str] | None = None,
        invert: bool = False,
        look: Look | None = None,
        effects: Sequence[Effect] | None = None,
    ) -> Any:
        """The result as a moviepy VideoClip, composited when asked for.

        Objects removed, a background behind them, or several effects.
        """
        choice = Choice(_names(objects), invert)
        if effects is None:
            effects = [
                Remove(choice) if background is None else Replace(_background(background), choice, look or Look())
            ]
        return effects_clip(self.bench, effects)

    def pictures(self) -> Context:
        """The clip's pictures; use as a context manager: `with edit.pictures() as context: context.rgb(7)`."""
        return self.bench.context(self.bench.runner(dry=True))


def _names(objects: Sequence[str] | None) -> tuple[str, ...] | None:
    if objects is None:
        return None
    return (objects,) if isinstance(objects, str) else tuple(objects)  # a single name is no list of letters


def _background(background: str | Path | MovingPicture) -> str | MovingPicture:
    return str(background) if isinstance(background, Path) else background


def _is_transparent(background: str | Path | MovingPicture) -> bool:
    return isinstance(background, str | Path) and str(background) == "transparent"

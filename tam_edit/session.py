"""Edit: the one way in for the command line, the page and Python."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tam_edit.clip import ClipSource, FrameSpan
from tam_edit.digest import digest_of
from tam_edit.engine.report import Report, peak_rss_bytes
from tam_edit.engine.runner import Runner, Silent, Watcher
from tam_edit.engine.store import DEFAULT_LIMIT_BYTES, EntryLost, Store
from tam_edit.errors import Cancelled, MaskEmpty, PromptError, SourceChanged, StoreError, TamEditError, UsageError
from tam_edit.masks import MaskTube
from tam_edit.project import Project
from tam_edit.script import EditScript, Prompt, ScriptSource, Settings, StoredMask, mask_from_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tam_edit.pipelines.context import Context
    from tam_edit.pipelines.engines import EngineOptions, Engines
    from tam_edit.pipelines.keyframes import Candidate
    from tam_edit.pipelines.review import Doubt

T = TypeVar("T")
DEFAULT_MEMORY_BYTES = 8 * 2**30
MOST_RESTARTS = 100


@dataclass(frozen=True)
class OutputOptions:
    """How a result is stored: codec "auto" or a name, crf None for the codec's visually lossless value."""

    lossless: bool = False
    codec: str = "auto"
    crf: int | None = None


@dataclass
class Surroundings:
    """Who watches, who may cancel, and how much room there is; the same for all runs of an Edit."""

    watcher: Watcher = field(default_factory=Silent)
    say: Callable[[str], None] = lambda _: None
    cancelled: Callable[[], bool] = lambda: False
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    cache_bytes: int = DEFAULT_LIMIT_BYTES
    wait_s: float | None = None


class Edit:
    """One clip being edited: prompts in, masks and edited videos out; what is finished is never run again.

    Make one with `Edit.create`, `Edit.open` or `Edit.once`. Every method raises TamEditError (see tam_edit.errors)
    for whatever is worth telling; `report` is what the last run did.
    """

    def __init__(
        self,
        project: Project | None,
        script: EditScript,
        store: Store,
        base: Path,
        surroundings: Surroundings | None = None,
        engines: EngineOptions | None = None,
    ) -> None:
        from tam_edit.pipelines.engines import EngineOptions

        self.project = project
        self.surroundings = surroundings or Surroundings()
        self.engine_options = engines or EngineOptions()
        self.report: Report | None = None
        self._script = script
        self._store = store
        self._base = base
        self._overrides: dict[str, Any] = {}
        self._within = threading.RLock()

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
        """Make a project for a clip (a video or a folder of pictures) and probe it.

        Raises UsageError when the folder exists, SourceError for a clip that cannot be edited; then no folder is left.
        """
        folder = Path(project)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists already and is not overwritten: choose another name, or remove it first")
        script = _new_script(Path(clip), frame_rate, allow_truncated, settings)
        made_here = not folder.exists()
        place = Project.create(
            folder,
            dataclasses.replace(
                script,
                source=dataclasses.replace(script.source, path=os.path.relpath(Path(clip).resolve(), folder.resolve())),
            ),
        )
        edit = cls(place, place.script(), Store(place.cache), folder, surroundings, engines)
        try:
            edit.source()
        except BaseException:
            _remove_new_project(place, keep_folder=not made_here)
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
        return cls(place, place.script(), Store(place.cache, around.cache_bytes), place.folder, around, engines)

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
        script = _new_script(Path(clip), frame_rate, allow_truncated, None)
        store = Store(shared_cache(), around.cache_bytes)
        return cls(None, script, store, Path.cwd(), around, engines)

    # What is known

    @property
    def script(self) -> EditScript:
        """The script as it is now; a project's file is read again, since hand and page may have changed it."""
        if self.project is not None:
            self._script = self.project.script()
        return self._script

    @property
    def settings(self) -> Settings:
        """The script's settings with the overrides of this session."""
        return dataclasses.replace(self.script.settings, **self._overrides)

    @property
    def store(self) -> Store:
        return self._store

    def override(self, **settings: Any) -> None:
        """Use other settings than the script's from now on (fields of Settings); None leaves the script's."""
        self._overrides |= {name: value for name, value in settings.items() if value is not None}
        _ = self.settings  # checks them

    def source(self) -> ClipSource:
        """What the clip is; probed once."""
        with self._context(self._runner(dry=True)) as context:
            return context.source

    def cuts(self) -> tuple[int, ...]:
        """First frames of all shots but the first."""
        with self._context(self._runner(dry=True)) as context:
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
    ) -> NDArray[np.bool_]:
        """Say where an object is on a frame, in pixels of the upright picture, and return its mask there, bool [H, W].

        On a frame that is tracked already this is a correction: the clicks mend the mask which the frame has. What was
        said of the object on this frame before is replaced. Raises PromptError, MaskEmpty.
        """
        return self.marked(object, frame, points, negative, box, mask, absent, candidate)[0]

    def marked(
        self,
        name: str,
        frame: int,
        points: Sequence[tuple[float, float]],
        negative: Sequence[tuple[float, float]],
        box: Sequence[float] | None,
        mask: NDArray[Any] | str | Path | None,
        absent: bool,
        candidate: int,
    ) -> tuple[NDArray[np.bool_], Report]:
        """As `mark`, with the report of the run."""
        prompt = self._prompt(name, frame, points, negative, box, mask, absent, candidate)

        def work(context: Context, engines: Engines) -> NDArray[np.bool_]:
            from tam_edit.pipelines.keyframes import key_mask

            context.runner.stage("segment", 1)
            return key_mask(context, name, frame, prompt, engines.segmenter).load()

        # The script is changed only once the mask is there: clicks that hit nothing leave it as it was.
        found = self._run("mark", work)
        self._change(lambda script: script.marked(name, frame, prompt))
        return found, self._last()

    def candidates(
        self,
        name: str,
        frame: int,
        points: Sequence[tuple[float, float]],
        negative: Sequence[tuple[float, float]] = (),
        box: Sequence[float] | None = None,
    ) -> tuple[Candidate, ...]:
        """The masks that clicks could mean, best first, without changing anything."""
        prompt = self._prompt(name, frame, points, negative, box, None, False, 0)

        def work(context: Context, engines: Engines) -> tuple[Candidate, ...]:
            from tam_edit.pipelines.keyframes import check_prompt, propose

            check_prompt(context, name, frame, prompt)
            return propose(context, frame, prompt, engines.segmenter)

        return self._run("candidates", work, keep=False)

    def unmark(self, object: str, frame: int) -> None:
        """Take back what was said of an object on a frame. Raises PromptError when nothing was."""
        self._change(lambda script: script.unmarked(object, frame))

    def undo(self) -> None:
        """Take the last change of the script back. Raises UsageError without one, or without a project."""
        self._script = self._with_project("undo").undo()

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._script = self._with_project("redo").redo()

    # Running

    def track(self, objects: Sequence[str] | None = None, frames: FrameSpan | None = None) -> MaskTube:
        """Carry the masks of all objects through the clip.

        objects: only these are in the tube that comes back (all are tracked together, since they compete).
        frames: stop-and-go, only as far as these frames need. Loading is lazy: masks["ball"][120] is bool [H, W].
        """
        names = self.script.names
        for name in objects or ():
            self.script.label_of(name)

        def work(context: Context, engines: Engines) -> MaskTube:
            from tam_edit.pipelines.recipes import mask_tube, tubes

            if frames is not None and frames.stop > context.source.frames:
                raise UsageError(f"frames {frames}: the clip has {context.source.frames} frames")
            return mask_tube(context, tubes(context, self._effective(), engines, frames), names, objects)

        return self._run("track", work)

    def remove(
        self,
        output: str | Path,
        *,
        objects: Sequence[str] | None = None,
        invert: bool = False,
        options: OutputOptions | None = None,
    ) -> Report:
        """Write the clip without the objects (all, or those named; `invert`: without everything else)."""
        from tam_edit.pipelines.recipes import Choice

        return self._effect("remove", Path(output), Choice(_names(objects), invert), None, options or OutputOptions())

    def replace(
        self,
        output: str | Path,
        background: str | Path,
        *,
        objects: Sequence[str] | None = None,
        invert: bool = False,
        options: OutputOptions | None = None,
    ) -> Report:
        """Write the clip with another background behind the objects; see the contract for what BG may be."""
        from tam_edit.pipelines.recipes import Choice

        if str(background) == "transparent":
            return self.export(_transparent_format(Path(output)), output, objects=objects)
        choice = Choice(_names(objects), invert)
        return self._effect("replace", Path(output), choice, str(background), options or OutputOptions())

    def plan(
        self,
        command: str,
        output: str | Path = "out.mp4",
        *,
        background: str | Path | None = None,
        objects: Sequence[str] | None = None,
        invert: bool = False,
        options: OutputOptions | None = None,
    ) -> Report:
        """What `remove`, `replace` or `track` would run, what they would reuse, and why; nothing is run."""
        from tam_edit.pipelines.recipes import Choice, tubes

        if command == "track":
            return self._planned("track", lambda context, engines: tubes(context, self._effective(), engines))
        if command not in ("remove", "replace"):
            raise UsageError(f"plan {command!r}: remove, replace and track can be planned")
        choice = Choice(_names(objects), invert)
        behind = str(background) if background is not None else "#00ff00" if command == "replace" else None
        chosen = options or OutputOptions()
        return self._planned(command, self._effect_work(Path(output), choice, behind, chosen))

    def review(self, limit: int | None = None, threshold: float | None = None) -> list[Doubt]:
        """Frames to look at, worst trust first, one for each stretch of trouble. Raises UsageError before tracking."""
        from tam_edit.pipelines.recipes import tubes
        from tam_edit.pipelines.review import doubts

        def work(context: Context, engines: Engines) -> list[Doubt]:
            found = tubes(context, self._effective(), engines)
            if any(digest is None for digest in found.maps.digests.values()):
                raise UsageError("not everything is tracked yet: run 'tam-edit track' first")
            return doubts(found, self.script.names, threshold)[:limit]

        runner = self._runner(dry=True)
        with self._context(runner) as context:
            return work(context, self._engines())

    def export(
        self,
        format: str,
        output: str | Path,
        *,
        objects: Sequence[str] | None = None,
    ) -> Report:
        """Write the masks, or what they cut out, in another program's format (see pipelines.export.EXPORTS)."""
        from tam_edit.pipelines.export import EXPORTS

        if format not in EXPORTS:
            raise UsageError(f"no export format {format!r}: there are {', '.join(EXPORTS)}")

        def work(context: Context, engines: Engines) -> None:
            from tam_edit.pipelines.export import export
            from tam_edit.pipelines.matte import mattes
            from tam_edit.pipelines.recipes import Choice, mask_tube, matte_settings, tubes

            script = self._effective()
            found = tubes(context, script, engines)
            soft = mattes(context, found, matte_settings(context, script, Choice(_names(objects)), grown=False))

            def alpha(frame: int) -> NDArray[np.float32]:
                import numpy as np

                if soft.has_hole(frame):
                    return soft.series.load(frame).full()
                width, height = context.source.size_wh
                return np.zeros((height, width), np.float32)

            tube = mask_tube(context, found, script.names)
            result = export(format, tube, context.rgb, context.source, Path(output), alpha, objects)
            for words in result.warnings:
                context.runner.ledger.warn(words)

        self._run("export", work, outputs=(str(output),))
        return self._last()

    def ingest(self, format: str, path: str | Path) -> dict[str, list[int]]:
        """Take masks in another program's format in as keyframes; return the frames by object.

        Raises MaskError and its kinds for what does not fit the clip, UsageError for unknown formats.
        """
        from tam_edit.pipelines.export import ingest

        source = self.source()
        found = ingest(format, Path(path), source.size_wh, source.frames)
        said: dict[str, list[int]] = {name: [] for name in found.names}

        def change(script: EditScript) -> EditScript:
            for label, name in enumerate(found.names, start=1):
                seen = False
                for frame, label_map in sorted(found.keyframes.items()):
                    mask = label_map == label
                    # Before its first mask an object is not spoken of: it may simply not have been marked yet.
                    if not mask.any() and not seen:
                        continue
                    seen = True
                    prompt = Prompt(mask=StoredMask.of(mask)) if mask.any() else Prompt(absent=True)
                    script = script.marked(name, frame, prompt)
                    said[name].append(frame)
            return script

        self._change(change)
        return said

    def clip(
        self, background: str | Path | None = None, *, objects: Sequence[str] | None = None, invert: bool = False
    ) -> Any:
        """The result as a moviepy VideoClip: objects removed, or a background behind them; composited when asked for."""
        from tam_edit.pipelines.moviepy_clip import moviepy_clip
        from tam_edit.pipelines.recipes import Choice

        opened: list[tuple[Context, Any]] = []

        def work(context: Context, engines: Engines) -> None:
            behind = None if background is None else str(background)
            opened.append(
                (
                    context,
                    self._overlay(context, engines, Choice(_names(objects), invert), behind, contextlib.ExitStack()),
                )
            )

        self._run("clip", work)
        context, overlay = opened[-1]
        return moviepy_clip(context, overlay)

    def pictures(self) -> Context:
        """The clip's pictures; use as a context manager: `with edit.pictures() as context: context.rgb(7)`."""
        return self._context(self._runner(dry=True))

    # How runs are made

    def _effect(
        self, command: str, output: Path, choice: Any, background: str | None, options: OutputOptions
    ) -> Report:
        from tam_edit.media.placing import check_destination
        from tam_edit.pipelines.background import parse_background

        check_destination(output, self._source_path())
        if background is not None:
            parse_background(background)  # refused before any work
        work = self._effect_work(output, choice, background, options, write=True)
        self._run(command, work, outputs=(str(output),))
        return self._last()

    def _effect_work(
        self, output: Path, choice: Any, background: str | None, options: OutputOptions, *, write: bool = False
    ) -> Callable[[Context, Engines], None]:
        def work(context: Context, engines: Engines) -> None:
            from tam_edit.media.settings import choose
            from tam_edit.pipelines.output import make

            settings = choose(context.source, output, lossless=options.lossless, codec=options.codec, crf=options.crf)
            for words in settings.warnings:
                context.runner.ledger.warn(words)
            with contextlib.ExitStack() as stack:
                overlay = self._overlay(context, engines, choice, background, stack)
                make(context, overlay, settings, output, write=write)

        return work

    def _overlay(
        self, context: Context, engines: Engines, choice: Any, background: str | None, stack: contextlib.ExitStack
    ) -> Any:
        """The effect over the clip; other clips that it needs stay open until the stack is closed."""
        from tam_edit.pipelines import recipes
        from tam_edit.pipelines.background import parse_background

        behind_choice = None if background is None else parse_background(background)
        script = self._effective()
        found = recipes.tubes(context, script, engines)
        if behind_choice is None:
            return recipes.removal(context, found, script, engines, choice)
        behind = stack.enter_context(recipes.background(behind_choice, script, engines))
        return recipes.replacement(context, found, script, choice, behind)

    def _run(
        self,
        command: str,
        work: Callable[[Context, Engines], T],
        *,
        outputs: tuple[str, ...] = (),
        keep: bool = True,
    ) -> T:
        """Run work under the project's lock and leave a report, also of a run that failed."""
        with self._within, self._alone():
            began = time.perf_counter()
            runner = self._runner(dry=False)
            names: Mapping[str, str] = {}
            error: TamEditError | None = None
            try:
                engines = self._engines()
                names = engines.names
                for words in engines.warnings:
                    runner.ledger.warn(words)
                return self._with_restarts(lambda: self._through(runner, work, engines))
            except TamEditError as raised:
                error = raised
                raise
            except KeyboardInterrupt as raised:
                error = Cancelled("stopped by a person: what is finished is kept, the next run goes on from there")
                raise error from raised
            finally:
                for words in self._store.warnings:
                    runner.ledger.warn(words)
                self._store.warnings.clear()
                self.report = Report(
                    command=command,
                    exit=0 if error is None else error.exit_status,
                    outputs=outputs if error is None else (),
                    engines=names,
                    stages=tuple(runner.ledger.stages()),
                    seconds=time.perf_counter() - began,
                    peak_rss_bytes=peak_rss_bytes(),
                    warnings=tuple(runner.ledger.warnings),
                    error=None if error is None else str(error),
                )
                if keep and self.project is not None:
                    with contextlib.suppress(TamEditError):  # a full disk must not hide the run's own error
                        self.project.keep_report(command, self.report.to_text())
                if command in ("track", "remove", "replace"):
                    with contextlib.suppress(StoreError, OSError):
                        self._store.prune(keep_since=time.time() - 600.0)

    def _through(self, runner: Runner, work: Callable[[Context, Engines], T], engines: Engines) -> T:
        with self._context(runner) as context:  # a later use opens its reader again
            return work(context, engines)

    def _with_restarts(self, attempt: Callable[[], T]) -> T:
        """Begin again when the cache lost something it had promised; all the rest is reused."""
        for _ in range(MOST_RESTARTS):
            try:
                return attempt()
            except EntryLost:
                continue
        raise StoreError(f"the cache in {self._store.root} loses entries as fast as they are written: check the disk")

    def _planned(self, command: str, work: Callable[[Context, Engines], object]) -> Report:
        began = time.perf_counter()
        runner = self._runner(dry=True)
        engines = self._engines()
        with self._context(runner) as context:
            work(context, engines)
        return Report(
            command=command,
            exit=0,
            engines=engines.names,
            stages=tuple(runner.ledger.stages()),
            seconds=time.perf_counter() - began,
            peak_rss_bytes=peak_rss_bytes(),
            warnings=tuple(runner.ledger.warnings),
            planned=True,
        )

    def _context(self, runner: Runner) -> Context:
        from tam_edit.pipelines.context import Context
        from tam_edit.pipelines.probe import probe

        script = self.script
        path = self._source_path()
        digest = source_digest(self._store, path)
        if digest != script.source.digest:
            raise SourceChanged(
                f"the clip {path} is not the one that the project was made for (its content changed): bring the old "
                "one back, or make a new project with 'tam-edit new'"
            )
        probed = probe(
            runner,
            path,
            digest,
            frame_rate=script.source.frame_rate,
            allow_truncated=script.source.allow_truncated,
        )
        return Context(runner, probed.source, probed.cuts, self.surroundings.memory_bytes)

    def _runner(self, *, dry: bool) -> Runner:
        around = self.surroundings
        return Runner(
            self._store,
            str(self._base.resolve()),
            dry=dry,
            watcher=None if dry else around.watcher,
            cancelled=around.cancelled,
        )

    def _engines(self) -> Engines:
        from tam_edit.pipelines.engines import resolve

        return resolve(self.settings, self.engine_options)

    def _effective(self) -> EditScript:
        return dataclasses.replace(self.script, settings=self.settings)

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        if self.project is None:
            return contextlib.nullcontext()
        return self.project.working(self.surroundings.say, self.surroundings.wait_s)

    def _source_path(self) -> Path:
        script = self.script
        if self.project is not None:
            return self.project.source_path(script)
        return Path(script.source.path)

    def _change(self, change: Callable[[EditScript], EditScript]) -> None:
        self._script = change(self._script) if self.project is None else self.project.change(change)

    def _with_project(self, what: str) -> Project:
        if self.project is None:
            raise UsageError(f"{what} needs a project: make one with 'tam-edit new CLIP EDIT'")
        return self.project

    def _last(self) -> Report:
        if self.report is None:
            raise AssertionError("no run has left a report")
        return self.report

    def _prompt(
        self,
        name: str,
        frame: int,
        points: Sequence[tuple[float, float]],
        negative: Sequence[tuple[float, float]],
        box: Sequence[float] | None,
        mask: NDArray[Any] | str | Path | None,
        absent: bool,
        candidate: int,
    ) -> Prompt:
        """Check what was said and complete it: masks are read, a correction gets the mask that it mends."""
        from tam_edit.script import check_name

        check_name(name)
        if frame < 0:
            raise PromptError(f"frame {frame}: frames count from 0")
        if box is not None and len(box) != 4:
            raise PromptError(f"box {tuple(box)}: write X0,Y0,X1,Y1")
        size_wh = self.source().size_wh
        stored = None
        if mask is not None:
            pixels = _read_mask(Path(mask)) if isinstance(mask, str | Path) else mask
            what = str(mask) if isinstance(mask, str | Path) else "the mask"
            found = mask_from_picture(pixels, size_wh, what)
            if not found.any():
                raise MaskEmpty(f"{what} has no pixel of {name!r}: give one with pixels, or say --absent")
            stored = StoredMask.of(found)
        clicks = bool(points or negative or box is not None)
        return Prompt(
            points=tuple((float(x), float(y)) for x, y in points),
            negative=tuple((float(x), float(y)) for x, y in negative),
            box=None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            mask=stored,
            absent=absent,
            prior=self._prior(name, frame) if clicks else None,
            candidate=candidate,
        )

    def _prior(self, name: str, frame: int) -> StoredMask | None:
        """The mask that the object has on a frame by tracking, when that is known without running anything."""
        script = self.script
        if name not in script.names:
            return None
        former = script.prompt(name, frame)
        if former is not None:
            return former.prior
        from tam_edit.pipelines.recipes import tubes

        with self._context(self._runner(dry=True)) as context:
            found = tubes(context, self._effective(), self._engines())
            if found.maps.digests.get(frame) is None:
                return None
            try:
                mask = found.maps.load(frame) == script.label_of(name)
            except EntryLost:
                return None  # the cache was pruned: the clicks stand alone
        return StoredMask.of(mask) if mask.any() else None


def shared_cache() -> Path:
    """Where edits without a project keep what they made: $TAM_EDIT_CACHE or the user's cache folder."""
    import platformdirs

    named = os.environ.get("TAM_EDIT_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("tam-edit")) / "once"


def source_digest(store: Store, path: Path) -> str:
    """The digest of a source, from the store while its files have the same names, sizes and times of change."""
    from tam_edit.media.digests import digest_source

    if not path.exists():
        return digest_source(path)  # raises with the right words
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stamps = []
    for file in files:
        status = file.stat()
        stamps.append((file.name, status.st_size, status.st_mtime_ns, status.st_ino))
    key = digest_of(("source digest", str(path.resolve()), stamps))
    record = store.record(key)
    if record is None:
        record = store.put(key, facts={"digest": digest_source(path)})
    return str(record.facts["digest"])


def _new_script(
    clip: Path, frame_rate: Fraction | str | None, allow_truncated: bool, settings: Settings | None
) -> EditScript:
    from tam_edit.media.digests import digest_source

    rate = None
    if frame_rate is not None:
        try:
            rate = Fraction(frame_rate)
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(f"frame rate {frame_rate!r}: write frames a second, such as 25 or 30000/1001") from error
        if rate <= 0:
            raise UsageError(f"frame rate {frame_rate}: more than 0 is needed")
    source = ScriptSource(str(clip.resolve()), digest_source(clip), rate, allow_truncated)
    return EditScript(source, settings=settings or Settings())


def _remove_new_project(project: Project, *, keep_folder: bool) -> None:
    import shutil

    if keep_folder:
        project.script_path.unlink(missing_ok=True)
        shutil.rmtree(project.cache, ignore_errors=True)
    else:
        shutil.rmtree(project.folder, ignore_errors=True)


def _read_mask(path: Path) -> NDArray[Any]:
    """A mask picture's pixels; palette pictures by index. Raises PromptError."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.mode in ("RGBA", "LA", "PA"):
                picture = picture.convert("RGBA")
                pixels = np.asarray(picture)
                return np.asarray((pixels[..., :3].any(axis=2)) & (pixels[..., 3] > 0))
            return np.asarray(picture)
    except FileNotFoundError as error:
        raise PromptError(f"mask {path}: no such file") from error
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise PromptError(f"mask {path} cannot be read as a picture ({error}): give a PNG") from error


def _transparent_format(output: Path) -> str:
    """Which export holds a cut-out under this name. Raises UsageError with the names that do."""
    formats = {".webm": "webm-alpha", ".mov": "prores4444", "": "png"}
    if output.suffix.lower() not in formats:
        raise UsageError(f"{output}: transparency needs a name ending in .webm or .mov, or a folder (for PNGs)")
    return formats[output.suffix.lower()]


def _names(objects: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if objects is None else tuple(objects)

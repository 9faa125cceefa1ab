"""Making effects: an edited clip written, planned, or handed out as a moviepy clip."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tam_edit.effects import Effect, EffectMistake, Look, files_of, located, settled
from tam_edit.engine.report import Report
from tam_edit.errors import PromptError, UsageError
from tam_edit.project import Project
from tam_edit.workbench import Workbench

if TYPE_CHECKING:
    from tam_edit.pipelines.context import Context
    from tam_edit.pipelines.encode import Overlay
    from tam_edit.pipelines.engines import Engines


@dataclass(frozen=True)
class OutputOptions:
    """How a result is stored: codec "auto" or a name, crf None for the codec's visually lossless value."""

    lossless: bool = False
    codec: str = "auto"
    crf: int | None = None


def write_effects(
    bench: Workbench, command: str, effects: Sequence[Effect], output: Path, options: OutputOptions
) -> Report:
    """Write the clip under effects, in one pass; returns the run's report."""
    from tam_edit.media.picture_output import picture_folder
    from tam_edit.media.placing import check_destination
    from tam_edit.pipelines.effects import check

    place = picture_folder(output)
    check_destination(place, bench.source_path())
    check(effects)
    check_objects(command, effects, bench.script.names)
    bench.check_overwrites(place, _read_by(effects))
    bench.run(command, _work(bench, effects, output, options, write=True), outputs=(str(output),))
    return bench.last_report()


def _read_by(effects: Sequence[Effect]) -> Iterator[Path]:
    """The files that effects show: what is overwritten while it is read, or after it, cannot be made again."""
    for path in map(Path, (name for effect in effects for name in files_of(effect))):
        if Project.is_one(path):
            other = Project(path)
            yield other.source_path(other.script())
        else:
            yield path


def check_objects(command: str, effects: Sequence[Effect], names: Sequence[str]) -> None:
    """Raise PromptError for objects that effects cannot have; a list of effects is told which of them it is."""
    try:
        settled(effects, names)
    except EffectMistake as error:
        if command == "render":
            raise
        raise PromptError(error.words) from error


def plan_effects(
    bench: Workbench, command: str, effects: Sequence[Effect], output: Path, options: OutputOptions
) -> Report:
    """What `write_effects` would run; nothing is run."""
    from tam_edit.pipelines.effects import check

    check(effects)
    check_objects(command, effects, bench.script.names)
    return bench.planned(command, _work(bench, effects, output, options, write=False))


def effects_clip(bench: Workbench, effects: Sequence[Effect]) -> Any:
    """The clip under effects as a moviepy VideoClip, composited when asked for."""
    from tam_edit.pipelines.effects import Maker, check
    from tam_edit.pipelines.moviepy_clip import moviepy_clip

    check(effects)
    made: list[tuple[Context, Overlay, contextlib.ExitStack]] = []

    def work(context: Context, engines: Engines) -> None:
        opened = contextlib.ExitStack()
        made.append((context, Maker(context, bench.effective, engines, opened).overlay(effects), opened))

    bench.run("clip", work)
    return moviepy_clip(*made[-1])


def script_effects(bench: Workbench) -> tuple[Effect, ...]:
    """The list of edit.json, its files counted from the project's folder. Raises UsageError when there is none."""
    effects = bench.script.effects
    if not effects:
        raise UsageError(
            'no effects are listed: write "effects": [{"do": "remove"}, ...] into edit.json, see docs/edit.md'
        )
    folder = bench.project.folder if bench.project else Path()
    return tuple(located(effect, folder) for effect in effects)


def write_result(bench: Workbench, folder: Path) -> Path:
    """Write a project's result as a video that keeps every bit and time; returns its path, hidden beside `folder`.

    The result is the project's list of effects, or without one its objects removed. FFV1 in Matroska where that can
    tell the clip's times exactly, otherwise a lossless codec in QuickTime if there is one for its pixels. Raises
    UsageError when the project has no result yet.
    """
    from tam_edit.media.settings import choose
    from tam_edit.pipelines.effects import effects_of

    script = bench.script
    effects = effects_of(script, bench.project.folder if bench.project else Path())
    if not effects:
        raise UsageError(f"{bench.source_path()}: nothing is marked in its project: there is no result to go on from")
    with bench.context(bench.runner(dry=True)) as context:
        source = context.source
    whole_ms = all((pts * source.time_base * 1000).denominator == 1 for pts in (*source.pts, source.end_pts))
    folder.parent.mkdir(parents=True, exist_ok=True)
    fits_mov = not choose(source, folder.with_name("source.mov"), lossless=True).warnings
    output = folder.with_name(f".{folder.name}.source{'.mov' if fits_mov and not whole_ms else '.mkv'}")
    write_effects(bench, "render", effects, output, OutputOptions(lossless=True))
    return output


def _work(
    bench: Workbench, effects: Sequence[Effect], output: Path, options: OutputOptions, *, write: bool
) -> Callable[[Context, Engines], None]:
    def work(context: Context, engines: Engines) -> None:
        from tam_edit.media.settings import choose
        from tam_edit.pipelines.effects import Maker
        from tam_edit.pipelines.needs import tell_need
        from tam_edit.pipelines.output import make

        settings = choose(context.source, output, lossless=options.lossless, codec=options.codec, crf=options.crf)
        for words in settings.warnings:
            context.runner.ledger.warn(words)
        tell_need(context, settings)
        with contextlib.ExitStack() as opened:
            overlay = Maker(context, bench.effective, engines, opened).overlay(effects)
            make(context, overlay, settings, output, write=write)

    return work


def transparent_format(output: Path) -> str:
    """Which export holds a cut-out under this name. Raises UsageError with the names that do."""
    formats = {".webm": "webm-alpha", ".mov": "prores4444", "": "png"}
    if output.suffix.lower() not in formats:
        raise UsageError(f"{output}: transparency needs a name ending in .webm or .mov, or a folder (for PNGs)")
    return formats[output.suffix.lower()]


def cut_out_notes(look: Look, options: OutputOptions) -> list[str]:
    """What was asked for and says nothing where a cut-out is written."""
    notes = []
    if look != Look():
        notes.append("a transparent background has no look: what was said of fit, time, colour or grain is not used")
    if options != OutputOptions():
        notes.append("a cut-out is stored as its name's ending says: --lossless, --codec and --crf are not used")
    return notes

"""Making effects: an edited clip written, planned, or handed out as a moviepy clip."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tam_edit.effects import Choice
from tam_edit.engine.report import Report
from tam_edit.errors import UsageError
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


@dataclass(frozen=True)
class Effect:
    """What is done to the clip: objects removed, or with a background everything behind them replaced."""

    choice: Choice = field(default_factory=Choice)
    background: str | None = None


def write_effect(bench: Workbench, command: str, effect: Effect, output: Path, options: OutputOptions) -> Report:
    """Write the clip under an effect; returns the run's report."""
    from tam_edit.media.placing import check_destination
    from tam_edit.pipelines.background import parse_background

    check_destination(output, bench.source_path())
    if effect.background is not None:
        parse_background(effect.background)  # refused before any work
    bench.run(command, _work(bench, effect, output, options, write=True), outputs=(str(output),))
    return bench.last_report()


def plan_effect(bench: Workbench, command: str, effect: Effect, output: Path, options: OutputOptions) -> Report:
    """What `write_effect` would run; nothing is run."""
    return bench.planned(command, _work(bench, effect, output, options, write=False))


def effect_clip(bench: Workbench, effect: Effect) -> Any:
    """The clip under an effect as a moviepy VideoClip, composited when asked for."""
    from tam_edit.pipelines.moviepy_clip import moviepy_clip

    opened: list[tuple[Context, Overlay]] = []

    def work(context: Context, engines: Engines) -> None:
        opened.append((context, overlay(bench, context, engines, effect, contextlib.ExitStack())))

    bench.run("clip", work)
    return moviepy_clip(*opened[-1])


def _work(
    bench: Workbench, effect: Effect, output: Path, options: OutputOptions, *, write: bool
) -> Callable[[Context, Engines], None]:
    def work(context: Context, engines: Engines) -> None:
        from tam_edit.media.settings import choose
        from tam_edit.pipelines.output import make

        settings = choose(context.source, output, lossless=options.lossless, codec=options.codec, crf=options.crf)
        for words in settings.warnings:
            context.runner.ledger.warn(words)
        with contextlib.ExitStack() as stack:
            make(context, overlay(bench, context, engines, effect, stack), settings, output, write=write)

    return work


def overlay(
    bench: Workbench, context: Context, engines: Engines, effect: Effect, stack: contextlib.ExitStack
) -> Overlay:
    """The effect over the clip; other clips that it needs stay open until the stack is closed."""
    from tam_edit.pipelines import recipes
    from tam_edit.pipelines.background import parse_background

    behind_choice = None if effect.background is None else parse_background(effect.background)
    script = bench.effective
    found = recipes.tubes(context, script, engines)
    if behind_choice is None:
        return recipes.removal(context, found, script, engines, effect.choice)
    behind = stack.enter_context(recipes.background(behind_choice, script, engines))
    return recipes.replacement(context, found, script, effect.choice, behind)


def transparent_format(output: Path) -> str:
    """Which export holds a cut-out under this name. Raises UsageError with the names that do."""
    formats = {".webm": "webm-alpha", ".mov": "prores4444", "": "png"}
    if output.suffix.lower() not in formats:
        raise UsageError(f"{output}: transparency needs a name ending in .webm or .mov, or a folder (for PNGs)")
    return formats[output.suffix.lower()]

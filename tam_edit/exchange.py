"""Masks out of a project in other programs' formats, and in again as keyframes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tam_edit.clip import ClipSource
from tam_edit.effects import NONE_NAMED, Choice
from tam_edit.engine.report import Report
from tam_edit.errors import PromptError, UsageError
from tam_edit.script import EditScript, Prompt, StoredMask
from tam_edit.workbench import Workbench

if TYPE_CHECKING:
    from tam_edit.pipelines.context import Context
    from tam_edit.pipelines.engines import Engines
    from tam_edit.pipelines.matte import Mattes
    from tam_edit.pipelines.propagate import Tubes


@dataclass(frozen=True)
class Imported:
    """The frames on which each object is marked now, and what the format could not say exactly."""

    frames: Mapping[str, tuple[int, ...]]
    warnings: tuple[str, ...]


def write_export(
    bench: Workbench,
    format: str,
    output: Path,
    choice: Choice,
    *,
    command: str = "export",
    notes: Sequence[str] = (),
) -> Report:
    """Track what is not tracked yet and write the masks, or what they cut out; returns the run's report.

    choice: invert is for formats that cut out. command, notes: what the report calls it and says besides.
    """
    from tam_edit.pipelines.export import EXPORTS

    if format not in EXPORTS:
        raise UsageError(f"no export format {format!r}: there are {', '.join(EXPORTS)}")

    if choice.objects == ():
        raise PromptError(NONE_NAMED)
    bench.check_overwrites(output)

    def work(context: Context, engines: Engines) -> None:
        from tam_edit.pipelines.export import export
        from tam_edit.pipelines.matte_foreground import Cutouts
        from tam_edit.pipelines.recipes import mask_tube

        for words in notes:
            context.runner.ledger.warn(words)
        found, soft = _kept(bench, context, engines, choice)
        cut = Cutouts(context, soft, elsewhere=1.0 if choice.invert else 0.0)
        tube = mask_tube(context, found, bench.effective.names)
        result = export(format, tube, cut.rgb, context.source, output, cut.alpha, choice.objects)
        for words in result.warnings:
            context.runner.ledger.warn(words)
        written.extend(str(path) for path in result.paths)

    written: list[str] = []
    bench.run(command, work, outputs=written)
    return bench.last_report()


def plan_cut_out(bench: Workbench, choice: Choice) -> Report:
    """What cutting objects out would run, up to the writing; nothing is run."""
    return bench.planned("replace", lambda context, engines: _kept(bench, context, engines, choice))


def _kept(bench: Workbench, context: Context, engines: Engines, choice: Choice) -> tuple[Tubes, Mattes]:
    """The masks, and the soft edge of what is kept."""
    from tam_edit.pipelines.matte import mattes
    from tam_edit.pipelines.recipes import matte_settings, tubes

    found = tubes(context, bench.effective, engines)
    return found, mattes(context, found, matte_settings(context, bench.effective, choice, grown=False))


def read_masks(bench: Workbench, source: ClipSource, format: str, path: Path) -> Imported:
    """Mark objects with the masks of a file or folder, frame by frame."""
    from tam_edit.pipelines.export import ingest

    found = ingest(format, path, source.size_wh, source.frames)
    said: dict[str, list[int]] = {name: [] for name in found.names}

    def change(script: EditScript) -> EditScript:
        for label, name in enumerate(found.names, start=1):
            for frame, label_map in sorted(found.keyframes.items()):
                mask = label_map == label
                # An object that a frame does not show is absent only where a neighbouring frame is given too:
                # sparse masks often show just the object that they add.
                if not mask.any() and not {frame - 1, frame + 1} & found.keyframes.keys():
                    continue
                prompt = Prompt(mask=StoredMask.of(mask)) if mask.any() else Prompt(absent=True)
                script = script.marked(name, frame, prompt)
                said[name].append(frame)
        return script

    bench.change(change)
    return Imported({name: tuple(frames) for name, frames in said.items()}, found.warnings)

"""How a command runs: opening what was named, progress on stderr, the result as words or as one JSON object."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tam_edit.project import Project

if TYPE_CHECKING:
    from tam_edit.engine.report import Report
    from tam_edit.pipelines.engines import EngineOptions
    from tam_edit.saying import Saying
    from tam_edit.session import Edit
    from tam_edit.workbench import Surroundings


def surroundings(as_json: bool, memory_bytes: int | None = None) -> Surroundings:
    """A watcher that shows progress on a terminal, and waiting said on stderr."""
    from tam_edit.cli.progress import Progress
    from tam_edit.workbench import DEFAULT_MEMORY_BYTES, Surroundings

    around = Surroundings(
        say=lambda words: click.echo(words, err=True), memory_bytes=memory_bytes or DEFAULT_MEMORY_BYTES
    )
    if sys.stderr.isatty() and not as_json:
        around.watcher = Progress()
    return around


def engines(options: dict[str, Any]) -> EngineOptions:
    """The engine options of a command line; takes its own out of `options`."""
    from tam_edit.models.weights import parse_named
    from tam_edit.pipelines.engines import EngineOptions

    named = parse_named(options.pop("weights"))
    return EngineOptions(
        device=options.pop("device"),
        precision=options.pop("precision"),
        fast=options.pop("fast"),
        weights=named,
        commercial=options.pop("commercial"),
    )


def open_edit(path: Path, as_json: bool, options: dict[str, Any] | None = None) -> Edit:
    """Open a project; with engine options also settle those and the settings they override."""
    from tam_edit.session import Edit

    given = dict(options or {})
    memory = given.pop("memory", None)
    engine_options = engines(given) if "weights" in given else None
    edit = Edit.open(path, surroundings=surroundings(as_json, memory), engines=engine_options)
    _override(edit, given)
    return edit


def open_clip_or_edit(path: Path, as_json: bool, options: dict[str, Any]) -> Edit:
    """A project, or a clip that is edited once without one."""
    from tam_edit.session import Edit

    if Project.is_one(path):
        return open_edit(
            path,
            as_json,
            {name: value for name, value in options.items() if name not in ("frame_rate", "allow_truncated")},
        )
    given = dict(options)
    memory = given.pop("memory", None)
    edit = Edit.once(
        path,
        frame_rate=given.pop("frame_rate", None),
        allow_truncated=given.pop("allow_truncated", False),
        surroundings=surroundings(as_json, memory),
        engines=engines(given),
    )
    _override(edit, given)
    return edit


EDGE = ("dilate_px", "erode_px", "feather_px", "matte", "smooth", "mend", "shadow")


def _override(edit: Edit, given: dict[str, Any]) -> None:
    names = ("segmenter", "tracker", "inpainter", "refine", *EDGE)
    edit.override(**{name: given[name] for name in names if name in given})


def listed(text: str | None) -> list[str] | None:
    """Names with commas between."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def tell(report: Report, as_json: bool, **facts: Any) -> None:
    """Print a run's report: one JSON object, or a table with what ran and what was reused."""
    if as_json:
        from tam_edit.engine.report import json_text

        click.echo(json_text({**report.to_json(), **facts}))
        return
    from tam_edit.cli.tables import print_report

    print_report(report)


def tell_json(facts: dict[str, Any]) -> None:
    from tam_edit.engine.report import json_text

    click.echo(json_text(facts))


def saying(options: dict[str, Any]) -> Saying:
    """What the prompt options say; takes its own out of `options`."""
    from tam_edit.saying import Saying

    return Saying(
        frame=options.pop("frame"),
        points=options.pop("points"),
        negative=options.pop("negative"),
        boxes=options.pop("boxes"),
        scribbles=options.pop("scribbles"),
        negative_scribbles=options.pop("negative_scribbles"),
        mask=options.pop("mask"),
        polish=options.pop("polish"),
        absent=options.pop("absent"),
        candidate=options.pop("candidate"),
    )

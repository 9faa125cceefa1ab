"""A job: one clip or project, one effect, one output; and the table of the effects that a batch knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tam_edit.effects import Alteration, Look
    from tam_edit.engine.report import Report
    from tam_edit.pipelines.engines import EngineOptions
    from tam_edit.session import Edit

Overwrite = Literal["always", "ours", "never"]
OVERWRITES: tuple[Overwrite, ...] = ("always", "ours", "never")


@dataclass(frozen=True)
class SaidInJob:
    """One prompt of the jobs file: where an object of a clip is; mask is a picture's path."""

    object: str = "object"
    frame: int = 0
    points: tuple[tuple[float, float], ...] = ()
    negative: tuple[tuple[float, float], ...] = ()
    box: tuple[float, ...] | None = None
    mask: str | None = None
    absent: bool = False
    candidate: int = 0
    boxes: tuple[tuple[float, ...], ...] = ()
    scribbles: tuple[tuple[tuple[float, float], ...], ...] = ()
    polish: bool = False
    negative_scribbles: tuple[tuple[tuple[float, float], ...], ...] = ()


@dataclass(frozen=True)
class Job:
    """One result to be made; all paths are absolute.

    number counts from 1, line is that of the jobs file. clip None: `project` is a person's own; else the project is
    kept there for the clip and gets its prompts from the jobs file (or from another project's script).
    """

    number: int
    name: str
    line: int
    effect: str
    output: str
    project: str
    clip: str | None = None
    prompts: tuple[SaidInJob, ...] = ()
    script: str | None = None
    frame_rate: str | None = None
    allow_truncated: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    overwrite: Overwrite = "always"
    time_limit_s: float | None = None

    def engine_options(self) -> EngineOptions:
        from tam_edit.pipelines.engines import EngineOptions

        given = dict(self.engine)
        given["weights"] = {name: Path(path) for name, path in given.get("weights", {}).items()}
        return EngineOptions(**given)


@dataclass(frozen=True)
class EffectKind:
    """What a batch knows of an effect: its own keys of the jobs file, and how it is made and planned.

    needed: keys that must be there; one_of: exactly one of these must.
    """

    keys: frozenset[str]
    make: Callable[[Edit, Job], Report]
    plan: Callable[[Edit, Job], Report]
    needed: frozenset[str] = frozenset()
    one_of: frozenset[str] = frozenset()


def _remove(edit: Edit, job: Job) -> Report:
    return edit.remove(job.output, **_chosen(job), options=_stored(job))


def _plan_remove(edit: Edit, job: Job) -> Report:
    return edit.plan("remove", job.output, **_chosen(job), options=_stored(job))


def _replace(edit: Edit, job: Job) -> Report:
    return edit.replace(job.output, job.options["background"], **_chosen(job), look=look_of(job), options=_stored(job))


def _plan_replace(edit: Edit, job: Job) -> Report:
    background = job.options["background"]
    if background == "transparent":
        return edit.plan("track")
    return edit.plan(
        "replace", job.output, background=background, **_chosen(job), look=look_of(job), options=_stored(job)
    )


def _alter(edit: Edit, job: Job) -> Report:
    return edit.alter(job.output, alteration_of(job), **_chosen(job), options=_stored(job))


def _plan_alter(edit: Edit, job: Job) -> Report:
    return edit.plan("alter", job.output, how=alteration_of(job), **_chosen(job), options=_stored(job))


def _render(edit: Edit, job: Job) -> Report:
    return edit.render(job.output, options=_stored(job))


def _plan_render(edit: Edit, job: Job) -> Report:
    return edit.plan("render", job.output, options=_stored(job))


def _export(edit: Edit, job: Job) -> Report:
    return edit.export(job.options["format"], job.output, objects=job.options.get("objects"))


def _plan_export(edit: Edit, job: Job) -> Report:  # noqa: ARG001 - every format begins with the masks
    return edit.plan("track")


def look_of(job: Job) -> Look:
    """How a job's background lies. Raises UsageError for what cannot be."""
    from tam_edit.effects import Look, exact

    given = {name: job.options[name] for name in _LOOK - {"trim", "offset", "speed"} if name in job.options}
    if "offset" in job.options:
        x, y = job.options["offset"]
        given["offset_px"] = (x, y)
    if "speed" in job.options:
        given["speed"] = exact(job.options["speed"])
    start, _, stop = str(job.options.get("trim", ":")).partition(":")
    return Look(**given, start_s=exact(start or "0"), stop_s=exact(stop) if stop else None)


def alteration_of(job: Job) -> Alteration:
    """How a job's objects are altered. Raises UsageError for what cannot be."""
    from tam_edit.effects import Blurred, Pictured, Pixelated, Recolour

    [name] = _ALTERATIONS & job.options.keys()
    value = job.options[name]
    if name == "recolour":
        return Recolour(value)
    if name == "blur":
        return Blurred(None if value == "auto" else value)
    return Pixelated(value) if name == "pixelate" else Pictured(value)


def _chosen(job: Job) -> dict[str, Any]:
    return {"objects": job.options.get("objects"), "invert": job.options.get("invert", False)}


def _stored(job: Job) -> Any:
    from tam_edit import OutputOptions

    given = {name: job.options[name] for name in ("lossless", "codec", "crf") if name in job.options}
    return OutputOptions(**given)


_CHOICE = frozenset({"objects", "invert"})
_STORED = frozenset({"lossless", "codec", "crf"})
_LOOK = frozenset(
    {"fit", "scale", "offset", "trim", "speed", "at_end", "match_colour", "grain", "follow"},
)
_ALTERATIONS = frozenset({"recolour", "blur", "pixelate", "picture"})

EFFECTS: Mapping[str, EffectKind] = {
    "remove": EffectKind(_CHOICE | _STORED, _remove, _plan_remove),
    "replace": EffectKind(
        _CHOICE | _STORED | _LOOK | {"background"}, _replace, _plan_replace, needed=frozenset({"background"})
    ),
    "alter": EffectKind(_CHOICE | _STORED | _ALTERATIONS, _alter, _plan_alter, one_of=_ALTERATIONS),
    "render": EffectKind(_STORED, _render, _plan_render),
    "export": EffectKind(frozenset({"objects", "format"}), _export, _plan_export, frozenset({"format"})),
}
"""Every effect by the name it has in a jobs file. A new one needs an entry here, and its keys in reading.KEYS."""

"""A job: one clip or project, one effect, one output; and the table of the effects that a batch knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
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

    def engine_options(self) -> EngineOptions:
        from tam_edit.pipelines.engines import EngineOptions

        given = dict(self.engine)
        given["weights"] = {name: Path(path) for name, path in given.get("weights", {}).items()}
        return EngineOptions(**given)


@dataclass(frozen=True)
class EffectKind:
    """What a batch knows of an effect: its own keys of the jobs file, and how it is made and planned."""

    keys: frozenset[str]
    make: Callable[[Edit, Job], Report]
    plan: Callable[[Edit, Job], Report]
    needed: frozenset[str] = frozenset()


def _remove(edit: Edit, job: Job) -> Report:
    return edit.remove(job.output, **_chosen(job), options=_stored(job))


def _plan_remove(edit: Edit, job: Job) -> Report:
    return edit.plan("remove", job.output, **_chosen(job), options=_stored(job))


def _replace(edit: Edit, job: Job) -> Report:
    return edit.replace(job.output, job.options["background"], **_chosen(job), options=_stored(job))


def _plan_replace(edit: Edit, job: Job) -> Report:
    background = job.options["background"]
    if background == "transparent":
        return edit.plan("track")
    return edit.plan("replace", job.output, background=background, **_chosen(job), options=_stored(job))


def _export(edit: Edit, job: Job) -> Report:
    return edit.export(job.options["format"], job.output, objects=job.options.get("objects"))


def _plan_export(edit: Edit, job: Job) -> Report:  # noqa: ARG001 - every format begins with the masks
    return edit.plan("track")


def _chosen(job: Job) -> dict[str, Any]:
    return {"objects": job.options.get("objects"), "invert": job.options.get("invert", False)}


def _stored(job: Job) -> Any:
    from tam_edit import OutputOptions

    given = {name: job.options[name] for name in ("lossless", "codec", "crf") if name in job.options}
    return OutputOptions(**given)


_CHOICE = frozenset({"objects", "invert"})
_STORED = frozenset({"lossless", "codec", "crf"})

EFFECTS: Mapping[str, EffectKind] = {
    "remove": EffectKind(_CHOICE | _STORED, _remove, _plan_remove),
    "replace": EffectKind(_CHOICE | _STORED | {"background"}, _replace, _plan_replace, frozenset({"background"})),
    "export": EffectKind(frozenset({"objects", "format"}), _export, _plan_export, frozenset({"format"})),
}
"""Every effect by the name it has in a jobs file. A new one needs an entry here, and its keys in reading.KEYS."""

"""A run as the page asks for it: read from its request, checked as edit.json and the command line are, and done."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tam_edit.clip import FrameSpan
from tam_edit.effects import Alter, Effect, Pictured, Remove, Replace
from tam_edit.effects_text import EffectsReader
from tam_edit.engine.report import Report
from tam_edit.errors import UsageError
from tam_edit.making import OutputOptions
from tam_edit.pipelines.effects import check
from tam_edit.session import Edit
from tam_edit.web.asked import number, text
from tam_edit.web.results import CONTAINERS, PICTURES, Results

TITLES = {
    "track": "Track",
    "refine": "Refine",
    "remove": "Remove",
    "replace": "Replace",
    "alter": "Alter",
    "render": "Render",
    "export": "Export",
}
KINDS = tuple(TITLES)
STEMS = {"remove": "removed", "replace": "replaced", "alter": "altered", "render": "rendered"}
"""What results are called."""

EXPORT_SUFFIXES = {"cvat": ".xml", "matte": ".mp4", "prores4444": ".mov", "webm-alpha": ".webm"}
"""Exports that are one file; all others are folders."""

FILES_IN_FOLDERS = {"coco": "masks.json", "otio": "timeline.otio"}
"""Exports that write more beside the file that is named: they get a folder of their own."""

SENT, BESIDE = "file:", "project:"
"""What a request says before the name of a file that was sent, or of a project beside this one."""

_NO_FILE = re.compile(r"#[0-9a-fA-F]{6}|blur(:[0-9.]{1,12})?|transparent")
"""Backgrounds that are no files, strictly: anything else must have been sent."""

_OUTPUT = {"lossless", "codec", "crf", "container"}
_KEYS = {
    "track": {"frames"},
    "refine": set[str](),
    "remove": {"objects", "invert", *_OUTPUT},
    "replace": {"objects", "invert", "background", "look", *_OUTPUT},
    "alter": {"objects", "invert", "how", *_OUTPUT},
    "render": _OUTPUT,
    "export": {"objects", "format"},
}


@dataclass(frozen=True)
class Work:
    """A run; the fields are the options of the command line.

    effect: what remove, replace and alter do, with the files of it found. frames: "A:B", as far as to track.
    """

    kind: str
    effect: Effect | None = None
    objects: tuple[str, ...] | None = None
    frames: str | None = None
    lossless: bool = False
    codec: str = "auto"
    crf: int | None = None
    container: str = ".mp4"
    format: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"{self.kind!r}: {', '.join(KINDS)} can be run")
        if self.container not in CONTAINERS:
            raise UsageError(f"{self.container!r}: results can be {', '.join(CONTAINERS)}")
        if self.effect is not None:
            check([self.effect])

    @property
    def title(self) -> str:
        return f"{TITLES[self.kind]} {self.format}".strip()

    @property
    def options(self) -> OutputOptions:
        return OutputOptions(self.lossless, self.codec, self.crf)

    @property
    def suffix(self) -> str:
        if isinstance(self.effect, Replace) and self.effect.background == "transparent":
            return {".mov": ".mov", PICTURES: ""}.get(self.container, ".webm")
        if self.container == PICTURES:
            return ""
        # FFV1 goes into Matroska only.
        return ".mkv" if self.lossless else self.container

    def output(self, results: Results) -> Path | None:
        """Where the result goes; None where nothing but masks is made. Raises UsageError for unknown formats."""
        if self.kind == "export":
            return results.next_path("export", _export_suffix(self.format), self.format)
        return results.next_path(STEMS[self.kind], self.suffix) if self.kind in STEMS else None

    def plan(self, edit: Edit) -> Report:
        """What `run` would run; exports are planned up to their masks."""
        effect = self.effect
        if self.kind == "refine":
            edit.override(refine="always")
        if self.kind in ("track", "refine", "export"):
            return edit.plan("track")
        if isinstance(effect, Replace) and effect.background == "transparent":
            return edit.plan("track")
        output, options = f"out{self.suffix}", self.options
        if effect is None:
            return edit.plan("render", output, options=options)
        return edit.plan("render", output, effects=[effect], options=options)

    def run(self, edit: Edit, path: Path | None) -> None:
        """Do it; path: what `output` said."""
        effect = self.effect
        if self.kind == "refine":
            # Kept in the script: what is made later is made from the refined masks.
            edit.bench.change(
                lambda script: dataclasses.replace(
                    script, settings=dataclasses.replace(script.settings, refine="always")
                )
            )
        if path is None:
            edit.track(frames=None if self.frames is None else FrameSpan.parse(self.frames, edit.source().frames))
        elif self.kind == "export":
            if self.format in FILES_IN_FOLDERS:
                path.mkdir(parents=True)
                path = path / FILES_IN_FOLDERS[self.format]
            edit.export(self.format, path, objects=self.objects)
        elif effect is None:
            edit.render(path, options=self.options)
        elif isinstance(effect, Remove):
            edit.remove(path, objects=effect.choice.objects, invert=effect.choice.invert, options=self.options)
        elif isinstance(effect, Replace):
            edit.replace(
                path,
                effect.background,
                objects=effect.choice.objects,
                invert=effect.choice.invert,
                look=effect.look,
                options=self.options,
            )
        else:
            edit.alter(
                path, effect.how, objects=effect.choice.objects, invert=effect.choice.invert, options=self.options
            )


def work_of(given: dict[str, Any], find: Callable[[str], str]) -> Work:
    """The run that a request asks for; find: from a file's name to its path. Raises UsageError, ScriptError."""
    kind = text(given.get("kind"), "kind")
    if kind not in KINDS:
        raise UsageError(f"{kind!r}: {', '.join(KINDS)} can be run")
    known = _KEYS[kind]
    if unknown := given.keys() - known - {"kind"}:
        raise UsageError(f"{kind}: {', '.join(sorted(unknown))} cannot be said; there are {', '.join(sorted(known))}")
    doing = kind in ("remove", "replace", "alter")
    reader = EffectsReader("the request")
    return Work(
        kind=kind,
        effect=effect_of(given, find) if doing else None,
        objects=reader.choice(given, kind).objects if kind == "export" else None,
        frames=None if given.get("frames") is None else text(given["frames"], "frames"),
        lossless=reader.flag(given.get("lossless", False), "lossless"),
        codec=text(given.get("codec", "auto"), "codec"),
        crf=None if given.get("crf") is None else number(given["crf"], "crf"),
        container=text(given.get("container", ".mp4"), "container"),
        format=text(given["format"], "format") if "format" in given else "",
    )


def effect_of(given: dict[str, Any], find: Callable[[str], str]) -> Effect:
    """The effect that a request describes as edit.json would, save that its files are looked up in what is there.

    given: kind, objects, invert; background and look of replace; how of alter. Raises UsageError, ScriptError.
    """
    reader = EffectsReader("the request")
    tree: dict[str, Any] = {
        "do": given["kind"],
        **{name: given[name] for name in ("objects", "invert") if name in given},
    }
    if given["kind"] == "replace":
        if given.get("background") is None:
            raise UsageError("replace needs a background: choose a colour, blur, or send a picture or video")
        tree |= {"background": given["background"], **_mapping(given.get("look"), "look")}
    elif given["kind"] == "alter":
        tree |= _mapping(given.get("how"), "how")
    if tree.get("objects", 0) is None:
        del tree["objects"]
    effect = reader.effect(tree, given["kind"])
    if isinstance(effect, Replace) and isinstance(effect.background, str) and not _NO_FILE.fullmatch(effect.background):
        return dataclasses.replace(effect, background=_found(effect.background, find, SENT, BESIDE))
    if isinstance(effect, Alter) and isinstance(effect.how, Pictured):
        return dataclasses.replace(effect, how=Pictured(_found(effect.how.path, find, SENT)))
    return effect


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or value.keys() & {"do", "objects", "invert", "background"}:
        raise UsageError(f"{what}: options by their names are needed")
    return value


def _found(given: str, find: Callable[[str], str], *kinds: str) -> str:
    """A file or project by its name in the list of those that are there: no path of a request is opened."""
    if not given.startswith(kinds):
        raise UsageError(f"{given[:80]!r}: #RRGGBB, blur[:SIGMA], transparent, or a file sent before")
    return find(given)


def _export_suffix(format: str) -> str:
    from tam_edit.pipelines.export import EXPORTS

    if format not in EXPORTS:
        raise UsageError(f"no export format {format!r}: there are {', '.join(EXPORTS)}")
    return EXPORT_SUFFIXES.get(format, "")

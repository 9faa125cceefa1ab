"""Reading a jobs file: TOML to jobs, every mistake told with the file, the line and the key.

docs/jobs.schema.json describes the same for other programs, docs/batch.md for people.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tam_edit.batch import keys
from tam_edit.batch.jobs import EFFECTS, Job, SaidInJob, look_of
from tam_edit.batch.keys import BASE, COMMON, KEYS, PROMPT_KEYS, Wrong
from tam_edit.batch.lines import LineIndex, Place
from tam_edit.digest import digest_of
from tam_edit.effects import names_a_file
from tam_edit.errors import ScriptError, UsageError
from tam_edit.project import Project

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
# What clicks say of an object, and what they say is beside it.
ON_IT, BESIDE_IT = ("points", "box", "boxes", "scribbles"), ("negative", "negative_scribbles")
MOST_BYTES = 16 * 2**20
KEPT_AT = ".tam-edit/{name}-{id}.edit"
"""Where the project of a clip lies unless `keep` says it, beside the jobs file."""


@dataclass(frozen=True)
class JobsFile:
    """All jobs of a file, in its order, with what is worth telling."""

    path: Path
    jobs: tuple[Job, ...]
    warnings: tuple[str, ...] = ()


def read_jobs(path: Path) -> JobsFile:
    """Read and check a jobs file and expand its patterns. Raises ScriptError naming line and key of a mistake."""
    try:
        if path.exists() and not path.is_file():
            raise ScriptError(f"{path}: cannot be read: it is no file: name the jobs file")
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise ScriptError(f"{path}: larger than {MOST_BYTES >> 20} MiB: this is no jobs file")
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ScriptError(f"{path}: byte {error.start} is not UTF-8: save it as UTF-8") from error
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise ScriptError(f"{path} cannot be read: {said}") from error
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScriptError(f"{path}: {error}: mend it there (docs/batch.md shows a whole file)") from error
    except RecursionError as error:
        raise ScriptError(f"{path}: nested too deeply for a jobs file") from error
    except ValueError as error:  # Python's limit for the digits of a whole number
        raise ScriptError(f"{path}: {error}") from error
    try:
        return _Reader(path, LineIndex(text)).file(tree)
    except OSError as error:
        raise ScriptError(f"{path}: {error.filename} cannot be looked at: {error.strerror}") from error


class _Reader:
    def __init__(self, path: Path, lines: LineIndex) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.lines = lines
        self.jobs: list[Job] = []
        self.warnings: list[str] = []
        self._places: dict[int, Place] = {}
        self._by_pattern: set[int] = set()
        self._left_out: frozenset[str] = frozenset()

    def file(self, tree: Mapping[str, Any]) -> JobsFile:
        self.known(tree, (), {"defaults", "jobs", "version"})
        if tree.get("version", 1) != 1 or isinstance(tree.get("version", 1), bool):
            self.fail(("version",), f"{_shown(tree['version'])} is unknown here (newest: 1): use a newer tam-edit")
        defaults = self.table(tree.get("defaults", {}), ("defaults",))
        self.known(defaults, ("defaults",), set(KEYS))
        given = self.checked(defaults, ("defaults",))
        entries = tree.get("jobs")
        if not isinstance(entries, list) or not entries:
            self.fail(("jobs",), "no job: begin each with a line [[jobs]]")
        self.entries(entries, given)
        if made_here := self.sources_made_here():
            # A pattern such as *.mp4 also finds what the last run wrote beside the clips.
            self._left_out = made_here
            self.jobs, self._places, self._by_pattern = [], {}, set()
            self.warnings = [f"{len(made_here)} matches of patterns are outputs of this file's jobs: left out"]
            self.entries(entries, given)
        if not self.jobs:
            self.fail(("jobs",), "; ".join(self.warnings) or "no job")
        self._check_together()
        return JobsFile(self.path, tuple(self.jobs), tuple(self.warnings))

    def entries(self, entries: list[Any], defaults: Mapping[str, Any]) -> None:
        for index, entry in enumerate(entries):
            self.entry(self.table(entry, ("jobs", index)), ("jobs", index), defaults)

    def sources_made_here(self) -> frozenset[str]:
        """Clips that a pattern found and that a job of this file writes."""
        outputs = {os.path.realpath(job.output) for job in self.jobs}
        found = (job.clip for job in self.jobs if job.clip is not None and job.number in self._by_pattern)
        return frozenset(clip for clip in found if os.path.realpath(clip) in outputs)

    # One entry, which may stand for many jobs

    def entry(self, entry: Mapping[str, Any], at: Place, defaults: Mapping[str, Any]) -> None:
        self.known(entry, at, set(KEYS))
        own = self.checked(entry, at)
        # A job's own source takes the place of whichever kind the defaults name.
        if {"clip", "project"} & own.keys():
            defaults = {name: value for name, value in defaults.items() if name not in ("clip", "project")}
        if {"prompts", "script"} & own.keys():
            defaults = {name: value for name, value in defaults.items() if name not in ("prompts", "script")}
        given = {**defaults, **own}
        effect = given.get("effect")
        if effect is None:
            self.fail((*at, "effect"), f"is missing: {', '.join(EFFECTS)}")
        kind = EFFECTS[effect]
        for name in own.keys() - COMMON - kind.keys:
            others = [other for other, kind in EFFECTS.items() if name in kind.keys]
            self.fail((*at, name), f"is for {' and '.join(others)}, this job's effect is {effect!r}")
        for name in sorted({"output", *kind.needed}):
            if name not in given:
                self.fail((*at, name), f"is missing (effect {effect!r} needs it)")
        if kind.one_of and len(kind.one_of & given.keys()) != 1:
            self.fail(at, f"effect {effect!r} needs one of {', '.join(sorted(kind.one_of))}")
        by_clip = "clip" in given
        if by_clip == ("project" in given):
            self.fail(at, "name a clip or a project" if not by_clip else "name a clip or a project, not both")
        if by_clip and ("prompts" in given) == ("script" in given):
            self.fail((*at, "prompts"), "say where the objects of a clip are, with prompts or with script")
        if not by_clip and {"prompts", "script"} & own.keys():
            self.fail((*at, "prompts"), "a project has a script of its own: mark its objects with 'tam-edit mark'")
        source_key = "clip" if by_clip else "project"
        for found, by_pattern in self.matches(given[source_key], (*at, source_key), projects=not by_clip):
            if by_pattern and str(found) in self._left_out:
                continue
            self.jobs.append(self.job(found, at, given, by_clip=by_clip))
            if by_pattern:
                self._by_pattern.add(len(self.jobs))
            try:
                look_of(self.jobs[-1])
            except UsageError as error:
                self.fail(at, str(error))
            self._places[len(self.jobs)] = at

    def job(self, source: Path, at: Place, given: Mapping[str, Any], *, by_clip: bool) -> Job:
        effect: str = given["effect"]
        kind = EFFECTS[effect]
        words = {
            "name": source.stem if by_clip or source.suffix in (".edit", ".tam") else source.name,
            "parent": source.parent.name,
            "effect": effect,
            "number": str(len(self.jobs) + 1),
            "id": digest_of(os.fspath(source))[:6],
        }
        kept = given.get("keep", KEPT_AT)
        return Job(
            number=len(self.jobs) + 1,
            name=words["name"],
            line=self.lines.line(at),
            effect=effect,
            output=str(self.place(self.filled(given["output"], words, (*at, "output")))),
            project=str(self.place(self.filled(kept, words, (*at, "keep")))) if by_clip else str(source),
            clip=str(source) if by_clip else None,
            prompts=tuple(self.said(item) for item in given.get("prompts", ())) if by_clip else (),
            script=str(self.place(given["script"])) if by_clip and "script" in given else None,
            frame_rate=given.get("fps"),
            allow_truncated=given.get("allow_truncated", False),
            options={name: self.option(name, given[name]) for name in sorted(kind.keys & given.keys())},
            settings={to: given[name] for name, to in keys.SETTINGS.items() if name in given},
            engine={name: self.option(name, given[name]) for name in keys.ENGINE if name in given},
            overwrite=given.get("overwrite", "always"),
            time_limit_s=given.get("time_limit"),
        )

    def said(self, given: Mapping[str, Any]) -> SaidInJob:
        found = dict(given)
        if "mask" in found:
            found["mask"] = str(self.place(found["mask"]))
        return SaidInJob(**found)

    def option(self, name: str, value: Any) -> Any:
        """An option's value with its paths counted from the jobs file's folder."""
        if name == "weights":
            return {key: str(self.place(path)) for key, path in value.items()}
        if name == "picture" or (name == "background" and names_a_file(value)):
            return str(self.place(value))
        return value

    def matches(self, patterns: tuple[str, ...], at: Place, *, projects: bool) -> list[tuple[Path, bool]]:
        """What the names and patterns stand for, in order, nothing twice; and whether a pattern found it."""
        found: dict[Path, bool] = {}
        for index, pattern in enumerate(patterns):
            whole = self.place(pattern)
            if not glob.has_magic(pattern) or os.path.lexists(whole):  # a name with brackets in it is a name first
                found[whole] = False
                continue
            here = [Path(name) for name in sorted(glob.glob(str(whole), recursive=True))]
            if projects:
                here = [path for path in here if Project.is_one(path)]
            if not here:
                place = (*at, index) if (*at, index) in self.lines.lines else at
                kind = "project" if projects else "clip"
                self.warnings.append(self.words(place, f"no {kind} matches {_shown(pattern)}"))
            found |= {path: True for path in here if path not in found}
        return list(found.items())

    def filled(self, pattern: str, words: Mapping[str, str], at: Place) -> str:
        def put(found: re.Match[str]) -> str:
            if found[0] in ("{{", "}}"):
                return found[0][0]
            if found[1] not in words:
                known = ", ".join(f"{{{name}}}" for name in words)
                self.fail(at, f"{_shown(pattern)}: only {known} can be put in; write {{{{ for a bracket")
            return words[found[1]]

        return _FIELD.sub(put, pattern)

    def place(self, path: str) -> Path:
        # normpath, not resolve: a link stays what a person called it. A home that nobody has is a name like others.
        return Path(os.path.normpath(self.folder / os.path.expanduser(path)))

    # All jobs together

    def _check_together(self) -> None:
        outputs: dict[str, Job] = {}
        kept: dict[str, Job] = {}
        sources = {os.path.realpath(job.clip): job for job in self.jobs if job.clip is not None}
        for job in self.jobs:
            at = (*self._places[job.number], "output")
            real = os.path.realpath(job.output)
            if real in outputs:
                other = outputs[real]
                self.fail(
                    at,
                    f"{job.output} is the output of two jobs ({other.name!r} of line {other.line} and {job.name!r}): "
                    "put {name}, {parent}, {effect} or {number} into the pattern",
                )
            if real in sources:
                self.fail(at, f"{job.output} is the clip of the job {sources[real].name!r}: write somewhere else")
            outputs[real] = job
            former = kept.setdefault(job.project, job)
            if (former.prompts, former.script, former.clip) != (job.prompts, job.script, job.clip):
                self.fail(
                    self._places[job.number],
                    f"{job.project} would be kept for two different jobs (the other in line {former.line}): "
                    "give each a project of its own with keep",
                )

    # Values

    def checked(self, given: Mapping[str, Any], at: Place) -> dict[str, Any]:
        found = {}
        for name, value in given.items():
            if name == "prompts":
                found[name] = self.prompts(value, (*at, name))
                continue
            try:
                found[name] = KEYS[name](value)
            except Wrong as wrong:
                self.fail((*at, name), f"{_shown(value)}: {wrong}")
        return found

    def prompts(self, value: Any, at: Place) -> tuple[dict[str, Any], ...]:
        if not isinstance(value, list) or not value:
            self.fail(at, f"{_shown(value)}: a list of tables is needed, such as [{{ points = [[320, 200]] }}]")
        found = []
        seen: set[tuple[str, int]] = set()
        for index, item in enumerate(value):
            place = (*at, index)
            self.known(self.table(item, place), place, set(PROMPT_KEYS))
            given = {}
            for name, content in item.items():
                try:
                    given[name] = PROMPT_KEYS[name](content)
                except Wrong as wrong:
                    self.fail((*place, name), f"{_shown(content)}: {wrong}")
            kinds = [
                bool(given.get("absent")),
                "mask" in given,
                any(given.get(name) for name in (*ON_IT, *BESIDE_IT)),
            ]
            if sum(kinds) != 1:
                self.fail(place, f"say one thing: absent, a mask, or clicks ({', '.join((*ON_IT, *BESIDE_IT))})")
            if any(given.get(name) for name in BESIDE_IT) and not any(given.get(name) for name in ON_IT):
                self.fail(place, "only what the object is not: add points on it or a box around it")
            key = (given.get("object", SaidInJob.object), given.get("frame", 0))
            if key in seen:
                self.fail(place, f"{key[0]!r} is there twice on frame {key[1]}: join the two into one")
            seen.add(key)
            found.append(given)
        return tuple(found)

    def table(self, value: Any, at: Place) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.fail(at, f"{_shown(value)}: a table is needed")
        return value

    def known(self, given: Mapping[str, Any], at: Place, names: set[str]) -> None:
        for name in given:
            if name not in names:
                close = difflib.get_close_matches(name, names, 1)
                hint = f": do you mean {close[0]!r}?" if close else f" (there are {', '.join(sorted(names - BASE))})"
                self.fail((*at, name), "is unknown" + hint)

    def fail(self, at: Place, words: str) -> NoReturn:
        raise ScriptError(self.words(at, words))

    def words(self, at: Place, words: str) -> str:
        named = ""
        for part in at:
            named += f"[{part}]" if isinstance(part, int) else f".{_short(part)}"
        return f"{self.path}, line {self.lines.line(at)}: {named.lstrip('.') or 'the top'}: {words}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def _shown(value: Any) -> str:
    return _SHORT.repr(value)


def _short(name: str) -> str:
    return name if name.isprintable() and len(name) <= 60 else _SHORT.repr(name)

"""The studio: the one project of a server, its runs and results, and its state as all pages see it."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from tam_edit.digest import digest_of
from tam_edit.engine.report import Report
from tam_edit.errors import ProjectBusy, ScriptError, TamEditError, UsageError
from tam_edit.making import OutputOptions
from tam_edit.pipelines.engines import EngineOptions
from tam_edit.project import Project, write_whole
from tam_edit.script import Prompt
from tam_edit.session import Edit
from tam_edit.web.desk import Desk
from tam_edit.web.jobs import Job, Jobs
from tam_edit.web.results import CONTAINERS, Results
from tam_edit.workbench import DEFAULT_MEMORY_BYTES, Surroundings

LOOK_EVERY_S = 0.5
WHILE_RUNNING_S = 2.0
PAGE_FILE = ".page.json"


@dataclass(frozen=True)
class StudioOptions:
    """What the command line said: where uploads go, how much may be sent, which engines, how much memory."""

    folder: Path
    upload_limit_bytes: int = 4 * 10**9
    engines: EngineOptions = field(default_factory=EngineOptions)
    memory_bytes: int = DEFAULT_MEMORY_BYTES


@dataclass(frozen=True)
class Work:
    """A run as the page asks for it; the fields are the options of the command line."""

    kind: str
    objects: tuple[str, ...] | None = None
    invert: bool = False
    lossless: bool = False
    codec: str = "auto"
    crf: int | None = None
    container: str = ".mp4"
    background: str | None = None
    format: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("track", "remove", "replace", "export"):
            raise UsageError(f"{self.kind!r}: track, remove, replace and export can be run")
        if self.container not in CONTAINERS:
            raise UsageError(f"{self.container!r}: results can be {', '.join(CONTAINERS)}")

    @property
    def options(self) -> OutputOptions:
        return OutputOptions(self.lossless, self.codec, self.crf)

    @property
    def suffix(self) -> str:
        # FFV1 goes into Matroska only.
        return ".mkv" if self.lossless else self.container


class Studio:
    """Holds at most one project. Every change makes a new `revision`; pages ask for the state when it differs."""

    def __init__(self, options: StudioOptions) -> None:
        self.options = options
        self.desk: Desk | None = None
        self.results: Results | None = None
        self.jobs = Jobs(self.touch)
        self.opening = ""
        self.problem = ""
        self._boot = secrets.token_hex(4)
        self._count = 0
        self._dirty = threading.Event()
        self._closed = threading.Event()
        self._adopting = threading.Lock()
        self._verdicts: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    # Revisions

    @property
    def revision(self) -> str:
        return f"{self._boot}-{self._count}"

    def touch(self) -> None:
        """Something that pages show has changed."""
        self._count += 1

    # The project

    @property
    def open_desk(self) -> Desk:
        """The desk. Raises UsageError while there is no project."""
        if self.desk is None:
            raise UsageError("no project is open yet: drop a video on the page first")
        return self.desk

    def adopt(self, edit: Edit) -> None:
        """Make this the server's project. Raises ProjectBusy when there is one: one project per server."""
        with self._adopting:
            if self.desk is not None:
                raise ProjectBusy("this server has a project open already: start another tam-edit ui for another clip")
            if edit.project is None:
                raise AssertionError("the page works on projects")
            desk = Desk(edit)
            self._verdicts = _verdicts(edit.project.folder)
            self.results = Results(edit.project.folder / "results")
            self.desk = desk
            desk.refresh()
            self.touch()
            self._thread = threading.Thread(target=self._watch, name="masks", daemon=True)
            self._thread.start()

    def create(self, clip: Path, folder: Path, frame_rate: Fraction | None = None) -> None:
        """Make a project for a clip and open it. Raises what Edit.create raises."""
        self.adopt(
            Edit.create(clip, folder, frame_rate=frame_rate, surroundings=self._around(), engines=self.options.engines)
        )

    def later(self, words: str, open_project: Callable[[], None]) -> None:
        """Open a project while pages can be looked at already; what goes wrong is said on them."""
        self.opening = words

        def run() -> None:
            try:
                open_project()
            except TamEditError as error:
                self.problem = str(error)
            finally:
                self.opening = ""
                self.touch()

        threading.Thread(target=run, name="opening", daemon=True).start()

    def open(self, folder: Path) -> None:
        self.adopt(Edit.open(folder, surroundings=self._around(), engines=self.options.engines))

    def close(self) -> None:
        """Stop the run, keeping what is finished, and let go of all files."""
        self._closed.set()
        self._dirty.set()
        self.jobs.cancel()
        self.jobs.wait()
        if self._thread is not None:
            self._thread.join()
        if self.results is not None:
            self.results.close()
        if self.desk is not None:
            self.desk.close()

    def changed(self) -> None:
        """The script was changed: show it, and look up what is known for it now."""
        self._dirty.set()
        self.touch()

    def _watch(self) -> None:
        """Follow the script on disk (hand and command line change it too) and the masks that a run finishes."""
        desk = self.open_desk
        stamp = self._stamp()
        looked = time.monotonic()
        while not self._closed.is_set():
            asked = self._dirty.wait(LOOK_EVERY_S)
            self._dirty.clear()
            now = self._stamp()
            running = self.jobs.is_running and time.monotonic() - looked > WHILE_RUNNING_S
            if self._closed.is_set() or not (asked or now != stamp or running):
                continue
            stamp = now
            before = desk.known.key
            try:
                desk.refresh()
            except (TamEditError, OSError) as error:  # a hand edit with a mistake: said, and looked at again later
                desk.known = type(desk.known)(key=digest_of(str(error)), problem=str(error))
            except Exception as error:  # noqa: BLE001 - the thread's outermost boundary: said on the page, and it goes on
                traceback.print_exc()
                words = f"an error of tam-edit itself ({type(error).__name__}: {error}); the terminal has more"
                desk.known = replace(desk.known, key=digest_of(words), problem=words)
            looked = time.monotonic()
            if asked or desk.known.key != before or now != stamp:
                self.touch()
            if not self.jobs.is_running:
                desk.areas(self._dirty.is_set)
                self.touch()

    def _stamp(self) -> tuple[int, int]:
        project = self.open_desk.edit.project
        try:
            status = project.script_path.stat() if project else None
        except OSError:
            status = None
        return (status.st_mtime_ns, status.st_size) if status else (0, 0)

    # Runs

    def plan(self, work: Work) -> Report | None:
        """What a run would do; None for exports, which cannot be planned. Raises TamEditError."""
        desk = self.open_desk
        if work.kind == "export" or work.background == "transparent":
            return desk.edit.plan("track")
        return desk.edit.plan(
            work.kind,
            f"out{work.suffix}",
            background=self._background(work),
            objects=work.objects,
            invert=work.invert,
            options=work.options,
        )

    def start(self, work: Work) -> Job:
        """Begin a run. Raises ProjectBusy, UsageError."""
        desk, results = self.open_desk, self.results
        if results is None or desk.edit.project is None:
            raise AssertionError("a desk without a project")
        behind = self._background(work)
        folder = desk.edit.project.folder
        path: Path | None = None
        if work.kind == "remove":
            path = results.next_path("removed", work.suffix)
        elif work.kind == "replace":
            suffix = work.suffix if behind != "transparent" or work.suffix in (".webm", ".mov") else ".webm"
            path = results.next_path("replaced", suffix)
        elif work.kind == "export":
            path = results.next_path("export", _export_suffix(work.format), work.format)

        def run(edit: Edit) -> Any:
            if work.kind == "track":
                return edit.track()
            if path is None:
                raise AssertionError(work.kind)
            if work.kind == "remove":
                return edit.remove(path, objects=work.objects, invert=work.invert, options=work.options)
            if work.kind == "replace":
                return edit.replace(path, behind or "", objects=work.objects, invert=work.invert, options=work.options)
            if work.format not in FILES_IN_FOLDERS:
                return edit.export(work.format, path, objects=work.objects)
            path.mkdir(parents=True)
            return edit.export(work.format, path / FILES_IN_FOLDERS[work.format], objects=work.objects)

        return self.jobs.start(
            work.kind,
            {"track": "Track", "remove": "Remove", "replace": "Replace", "export": f"Export {work.format}"}[work.kind],
            lambda around: Edit.open(folder, surroundings=around, engines=self.options.engines),
            run,
            memory_bytes=self.options.memory_bytes,
            output=None if path is None else path.name,
            finished=lambda _: self.changed(),
        )

    def _background(self, work: Work) -> str | None:
        """The background as `Edit` takes it: uploaded files by the name that they were given here, never by a path."""
        given = work.background
        if work.kind != "replace":
            return None
        if given is None:
            raise UsageError("replace needs a background: choose a colour, blur, or send a picture or video")
        if not given.startswith("file:"):
            if given.startswith(("#", "blur")) or given == "transparent":
                return given
            raise UsageError(f"background {given!r}: #RRGGBB, blur[:SIGMA], transparent, or a file sent before")
        name = given.removeprefix("file:")
        if name not in self.backgrounds():
            raise UsageError(f"no background {name!r} was sent: send it again")
        return str(self.background_folder / name)

    @property
    def background_folder(self) -> Path:
        project = self.open_desk.edit.project
        if project is None:
            raise AssertionError("the page works on projects")
        return project.folder / "backgrounds"

    def backgrounds(self) -> list[str]:
        folder = self.background_folder
        if not folder.is_dir():
            return []
        return sorted(item.name for item in folder.iterdir() if item.is_file() and not item.name.startswith("."))

    # Review

    def judge(self, name: str, frame: int, verdict: str) -> None:
        """Accept or skip a doubtful frame, until its mask changes; "open" takes it back."""
        if verdict not in ("accepted", "skipped", "open"):
            raise UsageError(f"{verdict!r}: accepted, skipped or open")
        key = self._verdict_key(name, frame)
        if verdict == "open":
            self._verdicts.pop(key, None)
        else:
            self._verdicts[key] = verdict
        project = self.open_desk.edit.project
        if project is not None:
            write_whole(project.folder / PAGE_FILE, json.dumps({"verdicts": self._verdicts}).encode())
        self.touch()

    def _verdict_key(self, name: str, frame: int) -> str:
        item = self.open_desk.known.shown.get(frame)
        return f"{name} {frame} {item.digest if item else ''}"

    def review(self) -> list[dict[str, Any]]:
        """Doubtful frames, worst first, with what a person said of each."""
        return [
            {
                "object": doubt.object,
                "frame": doubt.frame,
                "trust": round(doubt.trust, 3),
                "span": [doubt.span.start, doubt.span.stop],
                "why": doubt.why,
                "verdict": self._verdicts.get(self._verdict_key(doubt.object, doubt.frame), "open"),
            }
            for doubt in self.open_desk.known.doubts
        ]

    # State

    def to_json(self) -> dict[str, Any]:
        """All that a page shows except pictures and the long lists of `track_json`."""
        job = self.jobs.last
        state: dict[str, Any] = {
            "revision": self.revision,
            "opening": self.opening,
            "project": None,
            "problem": self.problem,
            "job": None if job is None else job.to_json(),
        }
        desk = self.desk
        if desk is None or desk.edit.project is None or self.results is None:
            return state
        known = desk.known
        problem = known.problem
        try:
            script = desk.edit.script
        except ScriptError as error:
            return {**state, "project": self._project_json(desk), "problem": str(error), "objects": []}
        return {
            **state,
            "project": self._project_json(desk),
            "problem": problem,
            "objects": [
                {
                    "name": item.name,
                    "label": label,
                    "prompts": [_prompt_json(frame, prompt) for frame, prompt in sorted(item.prompts.items())],
                }
                for label, item in enumerate(script.objects, start=1)
            ],
            "settings": vars(script.settings),
            "track": known.key,
            "complete": known.complete,
            "review": self.review(),
            "results": self.results.to_json(),
            "backgrounds": self.backgrounds(),
            "strip": desk.strip.done,
        }

    def _project_json(self, desk: Desk) -> dict[str, Any]:
        source, project = desk.source, desk.edit.project
        return {
            "name": project.folder.name if project else "",
            "clip": Path(source.path).name,
            "digest": source.digest[:16],
            "frames": source.frames,
            "size": list(source.size_wh),
            "aspect": float(source.sample_aspect),
            "rate": float(source.frame_rate),
            "cuts": list(desk.cuts),
            "strip_every": desk.strip.every,
            "warnings": list(source.warnings),
        }

    def times(self) -> list[float]:
        """When each frame is shown, in seconds from the first one; and when the last one ends."""
        source = self.open_desk.source
        start = source.pts[0]
        return [round(float((pts - start) * source.time_base), 6) for pts in (*source.pts, source.end_pts)]

    def track_json(self) -> dict[str, Any]:
        """For every frame: its map's digest, how far it holds, trust and area of each object."""
        desk = self.open_desk
        known, names = desk.known, desk.edit.script.names
        frames = range(desk.source.frames)
        areas = desk.counted
        return {
            "key": known.key,
            "maps": [known.shown[frame].digest if frame in known.shown else None for frame in frames],
            "states": "".join(str(known.shown[frame].state if frame in known.shown else 0) for frame in frames),
            "trust": {name: [_rounded(known.trust.get(name, {}).get(frame)) for frame in frames] for name in names},
            "gone": {
                name: [
                    frame
                    for frame in frames
                    if frame in known.shown
                    and (counts := areas.get(known.shown[frame].digest)) is not None
                    and counts[label] == 0
                ]
                for label, name in enumerate(names, start=1)
            },
        }

    def _around(self) -> Surroundings:
        return Surroundings(memory_bytes=self.options.memory_bytes)


def _prompt_json(frame: int, prompt: Prompt) -> dict[str, Any]:
    kind = "absent" if prompt.absent else "mask" if prompt.mask is not None else "clicks"
    return {
        "frame": frame,
        "kind": kind,
        "points": prompt.points,
        "negative": prompt.negative,
        "box": prompt.box,
        "boxes": prompt.boxes,
        "scribbles": prompt.scribbles,
        "candidate": prompt.candidate,
        "correction": prompt.prior is not None,
    }


def _rounded(trust: float | None) -> float | None:
    return None if trust is None else round(trust, 2)


def _export_suffix(format: str) -> str:
    from tam_edit.pipelines.export import EXPORTS

    if format not in EXPORTS:
        raise UsageError(f"no export format {format!r}: there are {', '.join(EXPORTS)}")
    return EXPORT_SUFFIXES.get(format, "")


EXPORT_SUFFIXES = {"cvat": ".xml", "matte": ".mp4", "prores4444": ".mov", "webm-alpha": ".webm"}
"""Exports that are one file; all others are folders."""

FILES_IN_FOLDERS = {"coco": "masks.json", "otio": "timeline.otio"}
"""Exports that write more beside the file that is named: they get a folder of their own."""


def _verdicts(folder: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads((folder / PAGE_FILE).read_bytes())["verdicts"]
        return {str(key): str(verdict) for key, verdict in found.items()}
    return {}


def project_for(clip: Path, folder: Path) -> Path:
    """Where the page keeps the project of a clip: beside the work, called after the clip."""
    return folder / f"{clip.stem or 'clip'}.edit"


def is_project(path: Path) -> bool:
    return Project.is_one(path)

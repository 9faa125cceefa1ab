"""The studio: the one project of a server, its runs, results and notes; who else changes it is followed."""

from __future__ import annotations

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
from tam_edit.effects import Effect, Remove, located
from tam_edit.engine.report import Report
from tam_edit.errors import ProjectBusy, TamEditError, UsageError
from tam_edit.pipelines.effects import check
from tam_edit.pipelines.engines import EngineOptions
from tam_edit.project import Project
from tam_edit.session import Edit
from tam_edit.web.desk import Desk
from tam_edit.web.jobs import Job, Jobs
from tam_edit.web.notes import Notes
from tam_edit.web.results import Results
from tam_edit.web.state import state_json, track_json
from tam_edit.web.work import BESIDE, Work, effect_of, work_of
from tam_edit.workbench import DEFAULT_MEMORY_BYTES, Surroundings

LOOK_EVERY_S = 0.5
WHILE_RUNNING_S = 2.0


@dataclass(frozen=True)
class StudioOptions:
    """What the command line said: where uploads go, how much may be sent, which engines, how much memory."""

    folder: Path
    upload_limit_bytes: int = 4 * 10**9
    engines: EngineOptions = field(default_factory=EngineOptions)
    memory_bytes: int = DEFAULT_MEMORY_BYTES


class Studio:
    """Holds at most one project. Every change makes a new `revision`; pages ask for the state when it differs."""

    def __init__(self, options: StudioOptions) -> None:
        self.options = options
        self.desk: Desk | None = None
        self.results: Results | None = None
        self.notes: Notes | None = None
        self.jobs = Jobs(self.touch)
        self.opening = ""
        self.problem = ""
        self._boot = secrets.token_hex(4)
        self._count = 0
        self._dirty = threading.Event()
        self._closed = threading.Event()
        self._adopting = threading.Lock()
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
            self.notes = Notes(edit.project.folder)
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

    def work_of(self, given: dict[str, Any]) -> Work:
        """The run that a request asks for. Raises UsageError, ScriptError."""
        return work_of(given, self._known_file)

    def plan(self, work: Work) -> Report:
        """What a run would do. Raises TamEditError."""
        return work.plan(self._opened(Surroundings(memory_bytes=self.options.memory_bytes)))

    def start(self, work: Work) -> Job:
        """Begin a run. Raises ProjectBusy, UsageError."""
        if self.results is None:
            raise UsageError("no project is open yet: drop a video on the page first")
        path = work.output(self.results)
        return self.jobs.start(
            work.kind,
            work.title,
            self._opened,
            lambda edit: work.run(edit, path),
            memory_bytes=self.options.memory_bytes,
            output=None if path is None else path.name,
            finished=lambda _: self.changed(),
        )

    def _opened(self, around: Surroundings) -> Edit:
        """The project once more: a run keeps the script that it began with."""
        return Edit.open(self._folder, surroundings=around, engines=self.options.engines)

    @property
    def _folder(self) -> Path:
        project = self.open_desk.edit.project
        if project is None:
            raise AssertionError("the page works on projects")
        return project.folder

    # The list of effects

    def add_effect(self, given: dict[str, Any]) -> None:
        """Put an effect at the end of the script's list, a removal before all that is no removal. Raises UsageError."""
        found = effect_of(given, self._known_file)
        check([found])
        effects = self._effects()
        removals = sum(isinstance(effect, Remove) for effect in effects)
        effects.insert(removals if isinstance(found, Remove) else len(effects), found)
        self.open_desk.edit.set_effects(effects)

    def _effects(self) -> list[Effect]:
        """The script's list, its files counted from here rather than from the project."""
        return [located(effect, self._folder) for effect in self.open_desk.edit.script.effects]

    def drop_effect(self, index: int) -> None:
        """Take an effect out of the script's list. Raises UsageError."""
        effects = self._effects()
        if not 0 <= index < len(effects):
            raise UsageError(f"effect {index + 1}: there are {len(effects)}")
        del effects[index]
        self.open_desk.edit.set_effects(effects)

    # Files that were sent, projects that lie beside this one

    def _known_file(self, given: str) -> str:
        """The path of a file that was sent or of a project: looked up, never taken from a request."""
        kind, name = given.split(":", 1)
        if f"{kind}:" == BESIDE:
            if name not in self.projects():
                raise UsageError(f"no project {name!r} lies beside this one")
            return str(self._folder.resolve().parent / name)
        if name not in self.backgrounds():
            raise UsageError(f"no file {name!r} was sent: send it again")
        return str(self.background_folder / name)

    def projects(self) -> list[str]:
        """Other projects in the folder of this one: their results can lie behind."""
        folder = self._folder.resolve()
        found = (item for item in folder.parent.iterdir() if item.is_dir() and item != folder)
        return sorted(item.name for item in found if not item.name.startswith(".") and Project.is_one(item))

    @property
    def background_folder(self) -> Path:
        return self._folder / "backgrounds"

    def backgrounds(self) -> list[str]:
        folder = self.background_folder
        if not folder.is_dir():
            return []
        return sorted(item.name for item in folder.iterdir() if item.is_file() and not item.name.startswith("."))

    # Review

    def judge(self, name: str, frame: int, verdict: str) -> None:
        """Accept or skip a doubtful frame, until its mask changes; "open" takes it back."""
        self._noted.judge(self._verdict_key(name, frame), verdict)
        self.touch()

    def paint(self, name: str, colour: str | None) -> None:
        """Show an object in this colour on the page; None: in the usual one. Raises UsageError, PromptError."""
        self.open_desk.edit.script.label_of(name)
        self._noted.paint(name, colour)
        self.touch()

    def rename(self, name: str, to: str) -> None:
        """Call an object something else; its colour goes along. Raises PromptError."""
        self.open_desk.edit.rename(name, to)
        self._noted.rename(name, to)

    @property
    def _noted(self) -> Notes:
        if self.notes is None:
            raise UsageError("no project is open yet: drop a video on the page first")
        return self.notes

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
                "verdict": self._noted.verdict(self._verdict_key(doubt.object, doubt.frame)),
            }
            for doubt in self.open_desk.known.doubts
        ]

    # State

    def to_json(self) -> dict[str, Any]:
        return state_json(self)

    def track_json(self) -> dict[str, Any]:
        return track_json(self)

    def times(self) -> list[float]:
        """When each frame is shown, in seconds from the first one; and when the last one ends."""
        source = self.open_desk.source
        start = source.pts[0]
        return [round(float((pts - start) * source.time_base), 6) for pts in (*source.pts, source.end_pts)]

    def _around(self) -> Surroundings:
        return Surroundings(memory_bytes=self.options.memory_bytes)


def project_for(clip: Path, folder: Path) -> Path:
    """Where the page keeps the project of a clip: beside the work, called after the clip."""
    return folder / f"{clip.stem or 'clip'}.edit"

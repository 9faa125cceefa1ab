"""An edit project's folder: the script and its history, written whole or not at all, and who may work on it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tam_edit.errors import OutputUnwritable, ProjectBusy, ScriptError, SourceMissing, StoreError, UsageError
from tam_edit.script import EditScript, ScriptSource

SCRIPT_NAME = "edit.json"
HISTORY_NAME = ".history.json"
MOST_STEPS_BACK = 200
MOST_REPORTS = 200


class Project:
    """The folder EDIT with edit.json, cache/ and reports/. Raises ScriptError when it is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not self.script_path.is_file():
            raise ScriptError(_no_project(folder))

    @classmethod
    def create(cls, folder: Path, script: EditScript) -> Project:
        """Make the folder with its first script. Raises UsageError when something is there already."""
        check_free(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputUnwritable(
                f"the project {folder} cannot be made: {error.strerror}: choose another place"
            ) from error
        write_whole(folder / SCRIPT_NAME, script.text().encode())
        return cls(folder)

    @staticmethod
    def is_one(path: Path) -> bool:
        return (path / SCRIPT_NAME).is_file()

    @property
    def script_path(self) -> Path:
        return self.folder / SCRIPT_NAME

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def script(self) -> EditScript:
        """The script as it is on disk now, hand edits included, checked."""
        try:
            text = self.script_path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
        except UnicodeDecodeError as error:
            raise ScriptError(f"{self.script_path}: byte {error.start} is not UTF-8: save it as UTF-8") from error
        except OSError as error:
            raise ScriptError(f"{self.script_path} cannot be read: {error.strerror}") from error
        return EditScript.parse(text, str(self.script_path))

    def source_path(self, script: EditScript) -> Path:
        """Where the clip lies now: relative paths count from the project's folder."""
        path = Path(os.path.realpath(self.folder / script.source.path))  # resolve() fails at links in a circle
        if not path.exists():
            raise SourceMissing(
                f"the clip {path} is not there: bring it back, or change source.path in {self.script_path}"
            )
        return path

    def owns(self, place: Path) -> bool:
        """Whether a file of this name would lie over the project's script and history, or among what it keeps."""
        folder, real = Path(os.path.realpath(self.folder)), Path(os.path.realpath(place))
        if real in (folder, *(folder / name for name in (SCRIPT_NAME, HISTORY_NAME, ".run.lock", ".script.lock"))):
            return True
        return any(real.is_relative_to(os.path.realpath(folder / name)) for name in ("cache", "reports"))

    def relative(self, path: Path) -> str:
        """A path as the script keeps it: relative, so that folder and clip can move together."""
        try:
            return os.path.relpath(os.path.realpath(path), os.path.realpath(self.folder))
        except ValueError:  # another drive on Windows
            return os.path.realpath(path)

    # Changes and their history

    def change(self, change: Callable[[EditScript], EditScript]) -> EditScript:
        """Apply a change to the script on disk under its lock, keeping the former one for undo."""
        with self._locked("script", wait_s=30.0):
            former = self.script()
            changed = change(former)
            if changed != former:
                steps = self._steps()
                self._write_steps({"undo": [*steps["undo"], former.to_json()][-MOST_STEPS_BACK:], "redo": []})
                write_whole(self.script_path, changed.text().encode())
            return changed

    def set_source(self, source: ScriptSource) -> None:
        """Say where the clip lies now. No step for undo: that is about what was said, and its clip may be gone."""
        with self._locked("script", wait_s=30.0):
            write_whole(self.script_path, dataclasses.replace(self.script(), source=source).text().encode())

    def undo(self) -> EditScript:
        """Take the last change back. Raises UsageError when there is none."""
        return self._step("undo", "redo")

    def redo(self) -> EditScript:
        """Do again what was taken back last. Raises UsageError when there is nothing."""
        return self._step("redo", "undo")

    def _step(self, source: str, target: str) -> EditScript:
        with self._locked("script", wait_s=30.0):
            steps = self._steps()
            if not steps[source]:
                raise UsageError(f"nothing to {source} in {self.folder}")
            now = self.script()
            other = EditScript.parse(json.dumps(steps[source].pop()), f"{self._steps_path} ({source})")
            other = dataclasses.replace(other, source=now.source)
            steps[target].append(now.to_json())
            self._write_steps(steps)
            write_whole(self.script_path, other.text().encode())
            return other

    @property
    def _steps_path(self) -> Path:
        return self.folder / HISTORY_NAME

    def _steps(self) -> dict[str, list[Any]]:
        try:
            steps = json.loads(self._steps_path.read_bytes())
            return {"undo": list(steps["undo"]), "redo": list(steps["redo"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {"undo": [], "redo": []}  # a lost history loses no edit: the script itself is in edit.json

    def _write_steps(self, steps: dict[str, list[Any]]) -> None:
        write_whole(self._steps_path, json.dumps(steps).encode())

    # Who works on it

    @contextlib.contextmanager
    def working(self, say: Callable[[str], None], wait_s: float | None = None) -> Iterator[None]:
        """Hold the project while a run uses it; others wait and say so, up to wait_s (None: as long as it takes).

        Raises ProjectBusy when the time is over.
        """
        with self._locked("run", wait_s, say):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, wait_s: float | None, say: Callable[[str], None] | None = None) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / f".{name}.lock")
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if say is not None:
                    say(f"another tam-edit works on {self.folder}: waiting until it is done")
                try:
                    lock.acquire(timeout=-1 if wait_s is None else wait_s, poll_interval=0.1)
                except Timeout as error:
                    raise ProjectBusy(f"another tam-edit works on {self.folder}: try again when it is done") from error
        except OSError as error:
            raise StoreError(
                f"{self.folder} cannot be written: {error.strerror or error}: check its permissions"
            ) from error
        try:
            yield
        finally:
            lock.release()

    # Reports

    def keep_report(self, command: str, text: str) -> Path:
        """Write one run's report under reports/ and return its path; the oldest go beyond two hundred."""
        folder = self.folder / "reports"
        seconds, ns = divmod(time.time_ns(), 1_000_000_000)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
        path = folder / f"{stamp}-{ns:09d}-{command}.json"
        write_whole(path, text.encode())
        for old in sorted(folder.glob("*.json"))[:-MOST_REPORTS]:
            old.unlink(missing_ok=True)
        return path


def _no_project(folder: Path) -> str:
    if folder.is_dir():
        return f"{folder} is no edit project (no {SCRIPT_NAME} in it): make one with 'tam-edit new CLIP EDIT'"
    if folder.exists():
        return (
            f"{folder} is a file and no edit project: make one for it with 'tam-edit new {folder} {folder.stem}.edit'"
        )
    return f"{folder} is no edit project (there is no such folder): make one with 'tam-edit new CLIP {folder}'"


def check_free(folder: Path) -> None:
    """Raise UsageError where a new project would lie over something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already and is not overwritten: choose another name, or remove it first")


def write_whole(path: Path, payload: bytes) -> None:
    """Write a file under a temporary name, flush it to disk and rename it. Raises OutputUnwritable; leaves nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")
    except OSError as error:
        raise OutputUnwritable(f"{path} cannot be written: {error.strerror}: check the folder's permissions") from error
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise OutputUnwritable(
            f"{path} cannot be written: {error.strerror}: free some space or choose another place"
        ) from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

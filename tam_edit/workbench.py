"""The workbench: what one Edit works with, and how a run is made: alone, cached, begun again, reported."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tam_edit.engine.report import Report, peak_rss_bytes
from tam_edit.engine.runner import Runner, Silent, Watcher
from tam_edit.engine.store import DEFAULT_LIMIT_BYTES, EntryLost, Store
from tam_edit.errors import Cancelled, OutputIsSource, SourceChanged, StoreError, TamEditError, UsageError
from tam_edit.project import Project
from tam_edit.script import EditScript
from tam_edit.settings import Settings
from tam_edit.sources import changed_since, source_digest

if TYPE_CHECKING:
    from tam_edit.pipelines.context import Context
    from tam_edit.pipelines.engines import EngineOptions, Engines

T = TypeVar("T")
DEFAULT_MEMORY_BYTES = 8 * 2**30
MOST_RESTARTS = 100
# Commands that make much: after them the cache is pruned, and they tell of a clip that is no longer the latest.
MAKING = frozenset({"track", "remove", "replace", "alter", "render", "export"})
# What a run read or wrote in the last minutes is not pruned by it: the next run most likely reads it again.
KEEP_SINCE_S = 600.0


@dataclass
class Surroundings:
    """Who watches, who may cancel, and how much room there is; the same for all runs of an Edit."""

    watcher: Watcher = field(default_factory=Silent)
    say: Callable[[str], None] = lambda _: None
    cancelled: Callable[[], bool] = lambda: False
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    cache_bytes: int = DEFAULT_LIMIT_BYTES
    wait_s: float | None = None


class Workbench:
    """One script with its store, project and engines; `run` does work under the project's lock and reports it.

    project None: a clip edited without one, its script only in memory.
    """

    def __init__(
        self,
        project: Project | None,
        script: EditScript,
        store: Store,
        surroundings: Surroundings,
        engine_options: EngineOptions,
    ) -> None:
        self.project = project
        self.store = store
        self.surroundings = surroundings
        self.engine_options = engine_options
        self.report: Report | None = None
        self.overrides: dict[str, Any] = {}
        self._script = script
        self._within = threading.RLock()

    # The script

    @property
    def script(self) -> EditScript:
        """The script as it is now; a project's file is read again, since hand and page may have changed it."""
        if self.project is not None:
            self._script = self.project.script()
        return self._script

    @property
    def settings(self) -> Settings:
        """The script's settings with this session's overrides."""
        return dataclasses.replace(self.script.settings, **self.overrides)

    @property
    def effective(self) -> EditScript:
        """The script with the overrides in it: what stages work from."""
        return dataclasses.replace(self.script, settings=self.settings)

    def change(self, change: Callable[[EditScript], EditScript]) -> None:
        """Change the script, on disk where there is a project."""
        self._script = change(self._script) if self.project is None else self.project.change(change)

    def step_back(self) -> None:
        self._script = self.with_project("undo").undo()

    def step_forward(self) -> None:
        self._script = self.with_project("redo").redo()

    # Runs

    def run(
        self,
        command: str,
        work: Callable[[Context, Engines], T],
        *,
        outputs: Sequence[str] = (),
        keep: bool = True,
    ) -> T:
        """Run work under the project's lock and leave a report, also of a run that failed."""
        with self._within, self._alone():
            began = time.perf_counter()
            runner = self.runner(dry=False)
            names: Mapping[str, str] = {}
            error: TamEditError | None = None
            try:
                engines = self.engines()
                names = engines.names
                for words in (*engines.warnings, *self._changed_since(command)):
                    runner.ledger.warn(words)
                return self._with_restarts(lambda: self._through(runner, work, engines))
            except TamEditError as raised:
                error = raised
                raise
            except KeyboardInterrupt as raised:
                error = Cancelled("stopped by a person: what is finished is kept, the next run goes on from there")
                raise error from raised
            finally:
                for words in self.store.warnings:
                    runner.ledger.warn(words)
                self.store.warnings.clear()
                self.report = Report(
                    command=command,
                    exit=0 if error is None else error.exit_status,
                    outputs=tuple(outputs) if error is None else (),
                    engines=names,
                    stages=tuple(runner.ledger.stages()),
                    seconds=time.perf_counter() - began,
                    peak_rss_bytes=peak_rss_bytes(),
                    warnings=runner.ledger.warnings,
                    error=None if error is None else str(error),
                    facts=runner.ledger.facts,
                )
                if keep and self.project is not None:
                    with contextlib.suppress(TamEditError):  # a full disk must not hide the run's own error
                        self.project.keep_report(command, self.report.to_text())
                if command in MAKING:
                    with contextlib.suppress(StoreError, OSError):
                        self.store.prune(keep_since=time.time() - KEEP_SINCE_S)

    def _through(self, runner: Runner, work: Callable[[Context, Engines], T], engines: Engines) -> T:
        with self.context(runner) as context:  # a later use opens its reader again
            return work(context, engines)

    def _with_restarts(self, attempt: Callable[[], T]) -> T:
        """Begin again when the cache lost something it had promised; all the rest is reused."""
        for _ in range(MOST_RESTARTS):
            try:
                return attempt()
            except EntryLost:
                continue
        raise StoreError(f"the cache in {self.store.root} loses entries as fast as they are written: check the disk")

    def planned(self, command: str, work: Callable[[Context, Engines], object]) -> Report:
        """What a run of this work would do; nothing is run, and no lock is held."""
        began = time.perf_counter()
        runner = self.runner(dry=True)
        engines = self.engines()
        for words in self._changed_since(command):
            runner.ledger.warn(words)
        self._with_restarts(lambda: self._through(runner, work, engines))
        return Report(
            command=command,
            exit=0,
            engines=engines.names,
            stages=tuple(runner.ledger.stages()),
            seconds=time.perf_counter() - began,
            peak_rss_bytes=peak_rss_bytes(),
            warnings=runner.ledger.warnings,
            planned=True,
        )

    def context(self, runner: Runner, probed: Context | None = None) -> Context:
        """The probed clip for a run; probed: another run's, whose clip need not be looked at again.

        Raises SourceChanged when the clip is not the one that the script speaks of, and what probing raises.
        """
        from tam_edit.pipelines.context import Context
        from tam_edit.pipelines.probe import probe

        if probed is not None:
            return Context(runner, probed.source, probed.cuts, probed.memory_bytes)
        script = self.script
        path = self.source_path()
        digest = source_digest(self.store, path)
        if digest != script.source.digest:
            raise SourceChanged(
                f"the clip {path} is not the one that the project was made for (its content changed): bring the old "
                "one back, or make a new project with 'tam-edit new'"
            )
        found = probe(
            runner,
            path,
            digest,
            frame_rate=script.source.frame_rate,
            allow_truncated=script.source.allow_truncated,
        )
        return Context(runner, found.source, found.cuts, self.surroundings.memory_bytes)

    def _changed_since(self, command: str) -> list[str]:
        if self.project is None or command not in MAKING:
            return []
        words = changed_since(self.store, self.project, self.script.source)
        return [] if words is None else [words]

    def runner(self, *, dry: bool) -> Runner:
        """A runner over this bench's store; dry: it plans."""
        around = self.surroundings
        return Runner(
            self.store,
            # Without a project, reasons are told against earlier runs of the same clip.
            str((self.project.folder if self.project else Path(self._script.source.path)).resolve()),
            dry=dry,
            watcher=None if dry else around.watcher,
            cancelled=around.cancelled,
        )

    def engines(self) -> Engines:
        from tam_edit.pipelines.engines import resolve

        return resolve(self.settings, self.engine_options)

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        if self.project is None:
            return contextlib.nullcontext()
        return self.project.working(self.surroundings.say, self.surroundings.wait_s)

    def source_path(self) -> Path:
        script = self.script
        if self.project is not None:
            return self.project.source_path(script)
        return Path(script.source.path)

    def check_overwrites(self, place: Path, reads: Iterable[Path] = ()) -> None:
        """Refuse a place where a result would lie over the project's own files or over what it is made from.

        reads: files, or folders of pictures. Raises OutputIsSource.
        """
        from tam_edit.media.placing import is_same_file

        if self.project is not None and self.project.owns(place):
            raise OutputIsSource(f"{place}: belongs to the project {self.project.folder}; write elsewhere")
        real = Path(os.path.realpath(place))
        for path in reads:
            read = Path(os.path.realpath(path))
            # A folder of pictures is replaced as a whole, and read as a whole.
            if is_same_file(place, path) or real.is_relative_to(read) or read.is_relative_to(real):
                raise OutputIsSource(f"{place}: the result is made from it ({path}); write under another name")

    def with_project(self, what: str) -> Project:
        if self.project is None:
            raise UsageError(f"{what} needs a project: make one with 'tam-edit new CLIP EDIT'")
        return self.project

    def last_report(self) -> Report:
        if self.report is None:
            raise UsageError("nothing was run yet: there is no report")
        return self.report


def shared_cache() -> Path:
    """Where edits without a project keep what they made: $TAM_EDIT_CACHE or the user's cache folder."""
    import platformdirs

    named = os.environ.get("TAM_EDIT_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("tam-edit")) / "once"

"""One process's part in a batch: opening a job's edit, planning it, making it, and telling how it went."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tam_edit.batch.alarm import Alarm, overtime_words
from tam_edit.batch.jobs import EFFECTS, Job, SaidInJob
from tam_edit.batch.results import keep_result, made_from, prompts_digest, script_path
from tam_edit.digest import digest_of
from tam_edit.effects import located
from tam_edit.engine.ledger import Decision
from tam_edit.engine.report import Report, peak_rss_bytes
from tam_edit.engine.runner import Runner, Watcher
from tam_edit.engine.store import Store
from tam_edit.errors import Cancelled, OutputUnwritable, ScriptError, TamEditError
from tam_edit.project import SCRIPT_NAME, Project, write_whole
from tam_edit.saying import Saying
from tam_edit.script import EditScript
from tam_edit.session import Edit
from tam_edit.sources import source_digest
from tam_edit.workbench import Surroundings, Workbench

if TYPE_CHECKING:
    from tam_edit.pipelines.engines import EngineOptions, Engines
    from tam_edit.settings import Settings

Status = Literal["done", "planned", "failed", "stopped", "died"]
SAID_NAME = ".said-by-batch.json"
TOLD_EVERY_S = 0.25
NO_MEMORY = "not enough memory: take fewer --workers, give less with --memory, or use a larger machine"
# How OpenCV, torch and the loader of libraries say it.
SHORT_OF_MEMORY = ("nsufficient memory", "not enough memory", "failed to map segment", "annot allocate memory")


@dataclass(frozen=True)
class Outcome:
    """How a job ended. died: its process did (or ran out of memory), so that another try may be worth it.

    overtime: it failed because it took longer than its time limit.
    """

    number: int
    status: Status
    error: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    seconds: float = 0.0
    frames: int = 0
    size_wh: tuple[int, int] = (0, 0)
    peak_rss_bytes: int = 0
    overtime: bool = False


@dataclass(frozen=True)
class Told:
    """A job under way: of a stage's frames so many are done, run so many of them."""

    number: int
    stage: str
    done: int
    total: int
    run: int


class EngineShelf:
    """Engines settled once in a process and used by all its jobs, so that networks are loaded once."""

    def __init__(self) -> None:
        self._kept: dict[str, Engines] = {}

    def engines(self, settings: Settings, options: EngineOptions) -> Engines:
        from tam_edit.pipelines import engines

        chosen = (settings.segmenter, settings.tracker, settings.inpainter)
        named = {name: str(path) for name, path in options.weights.items()}
        others = {name: value for name, value in vars(options).items() if name != "weights"}
        key = digest_of((chosen, named, others))
        if key not in self._kept:
            self._kept[key] = engines.resolve(settings, options)
        return self._kept[key]


class Bench(Workbench):
    """A workbench that takes its engines from a shelf, and its runners from elsewhere where a share is computed."""

    def __init__(
        self,
        project: Project | None,
        script: Any,
        store: Store,
        surroundings: Surroundings,
        options: EngineOptions,
        shelf: EngineShelf,
    ) -> None:
        super().__init__(project, script, store, surroundings, options)
        self._shelf = shelf
        self.make_runner: Callable[[Store, str], Runner] | None = None

    def engines(self) -> Engines:
        return self._shelf.engines(self.settings, self.engine_options)

    def runner(self, *, dry: bool) -> Runner:
        if self.make_runner is None:
            return super().runner(dry=dry)
        return self.make_runner(self.store, str(self.store.root.resolve()))


@dataclass
class Hands:
    """What a process works with: how much memory, where finished chunks go beside the project, whom it tells.

    near: the folder in which this machine keeps chunks where the store at `store_url` is what all machines share.
    """

    memory_bytes: int
    tell: Callable[[Told], None] = lambda _: None
    store_url: str | None = None
    near: Path | None = None
    cancelled: Callable[[], bool] = lambda: False
    shelf: EngineShelf = field(default_factory=EngineShelf)

    def run(self, job: Job) -> Outcome:
        """Make a job's output and note it in its project; whatever goes wrong is told in the outcome."""

        def work() -> Outcome:
            _make_folder(Path(job.output).parent)
            edit = self.prepared(job)
            made = made_from(job)
            source = edit.source()
            report = EFFECTS[job.effect].make(edit, job)
            keep_result(job, made, report, source.size_wh)
            return _outcome(job, "done", report, source.frames, source.size_wh)

        return self._told(job, work)

    def plan(self, job: Job) -> Outcome:
        """What a job would run; a clip without a project is planned from its prompts, and nothing is made for it."""

        def work() -> Outcome:
            edit = self.prepared(job) if job.clip is None else self.sketched(job)
            source = edit.source()
            report = EFFECTS[job.effect].plan(edit, job)
            return _outcome(job, "planned", report, source.frames, source.size_wh)

        return self._told(dataclasses.replace(job, time_limit_s=None), work)

    def go_through(self, job: Job, make_runner: Callable[[Store, str], Runner], *, first: bool) -> Outcome:
        """Walk a job's recipe with a runner of somebody's own; first: a clip's project may have to be made."""

        def work() -> Outcome:
            edit = self.prepared(job) if first else self.opened(job)
            if not isinstance(edit.bench, Bench):
                raise AssertionError("a job's edit has a bench of its own")
            source = edit.source()
            edit.bench.make_runner = make_runner
            report = EFFECTS[job.effect].plan(edit, job)
            return _outcome(job, "done", report, source.frames, source.size_wh)

        return self._told(job, work)

    def _told(self, job: Job, work: Callable[[], Outcome]) -> Outcome:
        began = time.perf_counter()
        failed = Outcome(job.number, "failed")
        alarm = Alarm(job.time_limit_s)
        try:
            with alarm:
                outcome = work()
        except (Cancelled, KeyboardInterrupt) as stopped:
            words = str(stopped) or "stopped: what is finished is kept, the next run goes on from there"
            outcome = dataclasses.replace(failed, status="stopped", error=words)
            if alarm.rung and job.time_limit_s is not None:
                outcome = dataclasses.replace(failed, error=overtime_words(job.time_limit_s), overtime=True)
        except TamEditError as error:
            outcome = dataclasses.replace(failed, error=str(error))
        except OSError as error:
            outcome = dataclasses.replace(failed, error=f"{error.filename or 'a file'}: {error.strerror or error}")
        except MemoryError:
            outcome = dataclasses.replace(failed, status="died", error=NO_MEMORY)
        except Exception as error:  # noqa: BLE001 - one job's unforeseen end must not be the others'
            outcome = _unforeseen(failed, error)
        return dataclasses.replace(
            outcome, seconds=time.perf_counter() - began, peak_rss_bytes=max(peak_rss_bytes(), 0)
        )

    # Opening

    def surroundings(self, number: int) -> Surroundings:
        return Surroundings(
            watcher=_Teller(number, self.tell),
            say=lambda _: self.tell(Told(number, "waits for another tam-edit", 0, 1, 0)),
            memory_bytes=self.memory_bytes,
            cancelled=self.cancelled,
        )

    def store(self, root: Path) -> Store:
        around = self.surroundings(0)
        if self.store_url is None:
            return Store(root, around.cache_bytes)
        from tam_edit.engine.remote import RemoteTier

        root = root if self.near is None else self.near / digest_of(self.store_url)[:16]
        return Store(root, around.cache_bytes, RemoteTier.of(self.store_url))

    def opened(self, job: Job) -> Edit:
        """The edit of a job's project under the job's settings."""
        place = Project(Path(job.project))
        around = self.surroundings(job.number)
        bench = Bench(place, place.script(), self.store(place.cache), around, job.engine_options(), self.shelf)
        edit = Edit(bench)
        edit.override(**job.settings)
        return edit

    def prepared(self, job: Job) -> Edit:
        """As `opened`; a clip's project is made first, and what the jobs file says of its objects is said there.

        It is said again only when the jobs file changes: what a person mended in the project meanwhile stays.
        """
        if job.clip is None:
            return self.opened(job)
        folder = Path(job.project)
        if not Project.is_one(folder):
            _clear_beginnings(folder)
            Edit.create(job.clip, folder, frame_rate=job.frame_rate, allow_truncated=job.allow_truncated)
        edit = self.opened(job)
        _follow_clip(edit, Path(job.clip))
        said = prompts_digest_or_fail(job)
        note = folder / SAID_NAME
        if _read_said(note) != said:
            if job.script is not None:
                edit.bench.change(_lent(job.script))
            for item in job.prompts:
                edit.say(item.object, _saying(item))
            write_whole(note, json.dumps({"said": said}).encode())
        return edit

    def sketched(self, job: Job) -> Edit:
        """The edit of a clip as it will be, without a project, for planning; one that is there already is used."""
        if job.clip is None or Project.is_one(Path(job.project)):
            return self.opened(job)
        from tam_edit.saying import prompt_of

        around = self.surroundings(job.number)
        once = Edit.once(job.clip, frame_rate=job.frame_rate, allow_truncated=job.allow_truncated, surroundings=around)
        bench = Bench(None, once.bench.script, once.bench.store, around, job.engine_options(), self.shelf)
        edit = Edit(bench)
        edit.override(**job.settings)
        if job.script is not None:
            bench.change(_lent(job.script))
        for item in job.prompts:
            with edit.pictures() as context:
                prompt = prompt_of(_saying(item), item.object, bench, context)
            bench.change(lambda script, item=item, prompt=prompt: script.marked(item.object, item.frame, prompt))  # type: ignore[misc]
        return edit


class _Teller(Watcher):
    """Tells a stage's progress, a few times a second at most."""

    def __init__(self, number: int, tell: Callable[[Told], None]) -> None:
        self._number, self._tell = number, tell
        self._totals: dict[str, int] = {}
        self._done: dict[str, set[int]] = {}
        self._run: dict[str, int] = {}
        self._last = 0.0

    def stage(self, name: str, frames: int) -> None:
        self._totals[name] = frames
        self._say(name, always=True)

    def unit(self, decision: Decision) -> None:
        name = decision.stage
        self._done.setdefault(name, set()).update(decision.span.indices())
        if decision.action == "run":
            self._run[name] = self._run.get(name, 0) + len(decision.span)
        self._say(name, always=False)

    def _say(self, name: str, *, always: bool) -> None:
        now = time.monotonic()
        if not always and now - self._last < TOLD_EVERY_S:
            return
        self._last = now
        done = len(self._done.get(name, ()))
        self._tell(Told(self._number, name, done, max(self._totals.get(name, 1), done), self._run.get(name, 0)))


def prompts_digest_or_fail(job: Job) -> str:
    try:
        return prompts_digest(job)
    except OSError as error:
        raise ScriptError(f"{error.filename} cannot be read: {error.strerror}: check the jobs file") from error


def _outcome(job: Job, status: Status, report: Report, frames: int, size_wh: Sequence[int]) -> Outcome:
    return Outcome(job.number, status, "", report.to_json(), report.outputs, 0.0, frames, (size_wh[0], size_wh[1]))


def _unforeseen(failed: Outcome, error: Exception) -> Outcome:
    """A library that ran out of memory, or our own fault: then the traceback goes to a file."""
    if any(words in str(error) for words in SHORT_OF_MEMORY):
        return dataclasses.replace(failed, status="died", error=NO_MEMORY)
    kept = ""
    with contextlib.suppress(OSError):  # where even this cannot be written, the words must do
        number, name = tempfile.mkstemp(prefix="tam-edit-", suffix=".txt")
        with open(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
        kept = f"; please report it with {name}"
    return dataclasses.replace(failed, error=f"an error of tam-edit itself ({type(error).__name__}: {error}){kept}")


def _make_folder(folder: Path) -> None:
    """The folder that a batch writes to; a pattern may name many."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"{folder} cannot be made: {error.strerror}: choose another place") from error


def _clear_beginnings(folder: Path) -> None:
    """Take away what a project leaves that was killed while it was made: nothing but unfinished hidden files."""
    left = list(folder.iterdir()) if folder.is_dir() else []
    if all(path.name.startswith(f".{SCRIPT_NAME}-") and path.is_file() for path in left):
        for path in left:
            path.unlink(missing_ok=True)


def _follow_clip(edit: Edit, clip: Path) -> None:
    """A kept project follows its clip: the jobs file says the prompts of whatever lies there."""
    digest = source_digest(edit.bench.store, clip)
    source = edit.script.source
    if source.digest != digest:
        edit.bench.change(
            lambda script: dataclasses.replace(script, source=dataclasses.replace(script.source, digest=digest))
        )


def _lent(path: str) -> Callable[[EditScript], EditScript]:
    """A change that takes objects and effects over from another script, its files counted from where that lies."""
    place = script_path(path)
    try:
        lender = EditScript.parse(place.read_text(encoding="utf-8-sig"), str(place))
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(f"script {place} cannot be read ({error}): name an edit.json or a project") from error
    effects = tuple(located(effect, place.parent.resolve()) for effect in lender.effects)
    return lambda script: dataclasses.replace(script, objects=lender.objects, effects=effects)


def _saying(item: SaidInJob) -> Saying:
    given = {name: value for name, value in vars(item).items() if name != "object"}
    return Saying(**given)


def _read_said(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_bytes())["said"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

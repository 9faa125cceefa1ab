"""Attempts in processes of their own: a crash, a hang or a limit ends one of them and nothing else."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.torture.verdict import BROKEN, Verdict

TIMEOUT_S = 120.0
MOST_SAID = 600

# All that an attempt imports is loaded once, in the process from which the attempts are forked.
PRELOADED = ["tests.torture.topics", "tests.torture.preload"]

Ended = tuple[str, str, str]
"""kind, words, detail: what an attempt returns."""
Attempt = Callable[[Path, random.Random], Ended]


@dataclass(frozen=True)
class Called:
    """One call of the command line: how it ended, what it said, and which error it told."""

    status: int
    out: str
    err: str
    error: str

    @property
    def said(self) -> str:
        return (self.err + self.out).strip()[-MOST_SAID:]

    def broken(self) -> Ended | None:
        """What must never happen; None when it did not."""
        whole = self.err + self.out
        if "Traceback" in whole or "error of tam-edit itself" in whole:
            return "traceback", self.said, self.error
        if self.status not in (0, 1, 2):
            return "crash", f"status {self.status}: {self.said}", ""
        if self.status and not self.said:
            return "wrong result", f"status {self.status} and not a word", ""
        return None

    def ended(self) -> Ended:
        """Worked or failed with words; for attempts with no result to look at."""
        told: Ended = ("worked", "", "") if self.status == 0 else ("clean error", self.said, self.error)
        return self.broken() or told


def call(*words: object) -> Called:
    """Run a command line in this process, its streams in files: also what C libraries write is seen."""
    from tam_edit import cli

    errors: list[str] = []
    fail, show = cli._fail, sys.argv

    def noted(wants_json: bool, status: int, text: str) -> None:
        errors.append(type(sys.exc_info()[1]).__name__)
        with contextlib.suppress(OSError):  # for whoever looks into a verdict
            Path(tempfile.gettempdir(), f"error-{os.getpid()}.txt").write_text(traceback.format_exc())
        fail(wants_json, status, text)

    status = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _streams(out.fileno(), err.fileno()):
        sys.argv = ["tam-edit", *map(str, words)]
        cli._fail = noted
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        finally:
            cli._fail, sys.argv = fail, show
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(ValueError):
                    stream.flush()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    usage = "UsageError" if status == 2 else ""
    return Called(status, texts[0], texts[1], errors[-1] if errors else usage)


@contextlib.contextmanager
def _streams(out: int, err: int) -> Iterator[None]:
    kept = os.dup(1), os.dup(2)
    former = sys.stdout, sys.stderr
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError):
                stream.close()
        sys.stdout, sys.stderr = former
        for number, place in zip(kept, (1, 2), strict=True):
            os.dup2(number, place)
            os.close(number)


def forked(work: Callable[[], int]) -> int:
    """Do work in a child of this process and return its id; the child's status is what work returns."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        status = work()
    except KeyboardInterrupt:
        status = 1
    except BaseException:  # noqa: BLE001 - nothing may go on beyond this in a second copy of the caller
        traceback.print_exc()
    finally:
        os._exit(status)


def waited(child: int, timeout_s: float) -> int | None:
    """How a child ended (negative: by a signal); None when it had to be killed since it took too long."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def tried(
    topic: str, attempt: Attempt, numbers: Sequence[int], seed: int, folder: Path, *, processes: int, timeout_s: float
) -> Iterator[Verdict]:
    """The verdicts of attempts, each in a process and a folder of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)

    def one(number: int) -> Verdict:
        place = folder / f"{topic}-{number}"
        place.mkdir(parents=True)
        told = folder / f"{topic}-{number}.json"
        process = context.Process(target=_inside, args=(attempt, place, f"{seed}/{topic}/{number}", told))
        process.start()
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
            process.join()
            ended: Ended = ("hang", f"no end within {timeout_s:.0f} s", "")
        elif told.exists() and told.stat().st_size:
            ended = tuple(json.loads(told.read_text()))
        else:
            ended = ("crash", f"its process ended with {process.exitcode}: {_log(told)}", "")
        if ended[0] not in BROKEN and topic != "material":
            shutil.rmtree(place, ignore_errors=True)
        return Verdict(topic, number, *ended)

    with ThreadPoolExecutor(processes) as pool:
        yield from pool.map(one, numbers)


def _log(told: Path) -> str:
    log = told.with_suffix(".log")
    return log.read_text(errors="replace")[-MOST_SAID:] if log.exists() else ""


def _inside(attempt: Attempt, place: Path, seed: str, told: Path) -> None:
    """A process's whole life."""
    from tests.torture import preload, rights

    log = os.open(told.with_suffix(".log"), os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w") for number in (1, 2))
    os.environ["TAM_EDIT_CACHE"] = str(place / "once-cache")
    scratch = place / "tmp"
    scratch.mkdir()
    tempfile.tempdir = str(scratch)  # reports of tracebacks stay with the attempt
    os.environ["HOME"] = str(place)
    told.touch()
    rights.become_nobody([place, scratch, told])
    os.chdir(place)
    preload.quick_engines()
    try:
        ended = attempt(place, random.Random(seed))
    except Exception:  # noqa: BLE001 - the test's own fault is told as such
        ended = ("broken test", traceback.format_exc()[-MOST_SAID:], "")
    with told.open("w") as file:
        json.dump(ended, file)

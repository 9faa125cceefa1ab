"""Attempts in bad surroundings: folders without rights, full disks, clocks that jump, little memory."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tam_edit import limits
from tests.torture import material, preload, rights
from tests.torture.box import Called, Ended, call, forked, waited
from tests.torture.rights import BIND, READ_ONLY, REMOUNT, NoMounts, mount, private_mounts

RUN_S = 60.0


# Rights


def read_only(folder: Path, rng: random.Random) -> Ended:
    """Something cannot be written or read; afterwards, with the rights back, the same job must succeed."""
    if os.getuid() == 0:
        return "skipped", "root may write everywhere: run as another user", "run by root"
    place, output = material.project(folder), folder / "out" / "out.mp4"
    output.parent.mkdir()
    warmed_up(folder)
    rights.keep([])
    if rng.random() < 0.5:
        call("track", place)
    target = {
        "project": place,
        "cache": place / "cache",
        "reports": place / "reports",
        "output's folder": output.parent,
        "clip": folder / "ball.mp4",
        "edit.json": place / "edit.json",
        "history": place / ".history.json",
        "all of the cache": place / "cache",
    }
    what = rng.choice(list(target))
    path = target[what]
    if not path.exists():
        path.mkdir()
    places = [path] if what != "all of the cache" else [*path.rglob("*"), path]
    modes = {each: each.stat().st_mode for each in places}
    for each in places:
        each.chmod(0o000 if what in ("clip", "edit.json", "history") else 0o555 if each.is_dir() else 0o444)
    words: tuple[object, ...] = ("remove", place, "-o", output)
    if rng.random() < 0.3:
        words = ("mark", place, "--object", "ball", "--frame", 4, "--point", "15,15")
    called = call(*words)
    for each in reversed(places):
        each.chmod(modes[each])
    if found := called.broken() or material.left_over(output.parent):
        return found
    if "mark" in words:
        json.loads((place / "edit.json").read_text())
        return _named(called, what)
    return _after(place, output, called, what)


def mounted_read_only(folder: Path, rng: random.Random) -> Ended:
    """The project, its clip and the output lie on a disk that is mounted read-only."""
    place = material.project(folder, rng.choice(["fresh", "ball"]))
    try:
        warmed_up(folder)
        private_mounts()
        mount(str(folder), folder, None, BIND)
        # An unprivileged remount must keep the restrictions that the mount below has.
        for kept in (0, 2 | 4, 2 | 4 | 1024, 2 | 4 | 8, 1024, 2097152, 2 | 4 | 2097152):
            with contextlib.suppress(NoMounts):
                mount(str(folder), folder, None, BIND | REMOUNT | READ_ONLY | kept)
                break
        else:
            return "skipped", "no read-only mount is allowed here", "no mounts"
    except NoMounts as error:
        return "skipped", f"no mounts are allowed here: {error}", "no mounts"
    os.chdir("/")
    os.chdir(folder)
    tempfile.tempdir = "/tmp"
    with contextlib.suppress(OSError):
        (folder / "can I write").touch()
        return "broken test", "the mount is not read-only", ""
    called = call("remove", place, "-o", folder / "out.mp4")
    if called.status == 0:
        return "wrong result", "worked on a read-only disk", ""
    return called.broken() or called.ended()


def warmed_up(folder: Path) -> None:
    """Do the job once elsewhere: what Python loads at first use is loaded before rights are given up."""
    elsewhere = folder / "warm-up"
    elsewhere.mkdir()
    (folder / "material-0").symlink_to(material.of(folder))
    place = material.project(elsewhere)
    for words in (
        ("mark", place, "--object", "b", "--frame", 4, "--point", "15,15"),
        ("remove", place, "-o", elsewhere / "out.mp4"),
        ("remove", place, "-o", elsewhere / "no" / "out.mp4"),
    ):
        call(*words)


def _named(called: Called, what: str) -> Ended:
    kind, words, error = called.broken() or called.ended()
    return kind, f"{what}: {words}", error and f"{error} ({what})"


def _after(place: Path, output: Path, called: Called, what: str) -> Ended:
    """The same job once the obstacle is gone; the verdict is the first call's."""
    if called.status == 0 and (wrong := material.wrong_bytes(place.parent, output)):
        return wrong
    again = call("remove", place, "-o", output)
    if again.status:
        return "wrong result", f"after {what}: {again.said}", ""
    return material.wrong_bytes(place.parent, output) or _named(called, what)


# Room


def full_disk(folder: Path, rng: random.Random) -> Ended:
    """A small disk that fills up in the middle; afterwards, with more room, the same job must succeed."""
    disk = folder / "disk"
    disk.mkdir()
    try:
        warmed_up(folder)
        private_mounts()
        mount("tmpfs", disk, "tmpfs", 0, "size=64m")
    except NoMounts as error:
        return file_size_limit(folder, rng) if rng.random() < 0.5 else ("skipped", f"no mounts: {error}", "no mounts")
    place = material.project(disk)
    used = os.statvfs(disk)
    taken = (used.f_blocks - used.f_bfree) * used.f_frsize
    output = disk / "out.mp4"
    mount("tmpfs", disk, "tmpfs", REMOUNT, f"size={(taken + rng.randrange(0, 500_000)) // 1024}k")
    before = (place / "edit.json").read_text()
    marks = rng.random() < 0.2
    called = call(
        *(("mark", place, "--object", "b", "--box", "60,40,80,60") if marks else ("remove", place, "-o", output))
    )
    after = (place / "edit.json").read_text()
    json.loads(after)
    if marks and called.status and before != after:
        return "wrong result", "the mark failed, but edit.json has it", ""
    mount("tmpfs", disk, "tmpfs", REMOUNT, "size=64m")
    if found := called.broken() or material.left_over(disk):
        return found
    if marks:
        return called.ended()
    if called.status and output.exists():
        return "wrong result", "failed, but an output is there", ""
    return _after(place, output, called, "a full disk")


def file_size_limit(folder: Path, rng: random.Random) -> Ended:
    """No file may grow beyond a limit: what a quota looks like from inside."""
    place, output = material.project(folder), folder / "out.mp4"
    limit = rng.choice([0, 100, 1000, 4096, rng.randrange(10_000), rng.randrange(60_000)])

    def limited() -> int:
        # Streams are opened first: they are files too, and are not what is tested here.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        from tam_edit import Edit, errors

        try:
            Edit.open(place).remove(output)
        except errors.TamEditError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            (folder / "told").write_text(f"{type(error).__name__}\n{error}")
            return 1
        return 0

    status = waited(forked(limited), RUN_S)
    if status is None:
        return "hang", f"with files up to {limit} bytes", ""
    if status not in (0, 1):
        return "traceback", f"status {status} with files up to {limit} bytes", ""
    error, _, words = (folder / "told").read_text().partition("\n") if status else ("", "", "")
    called = Called(status, "", words, error)
    if found := material.left_over(folder):
        return found
    return _after(place, output, called, "a limit for files")


# Time


def clock_jumps(folder: Path, rng: random.Random) -> Ended:
    """Each look at the clock gives another year, and files come from the future: nothing but names may change."""
    place, output = material.project(folder, rng.choice(["fresh", "ball"])), folder / "out.mp4"
    for path in [*place.rglob("*"), folder / "ball.mp4"]:
        if rng.random() < 0.5:
            stamp = rng.choice([0, 1, 2**31 + 7, 2**33, time.time() + 86400])
            os.utime(path, (stamp, stamp))
    with jumping(rng):
        calls = [
            call("remove", place, "-o", output),
            call("mark", place, "--object", "b", "--frame", 2, "--box", "60,40,80,60"),
            call("undo", place),
            call("cache", "verify", place),
            call("remove", place, "-o", output, "--json"),
        ]
    for called in calls:
        if called.broken() or called.status:
            return called.broken() or ("wrong result", f"the clock stopped the work: {called.said}", called.error)
    ran = [stage for stage in json.loads(calls[-1].out)["stages"] if stage["frames_run"]]
    if ran:
        return "lost work", f"run again after a jump of the clock: {ran}", ""
    return material.wrong_bytes(folder, output) or ("worked", "", "")


@contextlib.contextmanager
def jumping(rng: random.Random) -> Iterator[None]:
    """The wall clock jumps by years at each look; the steady one, by which waiting is measured, goes on."""
    kept: dict[str, Callable[..., Any]] = {name: getattr(time, name) for name in ("time", "time_ns")}
    time.time = lambda: float(rng.randrange(2**33))
    time.time_ns = lambda: rng.randrange(2**33) * 10**9
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(time, name, function)


# Memory


def little_memory(folder: Path, rng: random.Random) -> Ended:
    """A process that may take only so much memory: a message, and nothing half-done."""
    place, output = material.project(folder), folder / "out.mp4"
    if rng.random() < 0.3:
        preload.real_engines()
    call("track", place)  # what is loaded at first use is there, so that the limit meets the work
    room = rng.randrange(0, 160 << 20)
    if rng.random() < 0.8:  # else the limit is told before any work begins
        limits.check_address_space = lambda: None

    def limited() -> int:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
        called = call("remove", place, "-o", output)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / "told.json").write_text(json.dumps([called.status, called.out, called.err, called.error]))
        return 0

    status = waited(forked(limited), RUN_S)
    if status is None:
        return "hang", f"with {room >> 20} MiB", ""
    if status < 0:
        # Some C libraries do not look whether they were given memory, or end the process by themselves: then it is as
        # with a kill, and what must hold is that nothing is lost.
        preload.quick_engines()
        wrong = material.left_over(folder) if output.exists() else None
        called = call("remove", place, "-o", output)
        name = signal.Signals(-status).name
        if called.status:
            return "wrong result", f"after {name} it does not go on: {called.said}", ""
        return wrong or material.wrong_bytes(folder, output) or ("stopped", name, f"{name} in a library")
    if status != 0 or not (folder / "told.json").exists():
        return "crash", f"status {status} with {room >> 20} MiB", ""
    called = Called(*json.loads((folder / "told.json").read_text()))
    if found := called.broken() or material.left_over(folder):
        return found
    preload.quick_engines()
    if called.status and output.exists():
        return "wrong result", "failed, but an output is there", ""
    again = folder / "again.mp4"
    if call("remove", place, "-o", again).status:
        return "wrong result", "with memory back it does not go on", ""
    return material.wrong_bytes(folder, again) or called.ended()


def worker_without_memory(folder: Path, rng: random.Random) -> Ended:
    """A worker of a batch takes more than it may: its job fails in words, all others are done."""
    from tests.batch.support import done_by_workers, greedy, job, project, states

    names = ["a", "b", "c"]
    large = rng.randrange(len(names))
    projects = [project(folder, name, frames=13 if at == large else 8) for at, name in enumerate(names)]
    batch = done_by_workers([job(at, place) for at, place in enumerate(projects, start=1)], greedy, workers=2)
    expected = ["failed" if at == large else "done" for at in range(len(names))]
    if states(batch) != expected:
        return "wrong result", f"{states(batch)} instead of {expected}", ""
    outcome = batch.all[large].outcome
    words = outcome.error if outcome is not None else ""
    if "memory" not in words or "Traceback" in words:
        return "traceback", words, ""
    return "clean error", words, "want of memory"

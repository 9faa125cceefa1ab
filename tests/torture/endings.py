"""Attempts that end a run: kills and signals at random moments, damage to what was kept, many processes at once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tam_edit.engine.store import Store
from tests import scenes
from tests.torture import damage, material
from tests.torture.box import Ended, call, forked, waited

PAUSE_S = 0.004
ONE_RUN_S = 1.6
"""About how long the slowed run of 60 frames takes; kills are spread over a little more than that."""
STAGES = ("probe", "segment", "propagate", "soften", "matte", "inpaint", "encode")
TIMEOUT_S = 60.0
CROWD = 32


def killed(folder: Path, rng: random.Random) -> Ended:
    """SIGKILL at a random moment of a whole job; then it is run to its end, and nothing that was kept is run again."""
    return _stopped(folder, rng, signal.SIGKILL)


def asked_to_stop(folder: Path, rng: random.Random) -> Ended:
    """The same with SIGTERM and SIGINT, which must be obeyed at once, and said."""
    return _stopped(folder, rng, rng.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGINT]))


def _stopped(folder: Path, rng: random.Random, number: signal.Signals) -> Ended:
    place, output = material.project(folder, "long", "long"), folder / "out.mp4"
    sign = folder / "sign"

    def job() -> int:
        slow_and_telling(sign)
        called = call("remove", place, "-o", output)
        (folder / "said").write_text(called.err + called.out)
        return called.status

    child = forked(job)
    while not sign.exists():
        time.sleep(0.001)
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0, ONE_RUN_S))
    else:  # most time goes by in a few stages: the others are waited for
        wait_for(rng.choice(STAGES), sign)
        time.sleep(rng.uniform(0, 0.01))
    stage = sign.read_text() or "start"
    os.kill(child, number)
    status = waited(child, TIMEOUT_S)
    if status is None:
        return "hang", f"{number.name} during {stage}", ""
    said = (folder / "said").read_text() if (folder / "said").exists() else ""
    if "Traceback" in said or "tam-edit itself" in said:
        return "traceback", said, stage
    if number == signal.SIGKILL and status not in (0, -number):
        return "crash", f"status {status} during {stage}", ""
    if number != signal.SIGKILL:
        if status not in (0, 1) and stage != "start":
            return "crash", f"{number.name} during {stage}: status {status}", ""
        if status == 1 and "stopped" not in said:
            return "wrong result", f"{number.name} during {stage}: it does not say that it stopped: {said}", ""
        if left := material.left_over(folder):
            return left
    if output.exists() and (wrong := material.wrong_bytes(folder, output, "long-clean.mp4")):
        return wrong
    finished = status == 0
    return goes_on(folder, place, output) or ("worked" if finished else "stopped", stage, f"during {stage}")


def wait_for(stage: str, sign: Path) -> None:
    """Until a stage is under way, or long enough for a run to be over."""
    end = time.monotonic() + 4 * ONE_RUN_S
    while time.monotonic() < end and not sign.read_text().startswith(stage):
        time.sleep(0.0005)


def slow_and_telling(sign: Path) -> None:
    """Engines that take a moment for each frame, and the stage under way in a file that outlives a kill."""
    from tam_edit.engine.runner import Runner

    fill, step = scenes.MeanFiller.fill, scenes.ColourTracker.step

    def slow_fill(self: scenes.MeanFiller, start: int, stop: int) -> Iterator[scenes.Rgb]:
        for filled in fill(self, start, stop):
            time.sleep(PAUSE_S)
            yield filled

    def slow_step(self: scenes.ColourTracker, *given: Any, **named: Any) -> Any:
        time.sleep(PAUSE_S)
        return step(self, *given, **named)

    scenes.MeanFiller.fill = slow_fill  # type: ignore[method-assign]
    scenes.ColourTracker.step = slow_step  # type: ignore[method-assign]
    obtain = Runner.obtain
    number = os.open(sign, os.O_CREAT | os.O_RDWR)

    def telling(self: Runner, unit: Any, compute: Any, **others: Any) -> Any:
        tell(unit.stage.name)
        found = obtain(self, unit, compute, **others)
        tell(f"{unit.stage.name}, between chunks")
        return found

    def tell(name: str) -> None:
        os.ftruncate(number, 0)
        os.pwrite(number, name.encode(), 0)

    Runner.obtain = telling  # type: ignore[method-assign]


def goes_on(folder: Path, place: Path, output: Path) -> Ended | None:
    """What is wrong with what a stopped run left behind, after it was run to its end; None if nothing."""
    store = Store(place / "cache")
    if damaged := store.verify():
        return "wrong result", f"the cache holds half-written entries: {damaged}", ""
    entries = list((place / "cache").rglob("keys/*/*"))
    for path in entries:  # the store dates what it uses anew after ten minutes: the materials may be as old
        os.utime(path)
    kept = {path: path.stat().st_mtime_ns for path in entries}
    output.unlink(missing_ok=True)
    called = call("remove", place, "-o", output)
    if called.broken() or called.status:
        return called.broken() or ("wrong result", f"it does not go on: {called.said}", "")
    again = [path.name for path, stamp in kept.items() if not path.exists() or path.stat().st_mtime_ns != stamp]
    if again:
        return "lost work", f"{len(again)} of {len(kept)} finished chunks were run again", ""
    if left := material.left_over(folder):
        return left
    return material.wrong_bytes(folder, output, "long-clean.mp4")


# What was kept


def damaged_cache(folder: Path, rng: random.Random) -> Ended:
    """Some entries of the cache are flipped, cut, emptied, gone or exchanged: they are made again, the rest is used."""
    place, output = material.project(folder, "ball"), folder / "out.mp4"
    entries = sorted(path for path in (place / "cache").rglob("*") if path.is_file())
    for path in rng.sample(entries, min(rng.choice([1, 1, 2, 5, len(entries)]), len(entries))):
        if not path.exists():
            continue
        action = rng.random()
        if action < 0.1:
            path.unlink()
        elif action < 0.2:
            path.write_bytes(rng.choice([entry for entry in entries if entry.exists()]).read_bytes())
        else:
            path.write_bytes(damage.bytes_of(path.read_bytes(), rng)[0])
    for name in (".history.json", "reports"):
        other = place / name
        if rng.random() < 0.2 and other.is_file():
            other.write_bytes(damage.bytes_of(other.read_bytes(), rng)[0])
    called = call("remove", place, "-o", output)
    if called.broken() or called.status:
        return called.broken() or ("wrong result", f"it does not go on: {called.said}", called.error)
    mended = Store(place / "cache").verify()
    undone = call("undo", place)
    if undone.broken():
        return undone.broken() or undone.ended()
    # An entry that this run did not need may lie there damaged; what is read is checked.
    unread = "with damage that was not read" if mended else "with all damage mended"
    return material.wrong_bytes(folder, output) or ("worked", "", unread)


# Many at once


def crowd(folder: Path, rng: random.Random) -> Ended:
    """32 processes work on one store at once: clips without a project, some pruning, some killed."""
    shared = folder / "shared-cache"
    os.environ["TAM_EDIT_CACHE"] = str(shared)
    shutil.copyfile(material.of(folder) / "ball.mp4", folder / "ball.mp4")
    clip = folder / "ball.mp4"
    points = ("--box", material.BOX)
    reference = folder / "reference.mp4"
    if (called := call("remove", clip, "-o", reference, *points)).status:
        return "broken test", called.said, ""
    shutil.rmtree(shared)
    roles = ["remove"] * (CROWD - 8) + ["prune"] * 3 + ["verify"] * 2 + ["die"] * 3
    rng.shuffle(roles)

    def member(at: int, role: str, seed: int) -> int:
        own = random.Random(seed)
        if role in ("remove", "die"):
            called = call("remove", clip, "-o", folder / f"{at}.mp4", *points)
        else:
            for _ in range(10):
                time.sleep(own.uniform(0, 0.2))
                if shared.exists():
                    store = Store(shared)
                    store.prune(own.choice([0, 20_000])) if role == "prune" else store.verify()
            return 0
        (folder / f"{at}.said").write_text(called.err + called.out)
        return 71 if called.broken() else called.status

    children = {}
    for at, role in enumerate(roles):
        seed = rng.randrange(2**32)
        children[at] = forked(lambda at=at, role=role, seed=seed: member(at, role, seed))  # type: ignore[misc]
    time.sleep(rng.uniform(0.5, 2))
    for at, role in enumerate(roles):
        if role == "die":
            os.kill(children[at], signal.SIGKILL)
    for at, child in children.items():
        status = waited(child, 4 * TIMEOUT_S)
        if roles[at] == "die":
            continue
        said = (folder / f"{at}.said").read_text() if (folder / f"{at}.said").exists() else ""
        if status != 0:
            return "hang" if status is None else "crash", f"{roles[at]}: status {status}: {said}", ""
        if roles[at] == "remove" and (folder / f"{at}.mp4").read_bytes() != reference.read_bytes():
            return "wrong result", f"process {at} wrote other bytes", ""
    damaged = Store(shared).verify()
    if damaged:
        return "wrong result", f"damaged: {damaged}", ""
    return "worked", "", ""


def crowd_on_one_project(folder: Path, rng: random.Random) -> Ended:
    """32 processes mark and run one project at once: they wait for each other, and every mark is there afterwards."""
    place = material.project(folder, "ball")
    frames = list(range(1, 9))

    def member(at: int) -> int:
        if at < len(frames):
            words: tuple[object, ...] = (
                "mark",
                place,
                "--object",
                "ball",
                "--frame",
                frames[at],
                "--box",
                "60,40,80,60",
            )
        elif at % 2:
            words = ("remove", place, "-o", folder / "same.mp4")
        else:
            words = ("track", place)
        called = call(*words)
        (folder / f"{at}.said").write_text(called.err + called.out)
        return 71 if called.broken() else called.status

    children = [forked(lambda at=at: member(at)) for at in range(CROWD)]  # type: ignore[misc]
    for at, child in enumerate(children):
        status = waited(child, 4 * TIMEOUT_S)
        if status != 0:
            said = (folder / f"{at}.said").read_text() if (folder / f"{at}.said").exists() else ""
            return "hang" if status is None else "crash", f"status {status}: {said}", ""
    from tam_edit import Edit

    marked = set(Edit.open(place).script.objects[0].prompts)
    if not marked >= set(frames):
        return "lost work", f"marked are {sorted(marked)}, not all of {frames}", ""
    output, fresh = folder / "out.mp4", folder / "fresh.edit"
    if (called := call("remove", place, "-o", output)).status:
        return called.broken() or ("wrong result", called.said, "")
    fresh.mkdir()
    shutil.copyfile(place / "edit.json", fresh / "edit.json")
    if (called := call("remove", fresh, "-o", folder / "fresh.mp4")).status:
        return "broken test", called.said, ""
    same = output.read_bytes() == (folder / "fresh.mp4").read_bytes()
    return ("worked", "", "") if same else ("wrong result", "other bytes than a project of its own gives", "")

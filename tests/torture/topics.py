"""All topics: what is tried, how often, by which attempt; and running them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.torture import endings, inputs, material, place
from tests.torture.box import TIMEOUT_S, Attempt, tried
from tests.torture.verdict import Row, Verdict, in_words


@dataclass(frozen=True)
class Topic:
    """So many attempts of one kind; at least `least` of them at any scale."""

    title: str
    attempt: Attempt
    times: int
    least: int = 1
    timeout_s: float = TIMEOUT_S
    processes: int = 2


TOPICS = {
    "videos": Topic("damaged videos", inputs.mutated_video, 200),
    "scripts": Topic("damaged edit.json", inputs.mutated_script, 200),
    "jobs": Topic("damaged jobs files", inputs.mutated_jobs, 200),
    "names": Topic("hostile file names and links", inputs.hostile_name, 2 * (len(inputs.NAMES) + len(inputs.LINKS))),
    "rights": Topic("files and folders without rights", place.read_only, 50),
    "read-only": Topic("a disk mounted read-only", place.mounted_read_only, 10),
    "disk": Topic("a disk that fills up", place.full_disk, 60),
    "quota": Topic("a limit for the size of files", place.file_size_limit, 40),
    "clock": Topic("a clock that jumps by years", place.clock_jumps, 40),
    "memory": Topic("a process with little memory", place.little_memory, 60),
    "workers": Topic("a batch's worker out of memory", place.worker_without_memory, 6),
    "kills": Topic("kill -9 at a random moment", endings.killed, 200),
    "signals": Topic("SIGTERM and SIGINT at a random moment", endings.asked_to_stop, 60),
    "cache": Topic("cache entries flipped, cut, gone, exchanged", endings.damaged_cache, 100),
    "crowd": Topic("32 processes on one store", endings.crowd, 4, timeout_s=600, processes=1),
    "project": Topic("32 processes on one project", endings.crowd_on_one_project, 4, timeout_s=600, processes=1),
}


def scale_given() -> float:
    """How much of the full counts to try: TORTURE_SCALE, 1 when it is not set."""
    return float(os.environ.get("TORTURE_SCALE", "1"))


def count(topic: Topic, scale: float) -> int:
    return max(topic.least, round(topic.times * scale))


@contextmanager
def materials(seed: int) -> Iterator[Path]:
    """A folder that any user may enter, with the materials in it; TORTURE_KEEP leaves it there."""
    folder = Path(tempfile.mkdtemp(prefix="tam-edit-torture-", dir="/tmp" if os.name == "posix" else None))
    folder.chmod(0o755)
    made = list(tried("material", material.make, [0], seed, folder, processes=1, timeout_s=TIMEOUT_S))
    if made[0].kind != "skipped" and made[0].kind != "worked":
        raise RuntimeError(in_words(made))
    try:
        yield folder
    finally:
        if not os.environ.get("TORTURE_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def run(
    name: str, folder: Path, numbers: list[int], seed: int, watch: Callable[[Verdict], None] = lambda _: None
) -> Row:
    """All attempts of a topic with these numbers."""
    topic = TOPICS[name]
    row, began = Row(topic.title), time.monotonic()
    given = tried(name, topic.attempt, numbers, seed, folder, processes=topic.processes, timeout_s=topic.timeout_s)
    for verdict in given:
        row.verdicts.append(verdict)
        watch(verdict)
    row.seconds = time.monotonic() - began
    return row

"""What a job made, kept in its project: so that the next batch knows what is finished, and why something is not.

EDIT/results/<digest of effect and output>.json names digests of everything the output was made from, and the size and
digest of every file that was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tam_edit import __version__
from tam_edit.batch.jobs import Job, SaidInJob
from tam_edit.digest import digest_of
from tam_edit.effects import Alter, Pictured, Replace, located, names_a_file
from tam_edit.engine.report import Report, json_text
from tam_edit.errors import OutputUnwritable, TamEditError
from tam_edit.project import SCRIPT_NAME, Project, write_whole
from tam_edit.script import EditScript

FORMAT, VERSION = "tam-edit result", 1
_PICTURE_NUMBER = re.compile(r"%0?\d*d")
_BLOCK_BYTES = 1 << 20

# What a result is made from, in the order in which a change is told.
_WORDS = {
    "script": "the script changed",
    "clip": "the clip changed",
    "effect": "the effect's options changed",
    "engines": "another engine would run",
    "behind": "the background or picture changed",
    "prompts": "the prompts in the jobs file changed",
    "version": "another version of tam-edit made it",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a job's result is there and as the script wants it; if not, why. exists: something lies at the output."""

    finished: bool
    reason: str
    exists: bool = False
    ours: bool = False


def verdict(job: Job, *, thorough: bool = False) -> Verdict:
    """Look at what is there, without running anything; thorough: read the outputs and compare their digests.

    Whatever cannot be looked at (no project yet, a broken script, missing weights) counts as not finished: running
    the job tells what is wrong.
    """
    try:
        return _verdict(job, thorough=thorough)
    except OSError as error:  # a name that is too long, a folder that may not be read
        return Verdict(False, f"cannot be looked at ({error.strerror})")


def _verdict(job: Job, *, thorough: bool) -> Verdict:
    exists = bool(_files(job.output))
    folder = Path(job.project)
    if not Project.is_one(folder):
        return Verdict(False, "never run", exists)
    record = read_record(_record_path(job))
    if record is None:
        return Verdict(False, "no result of it yet", exists)
    if not exists:
        return Verdict(False, "its output is missing")
    changed = _changed_files(job, record, thorough=thorough)
    if changed:
        return Verdict(False, changed, exists)
    try:
        now = made_from(job)
    except (TamEditError, OSError) as error:
        return Verdict(False, f"cannot be compared ({error})", exists, ours=True)
    former = record["made_from"]
    reasons = [words for name, words in _WORDS.items() if name in now and former.get(name) != now[name]]
    if reasons:
        return Verdict(False, " and ".join(reasons), exists, ours=True)
    return Verdict(True, "nothing it was made from has changed", exists, ours=True)


def made_from(job: Job) -> dict[str, str]:
    """Digests of what the job's result follows from. Raises TamEditError and OSError for what cannot be read."""
    from tam_edit.pipelines.engines import resolve

    project = Project(Path(job.project))
    script = project.script()
    said = script.to_json()
    said["source"] = {name: value for name, value in said["source"].items() if name != "path"}
    settings = type(script.settings)(**{**vars(script.settings), **job.settings})
    engines = resolve(settings, job.engine_options())
    found = {
        "script": digest_of(said),
        "clip": digest_of(_stamps(project.source_path(script))),
        "effect": digest_of((job.effect, dict(job.options), dict(job.settings), dict(job.engine))),
        "engines": digest_of([engine.identity for engine in (engines.segmenter, engines.tracker, engines.inpainter)]),
        "behind": digest_of([_behind(place) for place in _files_behind(job, project, script)]),
        "version": __version__,
    }
    return found if job.clip is None else {**found, "prompts": prompts_digest(job)}


def prompts_digest(job: Job) -> str:
    """The digest of what the jobs file itself says of the objects."""
    script = script_path(job.script).read_bytes() if job.script is not None else b""
    masks = [Path(said.mask).read_bytes() for said in job.prompts if said.mask is not None and Path(said.mask).exists()]
    return digest_of(([_plain(said) for said in job.prompts], script, masks))


def _plain(said: SaidInJob) -> dict[str, Any]:
    """What is hashed of a prompt. What came later is left out where it is not said: old notes of it still hold."""
    plain = asdict(said)
    if not said.negative_scribbles:
        del plain["negative_scribbles"]
    return plain


def script_path(path: str) -> Path:
    """The edit.json that a job borrows: itself, or that of a project."""
    place = Path(path)
    return place / SCRIPT_NAME if place.is_dir() else place


def keep_result(job: Job, made: Mapping[str, str], report: Report, size_wh: Sequence[int]) -> Path:
    """Note a finished job in its project; made: `made_from` as it was when the run began."""
    project = Project(Path(job.project))
    folder = project.folder
    files = []
    for path in sorted({file for output in report.outputs for file in _files(output)}):
        status = path.stat()
        files.append(
            {
                "path": project.relative(path),
                "bytes": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "digest": digest_file(path),
            }
        )
    if not files:
        raise OutputUnwritable(f"{job.output} is gone as soon as it was written: does another program take it away?")
    record = {
        "format": FORMAT,
        "version": VERSION,
        "effect": job.effect,
        "output": project.relative(Path(job.output)),
        "options": dict(job.options),
        "settings": dict(job.settings),
        "engine": dict(job.engine),
        "overwrite": job.overwrite,
        "made_from": dict(made),
        "files": files,
        "engines": dict(report.engines),
        "size_wh": list(size_wh),
        "seconds": round(report.seconds, 3),
        "host": socket.gethostname(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    path = _record_path(job)
    folder.joinpath("results").mkdir(exist_ok=True)
    write_whole(path, (json_text(record, indent=2) + "\n").encode())
    return path


def digest_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _record_path(job: Job) -> Path:
    folder = Path(job.project)
    # The path as seen from the project, so that both can move together.
    return folder / "results" / f"{digest_of((job.effect, os.path.relpath(job.output, folder)))}.json"


def read_record(path: Path) -> dict[str, Any] | None:
    """A record; None when there is none that can be trusted: then the job is simply run."""
    try:
        record = json.loads(path.read_bytes())
        sound = record["format"] == FORMAT and record["version"] == VERSION and record["files"]
        tables = ("made_from", "options", "settings", "engine")
        sound = sound and all(isinstance(record[name], dict) for name in tables)
        sound = sound and all(isinstance(record[name], str) for name in ("effect", "output", "overwrite"))
        sound = sound and all(isinstance(item["path"], str) for item in record["files"])
        sound = sound and all({"path", "bytes", "mtime_ns", "digest"} <= item.keys() for item in record["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if sound else None


def _changed_files(job: Job, record: Mapping[str, Any], *, thorough: bool) -> str:
    """What is no longer as it was written, in words; nothing when all is."""
    folder = Path(job.project)
    for item in record["files"]:
        path = Path(os.path.normpath(folder / item["path"]))
        try:
            status = path.stat()
            same = status.st_size == item["bytes"]
            if same and (thorough or status.st_mtime_ns != item["mtime_ns"]):
                same = digest_file(path) == item["digest"]
        except (OSError, ValueError):
            return f"its output {path.name} is missing"
        if not same:
            return f"its output {path.name} is not the one that was written"
    return ""


def _files(output: str | Path) -> list[Path]:
    """The files of an output: itself, those in the folder, or the numbered pictures that its name stands for."""
    path = Path(output)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.is_file():
        return [path]
    if _PICTURE_NUMBER.search(path.name) and path.parent.is_dir():
        before, after = _PICTURE_NUMBER.split(path.name, maxsplit=1)
        name = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        return sorted(file for file in path.parent.iterdir() if name.fullmatch(file.name))
    return []


def _stamps(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a clip's files: its content is compared by the run itself."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(file.name, status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]]


def _files_behind(job: Job, project: Project, script: EditScript) -> list[Path]:
    """Clips, pictures and projects that the effect puts into the picture."""
    if job.effect != "render":
        named = [job.options[name] for name in ("background", "picture") if name in job.options]
        return [Path(name) for name in named if names_a_file(name)]
    found = []
    for effect in script.effects:
        moved = located(effect, project.folder)
        if isinstance(moved, Replace) and isinstance(moved.background, str) and names_a_file(moved.background):
            found.append(Path(moved.background))
        elif isinstance(moved, Alter) and isinstance(moved.how, Pictured):
            found.append(Path(moved.how.path))
    return found


def _behind(place: Path) -> list[Any]:
    """What a background is made from, as far as a look at it tells."""
    if not Project.is_one(place):
        return [_stamps(place)]
    project = Project(place)
    script = project.script()
    return [digest_of(script.to_json()), _stamps(project.source_path(script))]

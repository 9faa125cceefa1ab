"""The clip of a script: its digest, the first script for it, and whether a result that it is has changed since."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path

from tam_edit.digest import digest_of
from tam_edit.effects import with_files
from tam_edit.engine.store import Store
from tam_edit.errors import ScriptError, UsageError
from tam_edit.project import Project
from tam_edit.script import EditScript, ScriptSource
from tam_edit.settings import Settings

MOST_PROJECTS_DEEP = 8


def source_digest(store: Store, path: Path) -> str:
    """The digest of a source, from the store while its files have the same names, sizes and times of change."""
    from tam_edit.media.digests import digest_source

    if not path.exists():
        return digest_source(path)  # raises with the right words
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stamps = []
    for file in files:
        status = file.stat()
        stamps.append((file.name, status.st_size, status.st_mtime_ns, status.st_ino))
    key = digest_of(("source digest", str(path.resolve()), stamps))
    record = store.record(key)
    if record is None:
        record = store.put(key, facts={"digest": digest_source(path)})
    return str(record.facts["digest"])


def new_script(
    clip: Path, frame_rate: Fraction | str | None, allow_truncated: bool, settings: Settings | None
) -> EditScript:
    """The first script for a clip. Raises UsageError for a frame rate that is none."""
    from tam_edit.media.digests import digest_source

    rate = None
    if frame_rate is not None:
        # Checked as text first: an exponent such as 1e999999999 would be worked out digit by digit.
        if not re.fullmatch(r"\d{1,9}([./]\d{1,9})?", str(frame_rate)):
            raise UsageError(f"frame rate {frame_rate!r}: write frames a second, such as 25 or 30000/1001")
        try:
            rate = Fraction(str(frame_rate))
        except ZeroDivisionError as error:
            raise UsageError(f"frame rate {frame_rate!r}: write frames a second, such as 25 or 30000/1001") from error
    source = ScriptSource(os.path.realpath(clip), digest_source(clip), rate, allow_truncated)
    return EditScript(source, settings=settings or Settings())


def result_digest(store: Store, project: Project, depth: int = 0) -> str:
    """Names all that a project's result is made from: its clip, its script, and the files which its effects name.

    Engines are left out: another run's options, or weights installed meanwhile, are no change of the project.
    Raises ScriptError for a script with a mistake.
    """
    script = project.script()
    named: list[str] = []

    def noted(name: str) -> str:
        named.append(name)
        return name

    for effect in script.effects:
        with_files(effect, noted)
    clip = (script.source.digest, script.source.frame_rate, script.source.allow_truncated)
    files = [_file_digest(store, project.folder / name, depth) for name in named]
    return digest_of(("result", clip, script.objects, script.settings, script.effects, files))


def _file_digest(store: Store, path: Path, depth: int) -> str:
    if not path.exists() or depth >= MOST_PROJECTS_DEEP:
        return ""  # making the result tells what is wrong
    return result_digest(store, Project(path), depth + 1) if Project.is_one(path) else source_digest(store, path)


def changed_since(store: Store, project: Project, source: ScriptSource) -> str | None:
    """In words, that the result which a project's clip was copied from is another one now; None where it is not.

    A first project that is no longer where it was changes nothing: the copy is whole without it.
    """
    if source.result_of is None:
        return None
    folder = Path(os.path.normpath(project.folder / source.result_of))
    if not Project.is_one(folder):
        return None
    try:
        if result_digest(store, Project(folder)) == source.result_digest:
            return None
    except ScriptError as error:
        return f"whether the result of {folder} has changed since it was taken cannot be said: {error}"
    return (
        f"{folder} was changed after its result was taken as this project's clip: "
        f"'tam-edit refresh {project.folder}' takes it anew, marks and effects stay"
    )

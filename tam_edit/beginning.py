"""How a project begins, with a clip or with another project's result, and how such a result is taken anew."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from tam_edit.errors import SourceMissing, UsageError
from tam_edit.making import write_result
from tam_edit.project import Project
from tam_edit.script import EditScript
from tam_edit.settings import Settings
from tam_edit.sources import new_script, result_digest
from tam_edit.workbench import Workbench


def begin(
    clip: Path, folder: Path, frame_rate: Fraction | str | None, allow_truncated: bool, settings: Settings | None
) -> Project:
    """Make the project's folder with the first script for a clip, a file or a folder of pictures."""
    script = new_script(clip, frame_rate, allow_truncated, settings)
    # The path is kept relative to the folder, so that both can move together.
    return Project.create(folder, _with_source(script, path=os.path.relpath(clip.resolve(), folder.resolve())))


def begin_with_result(
    first: Project,
    bench: Workbench,
    folder: Path,
    frame_rate: Fraction | str | None,
    allow_truncated: bool,
    settings: Settings | None,
) -> Project:
    """Make the project's folder with the first project's result in it as the clip, every bit and time kept."""
    with _result(first, bench, folder) as (result, made_from):
        script = new_script(result, frame_rate, allow_truncated, settings)
        place = os.path.relpath(first.folder.resolve(), folder.resolve())
        script = _with_source(script, path=f"source{result.suffix}", result_of=place, result_digest=made_from)
        project = Project.create(folder, script)
        result.replace(folder / script.source.path)
    return project


def undo_beginning(project: Project, *, keep_folder: bool) -> None:
    """Take a project away again whose clip turned out not to be one; keep_folder: a folder that was there before."""
    if keep_folder:
        project.script_path.unlink(missing_ok=True)
        shutil.rmtree(project.cache, ignore_errors=True)
    else:
        shutil.rmtree(project.folder, ignore_errors=True)


def take_anew(project: Project, first: Project, bench: Workbench) -> bool:
    """Take the first project's result again as the clip of a project; returns whether it is another clip now."""
    former = project.script().source
    with _result(first, bench, project.folder) as (result, made_from):
        digest = new_script(result, None, False, None).source.digest
        taken = dataclasses.replace(former, digest=digest, result_digest=made_from)
        if digest != former.digest:
            # Under a name of its own: whenever this stops, the script and the clip that it names belong together.
            taken = dataclasses.replace(taken, path=f"source-{digest[:8]}{result.suffix}")
            result.replace(project.folder / taken.path)
        project.set_source(taken)
    if taken.path != former.path and Path(former.path).name == former.path:
        (project.folder / former.path).unlink(missing_ok=True)
    return taken.digest != former.digest


def first_of(project: Project) -> Project:
    """The project whose result is this one's clip. Raises UsageError where it is none, SourceMissing."""
    source = project.script().source
    if source.result_of is None:
        raise UsageError(
            f"{project.folder}: its clip is {source.path} and not another project's result: nothing can be taken anew"
        )
    folder = Path(os.path.normpath(project.folder / source.result_of))
    if not Project.is_one(folder):
        raise SourceMissing(
            f"the project {folder} is not there: bring it back, or change source.result_of in {project.script_path}"
        )
    return Project(folder)


def _with_source(script: EditScript, **fields: Any) -> EditScript:
    return dataclasses.replace(script, source=dataclasses.replace(script.source, **fields))


@contextlib.contextmanager
def _result(first: Project, bench: Workbench, folder: Path) -> Iterator[tuple[Path, str]]:
    """(The first project's result as a hidden file beside `folder`, what it is made from); the file is gone at last."""
    made_from = result_digest(bench.store, first)  # before the run, so that a change during it is told later
    result = write_result(bench, folder)
    try:
        yield result, made_from
    finally:
        result.unlink(missing_ok=True)

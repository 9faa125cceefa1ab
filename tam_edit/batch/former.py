"""Jobs without a jobs file: the results that the projects of a folder had, to be made again where out of date."""

from __future__ import annotations

import os
from pathlib import Path

from tam_edit.batch.jobs import EFFECTS, OVERWRITES, Job
from tam_edit.batch.reading import JobsFile
from tam_edit.batch.results import read_record
from tam_edit.errors import ScriptError
from tam_edit.project import SCRIPT_NAME

MOST_DEEP = 4
"""How far below the folder projects are looked for."""


def former_jobs(folder: Path) -> JobsFile:
    """The jobs behind all results noted in the projects of a folder. Raises ScriptError when there are none."""
    jobs: list[Job] = []
    warnings = []
    outputs: set[str] = set()
    for project in projects_below(folder):
        for path in sorted(project.glob("results/*.json")):
            record = read_record(path)
            if record is None or record.get("effect") not in EFFECTS:
                warnings.append(f"{path} cannot be read as a result: left out")
                continue
            output = os.path.normpath(project / record["output"])
            if output in outputs:
                warnings.append(f"{output} was made by two projects: only the first is looked at")
                continue
            outputs.add(output)
            job = Job(len(jobs) + 1, project.stem, 1, record["effect"], output, str(project))
            given = {name: record[name] for name in ("options", "settings", "engine")}
            given["overwrite"] = next((rule for rule in OVERWRITES if rule == record["overwrite"]), "always")
            jobs.append(Job(**{**vars(job), **given}))
    if not jobs:
        raise ScriptError(
            f"no project in {folder} has a result of a former batch: name a jobs file (see docs/batch.md), which says "
            "what is to be made"
        )
    return JobsFile(folder, tuple(jobs), tuple(warnings))


def projects_below(folder: Path) -> list[Path]:
    """Every project in a folder and some levels below it; there is none inside another."""
    found = []
    start = folder.resolve()
    for place, names, files in os.walk(start):
        if SCRIPT_NAME in files:
            found.append(Path(place))
            names.clear()
        elif len(Path(place).relative_to(start).parts) >= MOST_DEEP:
            names.clear()
        names.sort()
    return sorted(found)

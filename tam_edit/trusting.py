"""Trust: how far each object's mask can be believed, frame by frame, for reports, reviews and trust.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tam_edit.errors import UsageError
from tam_edit.project import write_whole
from tam_edit.workbench import Workbench

if TYPE_CHECKING:
    from tam_edit.pipelines.context import Context
    from tam_edit.pipelines.propagate import Tubes

TRUST_FILE = "trust.json"
ByObject = dict[str, dict[int, Mapping[str, float]]]


def tracked(bench: Workbench) -> Tubes:
    """The tubes of a clip that is tracked, without running anything. Raises UsageError while it is not."""
    from tam_edit.pipelines.recipes import tubes

    with bench.context(bench.runner(dry=True)) as context:
        found = tubes(context, bench.effective, bench.engines())
    if any(digest is None for digest in found.maps.digests.values()):
        raise UsageError("not everything is tracked yet: run 'tam-edit track' first")
    return found


def trust_by_object(found: Tubes, names: Sequence[str]) -> ByObject:
    """By object, then frame: "combined", 0..1, and its parts; frames without the object have no entry."""
    return {
        name: {frame: dict(parts[label]) for frame, parts in sorted(found.trust.items()) if label in parts}
        for label, name in enumerate(names, start=1)
    }


def keep_trust(bench: Workbench, context: Context, found: Tubes) -> None:
    """Tell the run's report how far the masks can be believed, and write it whole beside a project's script."""
    from tam_edit.pipelines.review import USUAL_THRESHOLD

    trust = trust_by_object(found, bench.script.names)
    ledger = context.runner.ledger
    ledger.facts["trust"] = {name: _summary(frames, USUAL_THRESHOLD) for name, frames in trust.items() if frames}
    if bench.project is not None:
        whole = {"threshold": USUAL_THRESHOLD, "objects": trust}
        write_whole(bench.project.folder / TRUST_FILE, (_lines(whole) + "\n").encode())


def _summary(frames: Mapping[int, Mapping[str, float]], threshold: float) -> dict[str, Any]:
    worst = min(frames, key=lambda frame: (frames[frame]["combined"], frame))
    return {
        "least": frames[worst]["combined"],
        "at": worst,
        "doubtful_frames": sum(parts["combined"] < threshold for parts in frames.values()),
    }


def _lines(whole: Mapping[str, Any]) -> str:
    """JSON with one line for each frame."""
    objects = []
    for name, frames in whole["objects"].items():
        rows = [f"      {json.dumps(str(frame))}: {json.dumps(parts)}" for frame, parts in frames.items()]
        objects.append(f"    {json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n    }")
    inner = "{\n" + ",\n".join(objects) + "\n  }" if objects else "{}"
    return f'{{\n  "threshold": {whole["threshold"]},\n  "objects": {inner}\n}}'

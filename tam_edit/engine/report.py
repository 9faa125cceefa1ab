"""What a run or a plan tells: frames run and reused with reasons, seconds, engines, versions, memory, warnings."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from tam_edit.engine.ledger import StageSummary


@dataclass(frozen=True)
class Report:
    """One run, or one plan (`planned`), of a command; `to_json` is what lies in EDIT/reports and what --json prints."""

    command: str
    exit: int
    outputs: tuple[str, ...] = ()
    engines: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[StageSummary, ...] = ()
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None
    planned: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def stage(self, name: str) -> StageSummary:
        """The summary of one stage; KeyError with the names there are."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name!r} in this run: there are {[stage.name for stage in self.stages]}")

    @property
    def frames_run(self) -> int:
        """Frames that ran in any stage; 0 when everything was reused."""
        return sum(stage.frames_run for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "exit": self.exit,
            "planned": self.planned,
            "outputs": list(self.outputs),
            "engines": dict(self.engines),
            "stages": [stage.to_json() for stage in self.stages],
            "seconds": round(self.seconds, 3),
            "peak_rss_bytes": self.peak_rss_bytes,
            "warnings": list(self.warnings),
            "error": self.error,
            "versions": versions(),
            **self.facts,
        }

    def to_text(self) -> str:
        return json_text(self.to_json(), indent=2) + "\n"


def json_text(tree: Any, indent: int | None = None) -> str:
    """JSON as people read it; in ASCII alone where a file name holds bytes that are no text and cannot be printed."""
    text = json.dumps(tree, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(tree, indent=indent)
    return text


def versions() -> dict[str, str]:
    """What the result depends on beside the inputs."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in ("tam-edit", "numpy", "opencv-python-headless", "scipy", "av"):
        found[package] = metadata.version(package)
    if "torch" in sys.modules:
        found["torch"] = metadata.version("torch")
    return found


def peak_rss_bytes() -> int:
    """The highest resident memory of this process so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def frames_run(report: Report, stage: str) -> Sequence[int]:
    """The frames that ran in a stage, as a range where they are one stretch, else as a list."""
    spans = report.stage(stage).run
    if not spans:
        return range(0)
    if len(spans) == 1:
        return range(spans[0].start, spans[0].stop)
    return [index for span in spans for index in span.indices()]

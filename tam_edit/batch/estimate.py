"""How long a batch would take: frames to run, times what a frame took in former runs on this kind of machine."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tam_edit.batch.running import Progress

MOST_REPORTS_OF_A_PROJECT = 20
# The engine that a stage's speed depends on.
ROLES = {"segment": "segmenter", "propagate": "tracker", "inpaint": "inpainter"}


@dataclass
class Pace:
    """Seconds and pixels by stage and engine, summed over former runs."""

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    pixels: dict[tuple[str, str], float] = field(default_factory=dict)
    reports: int = 0

    def learn(self, report: Mapping[str, Any], size_wh: tuple[int, int]) -> None:
        """Take a run's report in; what it did on another kind of machine says nothing."""
        if not _is_from_here(report):
            return
        self.reports += 1
        for stage in report["stages"]:
            key = _key(stage["name"], report.get("engines", {}))
            if stage["frames_run"]:
                self.seconds[key] = self.seconds.get(key, 0.0) + stage["seconds"]
                self.pixels[key] = self.pixels.get(key, 0.0) + stage["frames_run"] * size_wh[0] * size_wh[1]

    def estimate_s(self, report: Mapping[str, Any], size_wh: tuple[int, int]) -> tuple[float, tuple[str, ...]]:
        """Seconds that a planned run would take by itself, and the stages of which nothing is known yet."""
        total = 0.0
        unknown = []
        for stage in report["stages"]:
            frames = stage["frames_run"] + stage["frames_unknown"]
            key = _key(stage["name"], report.get("engines", {}))
            if frames and self.pixels.get(key):
                total += frames * size_wh[0] * size_wh[1] * self.seconds[key] / self.pixels[key]
            elif frames:
                unknown.append(stage["name"])
        return total, tuple(unknown)


@dataclass(frozen=True)
class Estimate:
    """seconds: of all jobs one after the other; None where no former run says anything. unknown: such stages."""

    seconds: float | None
    unknown: tuple[str, ...]
    reports: int

    def in_words(self) -> str:
        if self.seconds is None:
            return "no former run tells how long it takes: run one job first"
        if self.unknown:
            missing = ", ".join(self.unknown)
            return f"more than {span_in_words(self.seconds)}: no former run tells how long {missing} takes"
        return f"about {span_in_words(self.seconds)}, from {self.reports} former runs"


def estimate(planned: Iterable[Progress]) -> Estimate:
    """Estimate planned jobs from the reports in their own projects, and in each other's."""
    jobs = [item for item in planned if item.outcome is not None and item.outcome.report]
    pace = Pace()
    for folder, size_wh in {item.job.project: item.outcome.size_wh for item in jobs if item.outcome}.items():
        for path in sorted(Path(folder).glob("reports/*.json"))[-MOST_REPORTS_OF_A_PROJECT:]:
            report = _read(path)
            if report is not None:
                pace.learn(report, size_wh)
    total, unknown = 0.0, dict[str, None]()
    for item in jobs:
        if item.outcome is not None:
            seconds, missing = pace.estimate_s(item.outcome.report, item.outcome.size_wh)
            total += seconds
            unknown |= dict.fromkeys(missing)
    # Not divided by the workers: a former run had all cores to itself, so workers beside each other gain little.
    return Estimate(total if total or not unknown else None, tuple(unknown), pace.reports)


def _key(stage: str, engines: Mapping[str, str]) -> tuple[str, str]:
    return stage, engines.get(ROLES.get(stage, ""), "")


def _is_from_here(report: Mapping[str, Any]) -> bool:
    return bool(report["versions"].get("machine") == f"{platform.system()} {platform.machine()}")


def _read(path: Path) -> dict[str, Any] | None:
    """A report with what is needed of it; one that is broken tells nothing."""
    try:
        report: dict[str, Any] = json.loads(path.read_bytes())
        stages = [(item["name"], item["frames_run"] + 0, item["seconds"] + 0.0) for item in report["stages"]]
        return report if stages and report["versions"] and not report.get("planned") else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def span_in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

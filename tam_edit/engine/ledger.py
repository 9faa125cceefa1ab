"""What was decided for each unit, and why: the one list from which plans, reports and progress are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tam_edit.clip import FrameSpan

Action = Literal["run", "reuse", "unknown"]


@dataclass(frozen=True)
class Decision:
    """One unit's fate. reason is in words and always given; seconds is 0 unless it ran."""

    stage: str
    span: FrameSpan
    action: Action
    reason: str
    seconds: float = 0.0


@dataclass(frozen=True)
class StageSummary:
    """What one stage did over the whole clip, in frames; spans are half-open [start, stop]."""

    name: str
    run: tuple[FrameSpan, ...]
    reused: tuple[FrameSpan, ...]
    unknown: tuple[FrameSpan, ...]
    seconds: float
    reasons: tuple[str, ...]

    @property
    def frames_run(self) -> int:
        return sum(len(span) for span in self.run)

    @property
    def frames_reused(self) -> int:
        return sum(len(span) for span in self.reused)

    @property
    def frames_unknown(self) -> int:
        return sum(len(span) for span in self.unknown)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "frames_run": self.frames_run,
            "frames_reused": self.frames_reused,
            "frames_unknown": self.frames_unknown,
            "spans_run": [[span.start, span.stop] for span in self.run],
            "spans_reused": [[span.start, span.stop] for span in self.reused],
            "seconds": round(self.seconds, 3),
            "reasons": list(self.reasons),
        }


@dataclass
class Ledger:
    """Grows while a run or a plan goes through its units."""

    decisions: list[Decision] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What stages add to the report beside what ran, by name; plain JSON."""
    _warned: dict[str, set[int]] = field(default_factory=dict)

    def note(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def warn(self, words: str, frames: Iterable[int] = ()) -> None:
        """Keep a warning; the same words about several frames become one."""
        self._warned.setdefault(words, set()).update(frames)

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings in the order in which they first came, with the frames they are about."""
        return tuple(
            f"{frames_in_words(frames)}: {words}" if frames else words for words, frames in self._warned.items()
        )

    def stages(self) -> list[StageSummary]:
        """Summaries in the order in which the stages were first met."""
        return [self._summary(name) for name in dict.fromkeys(decision.stage for decision in self.decisions)]

    def _summary(self, name: str) -> StageSummary:
        mine = [decision for decision in self.decisions if decision.stage == name]
        run = _frames(decision.span for decision in mine if decision.action == "run")
        unknown = _frames(decision.span for decision in mine if decision.action == "unknown") - run
        # A frame counts as reused only if no part of its work in this stage ran.
        reused = _frames(decision.span for decision in mine if decision.action == "reuse") - run - unknown
        reasons: dict[str, set[int]] = {}
        for decision in mine:
            reasons.setdefault(decision.reason, set()).update(decision.span.indices())
        return StageSummary(
            name,
            _spans(run),
            _spans(reused),
            _spans(unknown),
            sum(decision.seconds for decision in mine),
            tuple(f"{frames_in_words(frames)}: {reason}" for reason, frames in reasons.items()),
        )


def _frames(spans: Iterable[FrameSpan]) -> set[int]:
    return {index for span in spans for index in span.indices()}


def _spans(frames: Iterable[int]) -> tuple[FrameSpan, ...]:
    return tuple(FrameSpan(start, last + 1) for start, last in _runs(sorted(frames)))


def _runs(frames: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = last = None
    for index in frames:
        if start is None or last is None or index != last + 1:
            if start is not None and last is not None:
                yield start, last
            start = index
        last = index
    if start is not None and last is not None:
        yield start, last


def frames_in_words(frames: Iterable[int], most: int = 4) -> str:
    """Say which frames, both ends included: "frame 3", "frames 0-29, 187-241"."""
    runs = list(_runs(sorted(set(frames))))
    if not runs:
        return "no frames"
    shown = ", ".join(str(start) if start == last else f"{start}-{last}" for start, last in runs[:most])
    more = f" and {len(runs) - most} more stretches" if len(runs) > most else ""
    single = len(runs) == 1 and runs[0][0] == runs[0][1]
    return f"{'frame' if single else 'frames'} {shown}{more}"

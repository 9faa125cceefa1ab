"""What came of one attempt, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

WELL = ("worked", "clean error", "stopped")
"""worked: the result was looked at and is right; clean error: said in words; stopped: killed, and nothing is lost."""

BROKEN = ("traceback", "crash", "hang", "wrong result", "left over", "lost work", "broken test")


@dataclass(frozen=True)
class Verdict:
    """One attempt: what was tried, one of WELL, BROKEN or "skipped", and in words what was said."""

    topic: str
    number: int
    kind: str
    words: str
    detail: str = ""  # which error, or which stage was under way


@dataclass
class Row:
    """All attempts of one topic."""

    title: str
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, *kinds: str) -> int:
        return sum(verdict.kind in kinds for verdict in self.verdicts)

    @property
    def broken(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.kind in BROKEN]

    def details(self) -> str:
        """How often each error or stage occurred, the most frequent first."""
        found = Counter(verdict.detail for verdict in self.verdicts if verdict.detail)
        return ", ".join(f"{name} {count}" for name, count in sorted(found.items(), key=lambda item: (-item[1], item)))


def table(rows: Sequence[Row]) -> str:
    """All topics in Markdown."""
    lines = [
        "| what was tried | times | worked | clean error | stopped, nothing lost | skipped | **broken** | s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        counts = [row.count(kind) for kind in (*WELL, "skipped")]
        numbers = [len(row.verdicts), *counts, len(row.broken), round(row.seconds)]
        lines.append(f"| {row.title} | " + " | ".join(str(number) if number else "" for number in numbers) + " |")
    lines += ["", "Which errors were told, and which stage the kills met:", ""]
    lines += [f"- {row.title}: {row.details()}" for row in rows if row.details()]
    return "\n".join(lines) + "\n"


def in_words(verdicts: Iterable[Verdict]) -> str:
    return "\n".join(f"{item.topic} #{item.number}: {item.kind}: {item.words}" for item in verdicts)

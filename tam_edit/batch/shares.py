"""One long edit divided among machines: which units of work are ready, and who runs which of them, wave after wave.

Every result is stored under the digest of all that it is made from, so dividing the work needs no protocol: each
machine goes through the same recipe against the same store and runs the units of its share, and the last one, who makes
the output, finds everything there. A unit that was run twice, or not at all, changes nothing but the time it takes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Literal

from tam_edit.batch.alarm import overtime_words
from tam_edit.batch.jobs import Job
from tam_edit.batch.work import Outcome
from tam_edit.engine.runner import Runner, Watcher
from tam_edit.engine.stage import Product, Unit
from tam_edit.engine.store import Record, Store

MOST_WAVES = 64
# What a frame costs in a stage, roughly: only for cutting shares of like size.
WEIGHTS = {"propagate": 3.0, "inpaint": 5.0, "embed": 10.0, "encode": 1.0}
SMALL = 0.2


@dataclass(frozen=True)
class Piece:
    """A unit that is not in the store. ready: everything that it reads is there."""

    stage: str
    variant: str
    start: int
    stop: int
    ready: bool

    @property
    def place(self) -> str:
        return f"{self.stage}/{self.variant}/{self.start}"

    @property
    def weight(self) -> float:
        return (self.stop - self.start) * WEIGHTS.get(self.stage, SMALL)


class ShareRunner(Runner):
    """A planner that runs the units at the places of its share as soon as they are ready, and notes all it misses."""

    def __init__(
        self,
        store: Store,
        scope: str,
        share: Collection[str],
        *,
        watcher: Watcher | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(store, scope, dry=True, watcher=watcher, cancelled=cancelled)
        self.share = frozenset(share)
        self.missing: dict[str, Piece] = {}

    def obtain(
        self, unit: Unit, compute: Callable[[], Product], *, needs_blobs: bool = False, even_dry: bool = False
    ) -> Record | None:
        mine = unit.is_known and unit.place in self.share
        record = super().obtain(unit, compute, needs_blobs=needs_blobs, even_dry=even_dry or mine)
        if record is None:
            piece = Piece(unit.stage.name, unit.variant, unit.span.start, unit.span.stop, unit.is_known)
            self.missing[piece.place] = piece
        else:
            self.missing.pop(unit.place, None)
        return record

    def _reason(self, unit: Unit, key: str) -> str:  # noqa: ARG002 - nobody reads it, and it costs a look at the store
        return "not in the store"


def chains(missing: Sequence[Piece]) -> list[list[Piece]]:
    """Ready pieces, each with those right behind it that wait for it: the chunks of one pass of a tracker."""
    found: list[list[Piece]] = []
    open_chain: list[Piece] | None = None
    for piece in missing:
        if piece.ready:
            open_chain = [piece]
            found.append(open_chain)
        elif open_chain and (open_chain[-1].stage, open_chain[-1].variant) == (piece.stage, piece.variant):
            open_chain.append(piece)
        else:
            open_chain = None
    return found


def divide(missing: Sequence[Piece], hands: int) -> list[tuple[Piece, ...]]:
    """Shares for one wave, of like weight, two for each hand so that nobody waits long for the slowest.

    With enough shares for all hands, each also holds what waits inside its own frames, and goes on there without
    waiting for the others: most windows read no further. What reads across a border is left for the next wave.
    """
    ordered = sorted(chains(missing), key=lambda chain: min(piece.start for piece in chain))
    total = sum(piece.weight for chain in ordered for piece in chain)
    shares: list[list[Piece]] = []
    filled = total
    for chain in ordered:
        if filled >= total / (2 * hands):
            shares.append([])
            filled = 0.0
        shares[-1].extend(chain)
        filled += sum(piece.weight for piece in chain)
    if len(shares) >= hands:
        taken = {piece.place for share in shares for piece in share}
        for share in shares:
            start, stop = min(piece.start for piece in share), max(piece.stop for piece in share)
            inside = [piece for piece in missing if start <= piece.start and piece.stop <= stop]
            share.extend(piece for piece in inside if piece.place not in taken)
            taken |= {piece.place for piece in inside}
    return [tuple(share) for share in shares]


@dataclass(frozen=True)
class Order:
    """What somebody is asked for: to look what is missing, to run a share of it, or to make the whole output."""

    kind: Literal["survey", "share", "run", "plan"]
    job: Job
    share: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What came of an order; outcome says how it ended, missing is what a survey found."""

    outcome: Outcome
    missing: tuple[Piece, ...] = ()
    engines: tuple[str, ...] = ()


Course = Generator[list[Order], list[Answer], Outcome]


def course(job: Job, hands: int, *, divided: bool) -> Course:
    """The orders of one job, wave by wave: each list may be done at once, the answers are sent back in its order."""
    former: tuple[Piece, ...] = ()
    clock = Clock(job)
    for _ in range(MOST_WAVES if divided else 0):
        [answer] = yield [Order("survey", clock.job)]
        if end := clock.end([answer]):
            return end
        shares = divide(answer.missing, hands)
        # Nothing left that could be done beside each other, or nothing came of the last wave.
        if answer.missing == former or (len(shares) <= 1 and all(piece.ready for piece in answer.missing)):
            break
        former = answer.missing
        answers = yield [Order("share", clock.job, share) for share in shares]
        if end := clock.end(answers):
            return end
    answers = yield [Order("run", clock.job)]
    return clock.end(answers) or answers[0].outcome


class Clock:
    """A divided job with what is left of its time limit: each wave takes as long as its slowest order."""

    def __init__(self, job: Job) -> None:
        self.job = self._given = job

    def end(self, answers: Sequence[Answer]) -> Outcome | None:
        """The job's end, if one of a wave's answers is that; else the wave's time is taken off the limit."""
        for answer in answers:
            if answer.outcome.overtime and self._given.time_limit_s is not None:
                # The order knew only what was left.
                return dataclasses.replace(answer.outcome, error=overtime_words(self._given.time_limit_s))
            if answer.outcome.status != "done":
                return answer.outcome
        if self.job.time_limit_s is not None:
            spent_s = max(answer.outcome.seconds for answer in answers)
            self.job = dataclasses.replace(self.job, time_limit_s=self.job.time_limit_s - spent_s)
        return None


def whole(job: Job, kind: Literal["run", "plan"]) -> Course:
    """A job as one order."""
    [answer] = yield [Order(kind, job)]
    return answer.outcome

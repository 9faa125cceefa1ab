"""Carrying out orders for parts of a job, in whatever process they arrive."""

from __future__ import annotations

from tam_edit.batch.shares import Answer, Order, ShareRunner
from tam_edit.batch.work import Hands
from tam_edit.engine.store import Store


def carry_out(hands: Hands, order: Order) -> Answer:
    """Do what an order asks for. Nothing is raised: the answer's outcome says what went wrong."""
    if order.kind == "run":
        return Answer(hands.run(order.job))
    if order.kind == "plan":
        return Answer(hands.plan(order.job))
    runners: list[ShareRunner] = []

    def make_runner(store: Store, scope: str) -> ShareRunner:
        share = {piece.place for piece in order.share}
        runners.append(ShareRunner(store, scope, share, cancelled=hands.cancelled))
        return runners[-1]

    outcome = hands.go_through(order.job, make_runner, first=order.kind == "survey")
    missing = tuple(runners[-1].missing.values()) if runners and order.kind == "survey" else ()
    used = tuple(sorted(set(outcome.report.get("engines", {}).values())))
    return Answer(outcome, missing, used)

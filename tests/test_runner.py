"""Units one by one: what is run, what is reused, and the words in which it is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tam_edit.clip import FrameSpan
from tam_edit.digest import digest_bytes
from tam_edit.engine.ledger import Decision, Ledger, frames_in_words
from tam_edit.engine.report import Report, frames_run
from tam_edit.engine.runner import Runner
from tam_edit.engine.stage import (
    FrameSeries,
    Product,
    Stage,
    Unit,
    pack_frames,
    packed_product,
    record_digests,
    unpack_frames,
)
from tam_edit.engine.store import Record, Store
from tam_edit.errors import Cancelled

GROW = Stage("grow", 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


class Bench:
    """Units of one stage over frames 0 to 7, and a count of what was computed."""

    def __init__(self, store: Store, scope: str = "project", **options: Any) -> None:
        self.runner = Runner(store, scope, **options)
        self.computed: list[str] = []

    def obtain(self, unit: Unit, warnings: tuple[str, ...] = (), **options: Any) -> Record | None:
        def compute() -> Product:
            self.computed.append(unit.place)
            frames = [f"{unit.stage.version} {index}".encode() for index in unit.span.indices()]
            return packed_product(frames, warnings=list(warnings))

        return self.runner.obtain(unit, compute, **options)

    @property
    def reason(self) -> str:
        return self.runner.ledger.decisions[-1].reason

    @property
    def actions(self) -> list[str]:
        return [decision.action for decision in self.runner.ledger.decisions]


def unit(
    *,
    stage: Stage = GROW,
    settings: Mapping[str, Any] | None = None,
    picture: Mapping[int, str | None] | None = None,
    span: tuple[int, int] = (0, 8),
    variant: str = "",
) -> Unit:
    reads = {"picture": {index: f"p{index}" for index in range(*span)} if picture is None else picture}
    return Unit(stage, FrameSpan(*span), settings or {"size_px": 3}, reads, variant)


def reading(**reads: Mapping[int, str | None]) -> Unit:
    return Unit(GROW, FrameSpan(0, 8), {"size_px": 3}, reads)


def test_it_runs_once_and_is_reused_ever_after(store: Store) -> None:
    first = Bench(store)
    record = first.obtain(unit())
    assert record is not None and len(record.frames) == 8 and first.computed == ["grow//0"]
    for scope in ("project", "another project"):
        second = Bench(store, scope)
        assert second.obtain(unit()) == record
        assert (second.computed, second.actions, second.reason) == ([], ["reuse"], "nothing it reads has changed")


def test_what_does_not_matter_does_not_run_it_again(store: Store) -> None:
    Bench(store).obtain(unit(settings={"a": 1, "b": 2}))
    bench = Bench(store)
    bench.obtain(unit(settings={"b": 2, "a": 1}))
    # Frame numbers only tell reasons: the same pictures elsewhere give the same result.
    moved = {index + 100: f"p{index}" for index in range(8)}
    bench.obtain(unit(settings={"a": 1, "b": 2}, picture=moved, span=(100, 108)))
    assert bench.actions == ["reuse", "reuse"]


P = {index: f"p{index}" for index in range(8)}


@pytest.mark.parametrize(
    ("former", "now", "reason"),
    [
        (None, unit(), "never run before"),
        (unit(span=(8, 16)), unit(), "never run before"),
        (unit(variant="forward"), unit(variant="backward"), "never run before"),
        (unit(), unit(settings={"size_px": 5}), "size_px went from 3 to 5"),
        (unit(), unit(settings={"size_px": 3, "soft": True}), "soft went from unset to True"),
        (unit(settings={"said": "a" * 32}), unit(settings={"said": "b" * 32}), "said changed"),
        (unit(), unit(picture={**P, 3: "new"}), "picture changed at frame 3"),
        (unit(), unit(picture={**P, 3: "a", 4: "b", 7: "c"}), "picture changed at frames 3-4, 7"),
        (unit(), unit(picture={**P, 8: "p8", 9: "p9"}), "picture is new at frames 8-9"),
        (unit(), unit(picture={0: "p0"}), "picture no longer read at frames 1-7"),
        (unit(), reading(plate=P, look=P), "it reads look, plate in place of picture"),
        (unit(), reading(picture=P, mask={3: "m"}), "mask is new at frame 3"),
        (unit(), unit(stage=Stage("grow", 2)), "the stage went from version 1 to 2"),
        (
            unit(),
            unit(stage=Stage("grow", 2), settings={"size_px": 4}, picture={**P, 0: "x"}),
            "the stage went from version 1 to 2; size_px went from 3 to 4; picture changed at frame 0",
        ),
    ],
)
def test_the_reason_is_told_in_words(store: Store, former: Unit | None, now: Unit, reason: str) -> None:
    if former is not None:
        Bench(store).obtain(former)
    for dry in (True, False):
        bench = Bench(store, dry=dry)
        bench.obtain(now)
        assert (bench.actions, bench.reason) == (["run"], reason)
        assert bench.computed == ([] if dry else [now.place])


def test_reasons_are_told_against_the_last_run_of_this_project(store: Store) -> None:
    Bench(store, "mine").obtain(unit(settings={"size_px": 3}))
    Bench(store, "other").obtain(unit(settings={"size_px": 4}))
    bench = Bench(store, "mine")
    bench.obtain(unit(settings={"size_px": 4}))
    assert bench.actions == ["reuse"], "another project has made it"
    bench.obtain(unit(settings={"size_px": 5}))
    assert bench.reason == "size_px went from 4 to 5", "what was reused counts as the last run too"


def test_a_long_setting_is_told_as_changed(store: Store) -> None:
    Bench(store).obtain(unit(settings={"prompt": "a" * 500}))
    bench = Bench(store)
    bench.obtain(unit(settings={"prompt": "b" * 500}))
    assert bench.reason == "prompt changed"


def test_a_result_that_is_gone_is_made_again(store: Store) -> None:
    record = Bench(store).obtain(unit())
    assert record is not None
    store.forget(record.key)
    bench = Bench(store)
    assert bench.obtain(unit()) == record
    assert (bench.actions, bench.reason) == (["run"], "its result is no longer in the cache")


def test_pruned_bytes_matter_only_to_who_needs_them(store: Store) -> None:
    record = Bench(store).obtain(unit())
    assert record is not None
    for path in (store.root / "v1" / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()
    bench = Bench(store)
    assert bench.obtain(unit()) == record
    assert bench.actions == ["reuse"], "its digests are enough for what comes after"
    bench.obtain(unit(), needs_blobs=True)
    assert (bench.actions[-1], bench.reason) == ("run", "its bytes were pruned from the cache")
    assert store.blob(record, "frames")


def test_what_waits_for_others_is_not_yet_known(store: Store) -> None:
    bench = Bench(store, dry=True)
    waiting = unit(picture={0: "p0", 1: None})
    assert not waiting.is_known
    assert bench.obtain(waiting) is None
    assert (bench.actions, bench.reason) == (["unknown"], "not yet known: picture must run first")
    assert record_digests(None, FrameSpan(2, 4)) == {2: None, 3: None}
    with pytest.raises(AssertionError, match="before what it reads"):
        Bench(store).obtain(waiting)


def test_a_plan_writes_nothing(store: Store) -> None:
    Bench(store).obtain(unit())

    def disk() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}

    before = disk()
    bench = Bench(store, "another project", dry=True)
    bench.obtain(unit())
    assert bench.obtain(unit(settings={"size_px": 9})) is None
    assert (bench.actions, bench.computed) == (["reuse", "run"], [])
    assert disk() == before
    assert bench.obtain(unit(settings={"size_px": 9}), even_dry=True) is not None
    assert bench.computed == ["grow//0"]


def test_cancelled_between_units_keeps_what_is_finished(store: Store) -> None:
    parts = [unit(span=span) for span in ((0, 8), (8, 16), (16, 24), (24, 32))]
    bench = Bench(store, cancelled=lambda: len(bench.computed) == 2)
    with pytest.raises(Cancelled, match="what is finished is kept"):
        for part in parts:
            bench.obtain(part)
    again = Bench(store)
    for part in parts:
        again.obtain(part)
    assert again.actions == ["reuse", "reuse", "run", "run"]
    assert again.computed == ["grow//16", "grow//24"]
    # What is there is handed out even then: only new work is stopped.
    stopped = Bench(store, cancelled=lambda: True)
    assert stopped.obtain(parts[0]) is not None


def test_work_that_fails_leaves_no_record(store: Store) -> None:
    def fail() -> Product:
        raise OSError("no")

    runner = Runner(store, "project")
    with pytest.raises(OSError, match="no"):
        runner.obtain(unit(), fail)
    assert runner.ledger.decisions == []
    bench = Bench(store)
    bench.obtain(unit())
    assert bench.reason == "never run before"


def test_warnings_are_told_again_when_the_result_is_reused(store: Store) -> None:
    for _ in range(2):
        bench = Bench(store)
        bench.obtain(unit(), warnings=("large hole", "dark"))
        bench.obtain(unit(), warnings=("large hole", "dark"))
        assert bench.runner.ledger.warnings == ("large hole", "dark"), "each once"
    planned = Bench(store, dry=True)
    planned.obtain(unit())
    assert planned.runner.ledger.warnings == ("large hole", "dark")


def test_a_watcher_sees_every_unit(store: Store) -> None:
    class Watching:
        def __init__(self) -> None:
            self.seen: list[tuple[Any, ...]] = []

        def stage(self, name: str, frames: int) -> None:
            self.seen.append((name, frames))

        def unit(self, decision: Decision) -> None:
            self.seen.append((decision.action, decision.span))

    watcher = Watching()
    bench = Bench(store, watcher=watcher)
    bench.runner.stage("grow", 8)
    bench.obtain(unit())
    bench.obtain(unit())
    assert watcher.seen == [("grow", 8), ("run", FrameSpan(0, 8)), ("reuse", FrameSpan(0, 8))]
    ran = bench.runner.ledger.decisions
    assert ran[0].seconds > 0 and ran[1].seconds == 0


def test_a_unit_may_find_out_its_frames_while_it_runs(store: Store) -> None:
    runner = Runner(store, "project")
    empty = Unit(Stage("probe", 1), FrameSpan(0, 0), {})
    runner.obtain(empty, lambda: Product(["d"], span=FrameSpan(0, 25)))
    assert runner.ledger.stages()[0].run == (FrameSpan(0, 25),)


# Keys


def test_everything_a_result_depends_on_is_in_its_key() -> None:
    units = [
        unit(),
        unit(stage=Stage("grow", 2)),
        unit(stage=Stage("other", 1)),
        unit(variant="forward"),
        unit(settings={"size_px": 4}),
        unit(settings={"size": 3}),
        unit(settings={"size_px": 3.0}),
        unit(picture={**P, 0: "x"}),
        unit(picture={0: "p1", 1: "p0", **{index: f"p{index}" for index in range(2, 8)}}),
        unit(picture={index: f"p{index}" for index in range(7)}),
        Unit(GROW, FrameSpan(0, 8), {"size_px": 3}, {"mask": P}),
        Unit(GROW, FrameSpan(0, 8), {"size_px": 3}, {"picture": P, "mask": {}}),
    ]
    assert len({one.key for one in units}) == len(units)


def test_series_say_nothing_where_there_is_nothing() -> None:
    series: FrameSeries[str] = FrameSeries({1: "a", 2: None}, load=str)
    assert series.reads(range(4)) == {0: "nothing", 1: "a", 2: None, 3: "nothing"}
    assert Unit(GROW, FrameSpan(0, 2), {}, {"hole": series.reads([0, 1])}).is_known
    assert not Unit(GROW, FrameSpan(0, 2), {}, {"hole": series.reads([1, 2])}).is_known


def test_packed_frames_come_back() -> None:
    for frames in ([], [b""], [b"a", b"", b"ccc" * 1000]):
        assert unpack_frames(pack_frames(frames)) == frames
    product = packed_product([b"a", b"b"], trust=[1, 2])
    assert product.frames == [digest_bytes(b"a"), digest_bytes(b"b")] and product.facts == {"trust": [1, 2]}


# Telling it


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "no frames"),
        ([3], "frame 3"),
        ([3, 3], "frame 3"),
        ([4, 3], "frames 3-4"),
        ([0, 2], "frames 0, 2"),
        ([*range(30), *range(187, 242)], "frames 0-29, 187-241"),
        (range(0, 8, 2), "frames 0, 2, 4, 6"),
        (range(0, 12, 2), "frames 0, 2, 4, 6 and 2 more stretches"),
    ],
)
def test_frames_in_words(frames: Any, words: str) -> None:
    assert frames_in_words(frames) == words


def test_a_summary_counts_each_frame_once() -> None:
    ledger = Ledger()
    for name, start, stop, action, reason, seconds in [
        ("track", 0, 8, "reuse", "same", 0.0),
        ("track", 8, 16, "run", "new", 1.0),
        ("fill", 0, 8, "unknown", "waits", 0.0),
        ("track", 24, 32, "run", "new", 0.5),
        ("track", 4, 10, "run", "other", 0.25),
    ]:
        ledger.note(Decision(name, FrameSpan(start, stop), action, reason, seconds))  # type: ignore[arg-type]
    track, fill = ledger.stages()
    assert (track.name, fill.name) == ("track", "fill")
    assert track.run == (FrameSpan(4, 16), FrameSpan(24, 32)) and track.frames_run == 20
    assert track.reused == (FrameSpan(0, 4),), "a frame is reused only if no part of its work ran"
    assert track.seconds == 1.75
    assert track.reasons == ("frames 0-7: same", "frames 8-15, 24-31: new", "frames 4-9: other")
    assert (fill.frames_unknown, fill.frames_run, fill.frames_reused) == (8, 0, 0)
    assert fill.to_json() == {
        "name": "fill",
        "frames_run": 0,
        "frames_reused": 0,
        "frames_unknown": 8,
        "spans_run": [],
        "spans_reused": [],
        "seconds": 0.0,
        "reasons": ["frames 0-7: waits"],
    }
    report = Report("remove", 0, stages=(track, fill))
    assert list(frames_run(report, "track")) == [*range(4, 16), *range(24, 32)]
    assert frames_run(report, "fill") == range(0)
    assert report.frames_run == 20
    with pytest.raises(KeyError, match="no stage 'encode' in this run: there are"):
        report.stage("encode")


def test_a_report_holds_what_the_contract_promises() -> None:
    told = Report("remove", 0, outputs=("a.mp4",), warnings=("w",)).to_json()
    promised = {"command", "exit", "outputs", "engines", "stages", "seconds", "peak_rss_bytes", "warnings"}
    assert promised <= told.keys()
    assert told["versions"].keys() >= {"python", "tam-edit", "numpy", "av"}

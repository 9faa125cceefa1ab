"""Jobs that take longer than they may: they fail in words, the others go on, and nothing finished is lost."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tam_edit.batch import pool
from tam_edit.batch.alarm import Alarm, in_words
from tam_edit.batch.keys import Wrong, duration
from tam_edit.batch.reading import read_jobs
from tam_edit.batch.shares import Answer, Piece, course
from tam_edit.batch.work import Outcome
from tests import scenes
from tests.batch.support import deaf, done, done_by_workers, job, project, states

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a clock that interrupts")


def test_a_job_over_its_limit_fails_alone_and_goes_on_next_time(
    tmp_path: Path, quick_engines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = project(tmp_path, "a"), project(tmp_path, "b")
    fill = scenes.MeanFiller.fill
    begun: list[int] = []

    def endless(self: scenes.MeanFiller, start: int, stop: int) -> Iterator[scenes.Rgb]:
        if start == 8 and not begun:
            begun.append(start)
            signal.raise_signal(signal.SIGALRM)  # as if the time were over now
            time.sleep(600)
        yield from fill(self, start, stop)

    monkeypatch.setattr(scenes.MeanFiller, "fill", endless)
    limited = job(1, first, time_limit_s=600.0)
    batch = done([limited, job(2, second)])
    assert states(batch) == ["failed", "done"] and begun
    told = batch.to_json()["jobs"][0]["error"]
    assert told.startswith("took longer than its time_limit of 10m") and "kept" in told
    assert batch.exit_status == 1 and batch.progress[1].tries == 1, "more time is not found by trying again"
    assert not Path(limited.output).exists()
    assert '"exit": 1' in max((first / "reports").glob("*remove*")).read_text()
    again = done([dataclasses.replace(limited, time_limit_s=None)])
    stages = {stage["name"]: stage for stage in again.to_json()["jobs"][0]["stages"]}
    assert states(again) == ["done"]
    assert (stages["inpaint"]["frames_reused"], stages["inpaint"]["frames_run"]) == (8, 4)
    assert states(done([limited])) == ["unchanged"], "another limit is no other result"


def test_a_library_that_hangs_is_ended_with_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_engines: None
) -> None:
    monkeypatch.setattr(pool, "HANGS_S", 0.5)
    monkeypatch.setattr(pool, "STOP_S", 0.5)
    bad, good = project(tmp_path, "bad", frames=13), project(tmp_path, "good")
    batch = done_by_workers([job(1, bad, time_limit_s=2.0), job(2, good)], deaf)
    assert states(batch) == ["failed", "done"]
    assert "time_limit of 2s" in batch.to_json()["jobs"][0]["error"] and batch.progress[1].tries == 1


def test_an_alarm_rings_within_its_block_only() -> None:
    with pytest.raises(KeyboardInterrupt), Alarm(0.05) as alarm:
        time.sleep(10)
    assert alarm.rung
    former = signal.getsignal(signal.SIGALRM)
    with Alarm(0.05) as quiet:
        pass
    time.sleep(0.1)
    assert not quiet.rung and signal.getsignal(signal.SIGALRM) == former
    with Alarm(None) as never:
        time.sleep(0.01)
    assert not never.rung


@pytest.mark.parametrize(
    ("said", "seconds", "words"),
    [(90, 90.0, "90s"), ("45m", 2700.0, "45m"), ("1.5 h", 5400.0, "90m"), ("2h", 7200.0, "2h")],
)
def test_limits_are_said_in_seconds_or_with_a_unit(said: object, seconds: float, words: str) -> None:
    assert duration(said) == seconds and in_words(seconds) == words


@pytest.mark.parametrize("said", [0, -5, True, "soon", "5 days", "1e3s", 10**9, None, float("nan")])
def test_other_limits_are_refused(said: object) -> None:
    with pytest.raises(Wrong, match="45m"):
        duration(said)


def test_a_job_s_own_limit_comes_before_the_default(tmp_path: Path, quick_engines: None) -> None:
    for name in ("a", "b"):
        project(tmp_path, name)
    file = tmp_path / "jobs.toml"
    file.write_text(
        '[defaults]\neffect = "remove"\noutput = "{name}-out.mp4"\ntime_limit = "2h"\n'
        '[[jobs]]\nproject = "a.edit"\n[[jobs]]\nproject = "b.edit"\ntime_limit = 90\n'
    )
    assert [item.time_limit_s for item in read_jobs(file).jobs] == [7200.0, 90.0]


def test_the_waves_of_a_divided_job_share_its_limit() -> None:
    one = job(1, Path("a.edit"), time_limit_s=100.0)
    steps = course(one, 2, divided=True)
    [survey] = next(steps)
    assert survey.job.time_limit_s == 100.0
    pieces = tuple(Piece("inpaint", "", at, at + 8, True) for at in (0, 8, 16, 24))
    shares = steps.send([Answer(Outcome(1, "done", seconds=10.0), pieces)])
    assert {order.job.time_limit_s for order in shares} == {90.0}
    times = [30.0, *[5.0] * (len(shares) - 1)]
    [survey] = steps.send([Answer(Outcome(1, "done", seconds=spent)) for spent in times])
    assert survey.job.time_limit_s == 60.0
    with pytest.raises(StopIteration) as end:
        steps.send([Answer(Outcome(1, "failed", "took longer than 60 s", overtime=True))])
    assert "time_limit of 100s" in end.value.value.error

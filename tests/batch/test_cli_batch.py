"""`tam-edit batch` as people and scripts see it: words, JSON, statuses, Ctrl-C, a batch that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tam_edit import Edit, cli
from tam_edit.batch.estimate import Pace, estimate, span_in_words
from tam_edit.batch.running import Batch, Plan, run_here
from tam_edit.batch.work import Outcome, Told
from tam_edit.cli.batch_table import Board, line, live_table, print_summary
from tests.batch.support import done, job, project, quick
from tests.scenes import centre, write_clip
from tests.support import ROOT

FILE = '[defaults]\neffect = "remove"\noutput = "out/{name}.mp4"\n[[jobs]]\nproject = "*.edit"\n'


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], quick_engines: None) -> Any:
    """Run a command line here, its workers with quick engines: (exit status, stdout, stderr)."""
    monkeypatch.setattr("tam_edit.batch.running.run_here", lambda batch: run_here(batch, quick))

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tam-edit", "batch", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_words_json_and_statuses(call: Any, tmp_path: Path) -> None:
    project(tmp_path, "a")
    project(tmp_path, "b").joinpath("edit.json").write_text("{}")
    path = tmp_path / "jobs.toml"
    path.write_text(FILE)
    status, out, err = call(path, "--json", "--workers", "2")
    found = json.loads(out)
    assert status == 1 and found["exit"] == 1 and found["command"] == "batch"
    assert found["counts"] == {"done": 1, "failed": 1} and found["outputs"] == [str(tmp_path / "out" / "a.mp4")]
    good, bad = found["jobs"]
    assert good["status"] == "done" and good["engines"]["tracker"] == "colour" and good["frames"] == 12
    assert bad["error"].startswith(str(tmp_path / "b.edit")) and bad["line"] == 4 and "Traceback" not in err
    status, out, err = call(path)
    assert status == 1 and "unchanged" in out and "2 jobs: 1 failed, 1 unchanged" in out
    assert "[1/2] a remove: unchanged" in err
    status, out, _ = call(path, "--dry-run", "--again")
    assert "nothing changed" in out and "estimate: about" in out
    status, out, _ = call(path, "--dry-run", "--json", "--again")
    assert json.loads(out)["planned"] and json.loads(out)["estimate"]["reports"] > 0


def test_the_example(call: Any, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("one", "two"):
        write_clip(tmp_path / "clips" / f"{name}.mp4", frames=12)
    project(tmp_path, "ball")
    project(tmp_path, "b\N{DOG FACE} 'q").rename(tmp_path / "b\udc80.edit")
    path = tmp_path / "jobs.toml"
    path.write_text((ROOT / "examples" / "jobs.toml").read_text())
    status, out, err = call(path, "--json", "--workers", "2")
    found = json.loads(out)
    status_of_folder, said, _ = call(tmp_path, "--changed", "--json")
    assert status_of_folder == 0 and json.loads(said)["counts"] == {"unchanged": 6}
    assert status == 0, [item["error"] for item in found["jobs"]]
    assert [item["status"] for item in found["jobs"]] == ["done"] * 6
    done_names = sorted(os.listdir(tmp_path / "done"))
    assert done_names == [
        "ball-alter.mp4",
        "ball-remove.mp4",
        "b\udc80-remove.mp4",
        "one-replace.mp4",
        "two-replace.mp4",
    ]
    assert len(list((tmp_path / "masks" / "ball").rglob("*.png"))) == 12
    status, out, err = call(path)
    assert status == 0 and "6 jobs: 6 unchanged" in out and "\nb\N{REPLACEMENT CHARACTER} " in out


def test_wrong_usage(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    assert call(path)[0] == 1
    path.write_text(FILE)
    assert call(path, "--workers", "0")[0] == 2
    assert call(path, "--changed", "--again")[0] == 2
    status, out, _ = call(path, "--json")
    assert status == 1 and "no project matches" in json.loads(out)["error"]
    project(tmp_path, "a")
    status, _, err = call(path, "--cluster", "127.0.0.1:9")
    assert status == 1 and "no Ray cluster answers at 127.0.0.1:9" in err
    assert call(path, "--cluster", " ")[0] == 2
    status, _, err = call(path, "--store", "nonsense://x")
    assert status == 2 and "--store nonsense://x" in err


def test_estimates_come_from_former_runs_on_this_kind_of_machine(tmp_path: Path, quick_engines: None) -> None:
    one = job(1, project(tmp_path, "a"))
    fresh = estimate(done([one], dry=True).all)
    assert set(fresh.unknown) >= {"propagate", "inpaint", "encode"} and "no former run" in fresh.in_words()
    done([one])
    other = job(2, project(tmp_path, "b", frames=24))
    batch = done([one, other], dry=True, again=True)
    planned = batch.progress[2].outcome
    assert planned is not None
    found = estimate(batch.all)
    assert found.seconds is not None and found.seconds > 0 and not found.unknown
    pace = Pace()
    stage = {"name": "inpaint", "frames_run": 10, "seconds": 5.0}
    versions = {"machine": "a machine elsewhere"}
    report: dict[str, Any] = {"stages": [stage], "engines": {"inpainter": "classic"}, "versions": versions}
    pace.learn(report, (100, 100))
    assert pace.reports == 0
    from tam_edit.engine.report import versions as here

    pace.learn({**report, "versions": here()}, (100, 100))
    ahead = {**report, "stages": [{"name": "inpaint", "frames_run": 4, "frames_unknown": 6}]}
    assert pace.estimate_s(ahead, (200, 100)) == (pytest.approx(10.0), ())
    assert pace.estimate_s({**ahead, "engines": {"inpainter": "e2fgvi"}}, (200, 100)) == (0.0, ("inpaint",))
    assert [span_in_words(seconds) for seconds in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


def test_the_table_shows_stage_rate_and_time_left(tmp_path: Path) -> None:
    jobs = [job(number, tmp_path / f"{name}.edit") for number, name in enumerate("abc", start=1)]
    batch = Batch(jobs, Plan(workers=1))
    first, second, _ = batch.all
    first.start()
    first.end(Outcome(1, "done", seconds=10.0))
    second.start()
    second.hear(Told(2, "inpaint", 5, 20, 5))
    second.rate = 2.5
    console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(live_table(batch))
    shown = console.export_text()
    assert "inpaint" in shown and "5/20" in shown and "2.5/s" in shown and "about 20 s left" in shown
    assert line(batch, first) == "[1/3] a remove: done in 10.0 s"
    second.end(Outcome(2, "failed", "no such thing"))
    assert line(batch, second) == "[2/3] b remove: failed (no such thing)"
    print_summary(batch, console)
    assert "1 done, 1 failed, 1 waiting" in console.export_text()
    with Board(live=True, lines=False) as board:
        board.watch(batch, second)


def running(mark: str) -> list[int]:
    """Processes that carry a mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes() and "zombie" not in (path / "status").read_text():
                found.append(int(path.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux")
@pytest.mark.usefixtures("quick_engines")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_a_batch_leaves_no_process_and_the_next_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    for name in "ab":
        clip = write_clip(tmp_path / f"{name}.mp4", frames=60)
        Edit.create(clip, tmp_path / f"{name}.edit").mark("ball", points=[centre(0)])
    path = tmp_path / "jobs.toml"
    path.write_text(FILE)
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "tests.batch.killable", str(path), "--workers", "2", "--json"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "TEST_MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not all(list((tmp_path / f"{name}.edit").rglob("inpaint-begun")) for name in "ab"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does it
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        found = json.loads(out)
        assert process.returncode == found["exit"] == 1 and found["counts"] == {"stopped": 2}
        assert "goes on from there" in found["error"] and "Traceback" not in err
    end = time.monotonic() + 30
    while running(mark):
        assert time.monotonic() < end, "a process outlived the batch"
        time.sleep(0.05)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    jobs = [job(place, tmp_path / f"{name}.edit") for place, name in enumerate("ab", start=1)]
    batch = done(jobs)
    assert batch.exit_status == 0
    stages = {stage["name"]: stage for stage in batch.to_json()["jobs"][0]["stages"]}
    assert stages["propagate"]["frames_run"] == 0, "finished chunks were kept"

"""Killed at random moments, asked to stop, run twice at once: nothing finished is lost, and the bytes are the same."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tam_edit import Edit, errors
from tam_edit.workbench import Surroundings
from tests.scenes import centre, write_clip
from tests.support import ROOT

KILLS = 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "ball.mp4", frames=60)


def project(clip: Path, folder: Path) -> Path:
    edit = Edit.create(clip, folder)
    edit.mark("ball", points=[centre(0)])
    return folder


def start(folder: Path, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.killable", str(folder), str(output)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.usefixtures("quick_engines")
def test_twenty_kills_at_random_moments(clip: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    began = time.monotonic()
    assert start(project(clip, tmp_path / "whole.edit"), whole).wait() == 0
    length_s = time.monotonic() - began
    folder, output = project(clip, tmp_path / "killed.edit"), tmp_path / "killed.mp4"
    moments = random.Random(7)
    killed = 0
    for _ in range(KILLS):
        process = start(folder, output)
        time.sleep(moments.uniform(0, length_s / 6))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        if output.exists():
            assert output.read_bytes() == whole.read_bytes(), "an output is whole or not there"
            output.unlink()
    assert killed >= KILLS // 2
    report = Edit.open(folder).remove(output)
    assert output.read_bytes() == whole.read_bytes()
    assert report.stage("propagate").frames_reused > 0, "finished chunks were kept"
    Edit.open(folder).script  # noqa: B018 - still readable
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "nothing half-written is left"


@pytest.mark.usefixtures("quick_engines")
def test_asked_to_stop_keeps_what_is_finished(clip: Path, tmp_path: Path) -> None:
    folder = project(clip, tmp_path / "a.edit")
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 12

    edit = Edit.open(folder, surroundings=Surroundings(cancelled=cancelled))
    with pytest.raises(errors.Cancelled, match="goes on from there"):
        edit.remove(tmp_path / "a.mp4")
    assert edit.report.exit == 1 and edit.report.error
    finished = sum(stage.frames_run for stage in edit.report.stages)
    assert finished > 0 and not (tmp_path / "a.mp4").exists()
    report = Edit.open(folder).remove(tmp_path / "a.mp4")
    assert report.stage("propagate").frames_reused > 0


def test_terminate_and_interrupt_say_so(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        cache = tmp_path / number.name
        monkeypatch.setenv("TAM_EDIT_CACHE", str(cache))
        command = [sys.executable, "-m", "tam_edit", "remove", str(clip), "-o", str(tmp_path / "a.mp4")]
        process = subprocess.Popen(
            [*command, "--point", "12,14"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not list(cache.rglob("blobs")):  # the first mask is there: it is at work
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if process.returncode == 0:  # it was faster than the signal
            continue
        assert process.returncode == 1 and "Traceback" not in said, f"{number.name}: {process.returncode}: {said}"
        assert "stopped" in said


def test_two_on_one_project_wait_for_each_other(clip: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        from tests.scenes import simple_engines

        engines = simple_engines()
        patch.setattr("tam_edit.pipelines.engines.resolve", lambda settings, options: engines)
        folder = project(clip, tmp_path / "a.edit")
        first = start(folder, tmp_path / "a.mp4")
        while not (folder / ".run.lock").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        said: list[str] = []
        impatient = Edit.open(folder, surroundings=Surroundings(say=said.append, wait_s=0.0))
        if first.poll() is None:
            with pytest.raises(errors.ProjectBusy, match="try again"):
                impatient.track()
        patient = Edit.open(folder, surroundings=Surroundings(say=said.append))
        patient.remove(tmp_path / "b.mp4")
        assert first.wait() == 0
        assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_page_ends_well_when_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tam_edit", "ui", "--port", "0", "--folder", str(tmp_path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as page:
        assert page.stdout is not None and page.stderr is not None
        assert json.loads(page.stdout.readline())["address"].startswith("http://127.0.0.1:")
        page.stderr.readline()  # the address for people: it serves from here on
        page.send_signal(number)
        out, err = page.communicate(timeout=60)
    assert (page.returncode, out) == (0, ""), err
    assert "Traceback" not in err

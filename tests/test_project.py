"""A project's folder: made once, written whole, taken back step by step, and worked on by one at a time."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tam_edit.errors import (
    OutputUnwritable,
    ProjectBusy,
    PromptError,
    ScriptError,
    SourceMissing,
    StoreError,
    UsageError,
)
from tam_edit.project import MOST_REPORTS, MOST_STEPS_BACK, Project, write_whole
from tam_edit.script import EditScript, Prompt, ScriptSource

SCRIPT = EditScript(ScriptSource("../clip.mp4", "d" * 64))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    return Project.create(tmp_path / "ball.edit", SCRIPT)


def said(name: str, frame: int = 0) -> Callable[[EditScript], EditScript]:
    return lambda script: script.marked(name, frame, Prompt(points=((1.0, 2.0),)))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# Making and finding


def test_create_and_open(project: Project, tmp_path: Path) -> None:
    assert files(project.folder) == ["edit.json"]
    assert (project.folder / "edit.json").read_text() == SCRIPT.text()
    assert (project.folder / "edit.json").stat().st_mode & 0o777 == 0o644
    assert Project(project.folder).script() == SCRIPT
    assert Project.is_one(project.folder) and not Project.is_one(tmp_path)
    deep = Project.create(tmp_path / "a" / "b" / "c.edit", SCRIPT)
    assert deep.script() == SCRIPT
    (tmp_path / "empty").mkdir()
    assert Project.create(tmp_path / "empty", SCRIPT).script() == SCRIPT, "an empty folder overwrites nothing"


def test_nothing_is_overwritten(project: Project, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    for taken in (project.folder, tmp_path / "full", tmp_path / "clip.mp4"):
        before = files(tmp_path)
        with pytest.raises(UsageError, match="exists already and is not overwritten"):
            Project.create(taken, SCRIPT)
        assert files(tmp_path) == before
    with pytest.raises(OutputUnwritable, match="cannot be made: Not a directory"):
        Project.create(tmp_path / "clip.mp4" / "x.edit", SCRIPT)


def test_what_is_no_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"is no edit project \(no edit.json in it\): .*tam-edit new CLIP EDIT"):
        Project(tmp_path)
    with pytest.raises(ScriptError, match=r"there is no such folder\): .*tam-edit new CLIP .*none.edit"):
        Project(tmp_path / "none.edit")
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(ScriptError, match=r"is a file and no edit project: .*clip.mp4 clip.edit"):
        Project(tmp_path / "clip.mp4")


def test_folder_and_clip_move_together(project: Project, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    assert project.relative(clip) == os.path.join("..", "clip.mp4")
    assert project.source_path(project.script()) == clip.resolve()
    (tmp_path / "elsewhere").mkdir()
    shutil.move(str(project.folder), str(tmp_path / "elsewhere" / "ball.edit"))
    moved = Project(tmp_path / "elsewhere" / "ball.edit")
    with pytest.raises(SourceMissing, match=r"elsewhere/clip.mp4 is not there: .*source.path in .*edit.json"):
        moved.source_path(moved.script())
    shutil.move(str(clip), str(tmp_path / "elsewhere" / "clip.mp4"))
    assert moved.source_path(moved.script()).read_bytes() == b"clip"
    absolute = EditScript(ScriptSource(str(tmp_path / "elsewhere" / "clip.mp4"), "d"))
    assert project.source_path(absolute).read_bytes() == b"clip"


def test_hand_edits_are_read_and_checked(project: Project) -> None:
    path = project.script_path
    path.write_text(said("ball")(SCRIPT).text())
    assert project.script().names == ("ball",)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert project.script().names == ("ball",), "as some editors save it"
    path.write_text(path.read_text(encoding="utf-8-sig").replace("points", "pionts"))
    with pytest.raises(ScriptError, match=r"ball.edit/edit.json: objects\[0\].prompts\[0\].pionts: is unknown"):
        project.script()
    path.write_bytes(b'{"format": "caf\xe9"}')
    with pytest.raises(ScriptError, match=r"edit.json: byte 15 is not UTF-8"):
        project.script()
    path.unlink()
    with pytest.raises(ScriptError, match=r"edit.json cannot be read"):
        project.script()


# Changes


def test_changes_are_taken_back_and_done_again(project: Project) -> None:
    texts = [project.script_path.read_text()]
    for frame in range(3):
        project.change(said("ball", frame))
        texts.append(project.script_path.read_text())
    for expected in reversed(texts[:-1]):
        assert project.undo().text() == expected == project.script_path.read_text()
    with pytest.raises(UsageError, match="nothing to undo in"):
        project.undo()
    for expected in texts[1:]:
        assert Project(project.folder).redo().text() == expected, "history outlives the process"
    with pytest.raises(UsageError, match="nothing to redo in"):
        project.redo()
    project.undo()
    project.change(said("dog"))
    with pytest.raises(UsageError, match="nothing to redo"):
        project.redo()


def test_a_hand_edit_can_be_taken_back_to(project: Project) -> None:
    project.script_path.write_text(said("hand")(SCRIPT).text())
    project.change(said("ball"))
    assert project.script().names == ("hand", "ball")
    assert project.undo().names == ("hand",)


def test_what_changes_nothing_makes_no_step(project: Project) -> None:
    project.change(said("ball"))
    project.change(said("ball"))
    project.undo()
    with pytest.raises(UsageError):
        project.undo()


def test_a_change_that_fails_changes_nothing(project: Project) -> None:
    project.change(said("ball"))
    before = {path: path.read_bytes() for path in project.folder.iterdir()}
    with pytest.raises(PromptError):
        project.change(said("a,b"))
    assert {path: path.read_bytes() for path in project.folder.iterdir()} == before


def test_history_is_bounded_and_may_be_lost(project: Project) -> None:
    history = project.folder / ".history.json"
    history.write_text(json.dumps({"undo": [SCRIPT.to_json()] * (MOST_STEPS_BACK + 50), "redo": []}))
    project.change(said("ball"))
    assert len(json.loads(history.read_text())["undo"]) == MOST_STEPS_BACK
    for broken in (b"", b"[1, 2]", b'{"undo": 5}', b"\xff\xfe", b'{"undo": []}'):
        history.write_bytes(broken)
        with pytest.raises(UsageError, match="nothing to undo"):
            project.undo()
        assert project.script().names == ("ball",), "the script itself is safe"
    history.write_text(json.dumps({"undo": [{"format": "x"}], "redo": []}))
    with pytest.raises(ScriptError, match=r"\.history\.json \(undo\): "):
        project.undo()
    assert project.script().names == ("ball",)


def mark_many(folder: str, name: str, count: int) -> None:
    project = Project(Path(folder))
    for frame in range(count):
        project.change(said(name, frame))


def test_changes_from_several_processes_are_all_kept(project: Project) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=mark_many, args=(str(project.folder), name, 8)) for name in ("a", "b", "c")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert {item.name: len(item.prompts) for item in project.script().objects} == {"a": 8, "b": 8, "c": 8}


# Who works on it


def hold(folder: str, held: Any, release: Any) -> None:
    with Project(Path(folder)).working(lambda _: None):
        held.set()
        release.wait(60)


@pytest.fixture
def held(project: Project) -> Iterator[Any]:
    """Another process works on the project until the event that this gives is set."""
    context = multiprocessing.get_context("fork")
    holding, release = context.Event(), context.Event()
    worker = context.Process(target=hold, args=(str(project.folder), holding, release))
    worker.start()
    assert holding.wait(60)
    yield release
    release.set()
    worker.join(timeout=60)


def test_a_second_process_gives_up_when_its_time_is_over(project: Project, held: Any) -> None:
    words: list[str] = []
    with pytest.raises(ProjectBusy, match=r"another tam-edit works on .*ball.edit: try again"):  # noqa: SIM117
        with project.working(words.append, wait_s=0.15):
            pytest.fail("two at once")
    assert words == [f"another tam-edit works on {project.folder}: waiting until it is done"]
    # Saying where an object is needs another lock: marking goes on while a run works.
    assert project.change(said("ball")).names == ("ball",)


def test_a_second_process_waits_and_says_so(project: Project, held: Any) -> None:
    words: list[str] = []

    def said_so(text: str) -> None:
        words.append(text)
        threading.Timer(0.1, held.set).start()

    with project.working(said_so):
        assert len(words) == 1 and "waiting" in words[0]
    with project.working(words.append, wait_s=0):
        pass
    assert len(words) == 1, "free again after that: nothing to say"


def test_the_lock_of_a_killed_process_is_free(project: Project) -> None:
    context = multiprocessing.get_context("fork")
    holding, release = context.Event(), context.Event()
    worker = context.Process(target=hold, args=(str(project.folder), holding, release))
    worker.start()
    assert holding.wait(60)
    worker.kill()
    worker.join(timeout=60)
    with project.working(lambda text: pytest.fail(text), wait_s=0):
        pass


def test_an_error_inside_frees_the_project(project: Project) -> None:
    with pytest.raises(KeyError), project.working(lambda _: None):
        raise KeyError
    with project.working(lambda text: pytest.fail(text), wait_s=0):
        pass


def test_a_folder_that_cannot_be_written_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(StoreError, match=r"ball.edit cannot be written: Permission denied: check its permissions"):  # noqa: SIM117
        with project.working(lambda _: None):
            pytest.fail("no lock")


# Writing whole


def test_write_whole_replaces_or_leaves_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two" and files(tmp_path) == ["new/file.json"]
    long = tmp_path / ("n" * 250)
    write_whole(long, b"x")
    assert long.read_bytes() == b"x"


@pytest.mark.parametrize("step", ["os.fsync", "Path.replace", "Path.chmod", "tempfile.mkstemp", "Path.mkdir"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_write_whole_leaves_nothing_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "edit.json"
    path.write_bytes(b"former")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(f"tam_edit.project.{step}", fail)
    expected = OutputUnwritable if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_whole(path, b"new")
    monkeypatch.undo()
    if expected is OutputUnwritable:
        assert "edit.json cannot be written: No space left on device" in str(caught.value)
    assert files(tmp_path) == ["edit.json"] and path.read_bytes() == b"former"


# Reports


def test_reports_are_kept_in_order_and_bounded(project: Project) -> None:
    folder = project.folder / "reports"
    folder.mkdir()
    for number in range(MOST_REPORTS + 20):
        (folder / f"20200101-000000-{number:09d}-remove.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    kept = [project.keep_report(command, f'{{"command": "{command}"}}\n') for command in ("track", "remove", "mark")]
    left = sorted(folder.glob("*.json"))
    assert len(left) == MOST_REPORTS
    assert left[-3:] == kept, "names sort by time"
    assert left[0].name == "20200101-000000-000000023-remove.json", "the oldest went"
    assert json.loads(kept[1].read_text()) == {"command": "remove"}
    assert (folder / "notes.txt").exists()

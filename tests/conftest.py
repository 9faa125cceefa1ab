"""Fixtures that several test files share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tam_edit import cli
from tam_edit.pipelines import engines
from tests import scenes
from tests.support import Call

# A shell's background ignores it, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def quick_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simple engines in place of whatever is installed, so that a test sees what the stages do."""
    simple = scenes.simple_engines()
    monkeypatch.setattr(engines, "resolve", lambda settings, options: simple)


@pytest.fixture
def still_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that cost next to nothing, for large clips."""
    still = scenes.still_engines()
    monkeypatch.setattr(engines, "resolve", lambda settings, options: still)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command line in this process: (exit status, stdout, stderr)."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tam-edit", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def engines_put_back() -> Iterator[None]:
    """A test that leaves its simple engines in place would be felt by all that come after it."""
    before = engines.resolve
    yield
    left, engines.resolve = engines.resolve, before
    assert left is before, "put engines in place by monkeypatch"


@pytest.fixture(autouse=True)
def own_cache(
    engines_put_back: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edits without a project use a cache of the test's own."""
    monkeypatch.setenv("TAM_EDIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def ball_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 frames of a red ball in one shot."""
    return scenes.write_clip(tmp_path_factory.mktemp("clips") / "ball.mp4")


@pytest.fixture(scope="session")
def cut_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames, cuts at 20 and 40, the ball in all three shots."""
    return scenes.write_clip(tmp_path_factory.mktemp("clips") / "cut.mp4", frames=60, cuts=(20, 40))

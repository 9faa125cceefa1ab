"""Limits of the system that are told before a library waits for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tam_edit import limits
from tam_edit.errors import EngineError

resource = pytest.importorskip("resource")


@pytest.mark.parametrize("told", ["remove", "batch", "track"])
def test_a_limit_that_libraries_cannot_bear_is_told_at_once(told: str, tmp_path: Path) -> None:
    """It span in OpenBLAS while OpenCV was loaded."""
    ended = subprocess.run(
        ["bash", "-c", 'ulimit -v 650000; exec "$@"', "-", sys.executable, "-m", "tam_edit", told, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "666 MB of address space" in ended.stderr and "ulimit -v unlimited" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_help_is_given_under_any_limit() -> None:
    command = 'ulimit -v 650000; exec "$@"'
    ended = subprocess.run(
        ["bash", "-c", command, "-", sys.executable, "-m", "tam_edit", "remove", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0 and "Usage" in ended.stdout


def test_what_is_needed_grows_with_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_limit_bytes", lambda: 2 << 30)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    limits.check_address_space()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "16")
    with pytest.raises(EngineError, match="with 16 threads"):
        limits.check_address_space()
    monkeypatch.setattr(limits, "_limit_bytes", lambda: None)
    limits.check_address_space()

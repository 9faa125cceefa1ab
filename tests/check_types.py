"""Check types of every file under its installed name: mypy strict through a folder of links, files counted.

Type checkers do not follow setuptools' package-dir, and would call the few files they find a success.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINKS = ROOT / ".typing"


def link() -> None:
    """Lay the tree out as it installs: .typing/tam_edit/* with models/ and pipelines/ inside."""
    package = LINKS / "tam_edit"
    package.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in (ROOT / "tam_edit").iterdir() if not path.name.startswith("__pycache__")}
    wanted |= {"models": ROOT / "models", "pipelines": ROOT / "pipelines"}
    for old in package.iterdir():
        if old.name not in wanted:
            old.unlink()
    for name, target in wanted.items():
        if not (package / name).exists():
            (package / name).symlink_to(target)


def main() -> int:
    link()
    files = [path for top in ("tam_edit", "models", "pipelines") for path in (ROOT / top).rglob("*.py")]
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "tam_edit"]
    result = subprocess.run(command, cwd=LINKS, capture_output=True, text=True, check=False)
    print(result.stdout + result.stderr, end="")
    counted = re.search(r"(?:in|checked) (\d+) source files", result.stdout)
    checked = int(counted[1]) if counted else 0
    if result.returncode == 0 and checked != len(files):
        print(f"mypy checked {checked} files, the tree has {len(files)}")
        return 1
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())

"""What only the page needs to remember of a project: verdicts on doubtful frames, and the colours of objects."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from tam_edit.errors import UsageError
from tam_edit.project import write_whole

PAGE_FILE = ".page.json"
VERDICTS = ("accepted", "skipped", "open")
_COLOUR = re.compile(r"#[0-9a-f]{6}")


class Notes:
    """EDIT/.page.json; the script stays free of it, since no result depends on it. A damaged file is an empty one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PAGE_FILE
        tree: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._path.read_bytes())
            tree = found if isinstance(found, dict) else {}
        self._verdicts = _texts(tree.get("verdicts"))
        self._colours = {name: value for name, value in _texts(tree.get("colours")).items() if _COLOUR.fullmatch(value)}

    def verdict(self, key: str) -> str:
        return self._verdicts.get(key, "open")

    def judge(self, key: str, verdict: str) -> None:
        """Keep a verdict; "open" takes it back. Raises UsageError."""
        if verdict not in VERDICTS:
            raise UsageError(f"{verdict!r}: accepted, skipped or open")
        self._verdicts.pop(key, None)
        if verdict != "open":
            self._verdicts[key] = verdict
        self._write()

    def colour(self, name: str) -> str | None:
        """An object's colour, "#rrggbb"; None: the usual one of its place."""
        return self._colours.get(name)

    def paint(self, name: str, colour: str | None) -> None:
        """Give an object a colour; None gives it the usual one again. Raises UsageError."""
        if colour is not None and not _COLOUR.fullmatch(colour.lower()):
            raise UsageError(f"colour {colour[:40]!r}: write #RRGGBB, such as #c02020")
        self._colours.pop(name, None)
        if colour is not None:
            self._colours[name] = colour.lower()
        self._write()

    def rename(self, name: str, to: str) -> None:
        """The colour goes with the object."""
        if name in self._colours:
            self._colours[to] = self._colours.pop(name)
            self._write()

    def _write(self) -> None:
        write_whole(self._path, json.dumps({"verdicts": self._verdicts, "colours": self._colours}).encode())


def _texts(tree: Any) -> dict[str, str]:
    if not isinstance(tree, dict):
        return {}
    return {str(key): value for key, value in tree.items() if isinstance(value, str)}

"""What was made: the videos and exports of a project under EDIT/results, to look at and to download."""

from __future__ import annotations

import re
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

from tam_edit.media.digests import digest_source
from tam_edit.pipelines.probe import probe
from tam_edit.session import Edit
from tam_edit.web.pictures import Pictures

_NAME = re.compile(r"(removed|replaced|altered|rendered|export)(?:-([a-z0-9-]+?))?-(\d{3,})(\.[a-z0-9]+)?")
PLAYABLE = frozenset({".mp4", ".mkv", ".mov", ".webm", ".m4v", ".avi"})
PICTURES = "pictures"
CONTAINERS = (".mp4", ".mov", ".mkv", ".webm", PICTURES)
"""How a result can be stored: the end of its name, or numbered pictures in a folder."""


class Results:
    """The results folder of one project; names in requests are only looked up in what lies there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, Pictures] = {}
        self._opening = threading.Lock()

    def next_path(self, kind: str, suffix: str, what: str = "") -> Path:
        """A new name such as removed-003.mp4 or export-davis-004."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = max((int(match[3]) for match in map(_NAME.fullmatch, self._names()) if match), default=0) + 1
        return self.folder / f"{kind}{f'-{what}' if what else ''}-{number:03d}{suffix}"

    def find(self, name: str) -> Path | None:
        """The result of this name, if there is one."""
        return self.folder / name if name in self._names() and _NAME.fullmatch(name) else None

    def to_json(self) -> list[dict[str, Any]]:
        found = []
        for name in sorted(self._names(), key=lambda name: (self.folder / name).stat().st_mtime):
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            path = self.folder / name
            viewable = match[1] != "export" and (match[4] or "") in PLAYABLE
            size = path.stat().st_size if path.is_file() else sum(item.stat().st_size for item in path.rglob("*"))
            found.append({"name": name, "kind": match[1], "bytes": size, "viewable": viewable, "folder": path.is_dir()})
        return found

    def pictures(self, edit: Edit, name: str) -> Pictures | None:
        """An opened result, for comparing frame by frame; None when there is none of this name."""
        path = self.find(name)
        if path is None or path.suffix not in PLAYABLE:
            return None
        with self._opening:
            if name not in self._opened:
                runner = edit.bench.runner(dry=True)
                source = probe(runner, path, digest_source(path)).source
                self._opened[name] = Pictures(source, room_bytes=96 << 20)
            return self._opened[name]

    def packed(self, path: Path) -> Path:
        """A folder of files as one zip in the temporary folder; whoever asks removes it."""
        with tempfile.NamedTemporaryFile(prefix="tam-edit-", suffix=".zip", delete=False) as file:
            place = Path(file.name)
            try:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    for item in sorted(path.rglob("*")):
                        if item.is_file():
                            archive.write(item, f"{path.name}/{item.relative_to(path)}")
            except BaseException:
                place.unlink(missing_ok=True)
                raise
        return place

    def close(self) -> None:
        with self._opening:
            for pictures in self._opened.values():
                pictures.close()
            self._opened.clear()

    def _names(self) -> set[str]:
        return {item.name for item in self.folder.iterdir()} if self.folder.is_dir() else set()

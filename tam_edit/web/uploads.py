"""Files sent from the browser: streamed to disk under a name that is ours, bounded, whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

from tam_edit.errors import OutputUnwritable, UsageError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".mxf", ".ogv", ".gif"}
)
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
SPARE_BYTES = 256 << 20
"""So much of the disk stays free: a full one would stop the work that is going on."""
LONGEST_STEM = 60


def safe_name(given: str, suffixes: frozenset[str]) -> str:
    """A file name of harmless signs for what a browser calls a file. Raises UsageError for kinds that do not fit."""
    name = unquote(given).replace("\\", "/").rsplit("/", 1)[-1]
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in suffixes:
        raise UsageError(f"{name!r}: files of these kinds can be used here: {', '.join(sorted(suffixes))}")
    stem = re.sub(r"[^\w-]+", "-", stem, flags=re.ASCII).strip("-_")[:LONGEST_STEM]
    return f"{stem or 'clip'}{suffix.lower()}"


def free_path(folder: Path, name: str) -> Path:
    """A path in the folder that nothing lies at yet: the name, or with a number behind it."""
    stem, suffix = os.path.splitext(name)
    path, number = folder / name, 2
    while path.exists():
        path = folder / f"{stem}-{number}{suffix}"
        number += 1
    return path


async def receive(
    stream: AsyncIterator[bytes], folder: Path, name: str, limit_bytes: int, announced: int | None
) -> Path:
    """Write a request's body to a new file in the folder and return its path.

    Raises UsageError for more than limit_bytes, OutputUnwritable without room; then nothing is left.
    """
    limit = f"{limit_bytes / 1e9:.1f} GB"
    too_much = UsageError(f"{name}: more than {limit}: allow more with --upload-limit, or open it by name")
    if announced is not None and announced > limit_bytes:
        raise too_much
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free - SPARE_BYTES
        number, temporary = tempfile.mkstemp(dir=folder, prefix=".upload-")
    except OSError as error:
        raise OutputUnwritable(f"{folder} cannot be written: {error.strerror}: check its permissions") from error
    written = 0
    try:
        with os.fdopen(number, "wb") as file:
            async for piece in stream:
                written += len(piece)
                if written > limit_bytes:
                    raise too_much
                if written > free:
                    raise OutputUnwritable(f"no room for {name} in {folder}: free some space")
                file.write(piece)
        if written == 0:
            raise UsageError(f"{name} is empty: send a file with something in it")
        path = free_path(folder, name)
        Path(temporary).replace(path)
        path.chmod(0o644)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path

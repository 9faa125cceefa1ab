"""The digest of a source: what a project remembers to notice that its clip was changed."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from tam_edit.errors import ClipEmpty, SourceUnreadable
from tam_edit.media.opening import PICTURE_SUFFIXES, check_readable

BLOCK_BYTES = 1 << 20


def digest_source(path: str | Path) -> str:
    """BLAKE2b-256 of a file's bytes, or of the names and bytes of a folder's pictures, as 64 hex digits.

    Raises SourceMissing, SourceUnreadable, ClipEmpty (a folder without pictures).
    """
    place = Path(path)
    check_readable(place)
    digest = hashlib.blake2b(digest_size=32)
    if place.is_dir():
        for picture in list_pictures(place):
            name = os.fsencode(picture.name)  # which may be no text
            digest.update(b"%d:%b:%d:" % (len(name), name, picture.stat().st_size))
            _feed(digest, picture)
    else:
        _feed(digest, place)
    return digest.hexdigest()


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order (frame2 before frame10), hidden files left out. Raises ClipEmpty."""
    try:
        found = [
            entry
            for entry in folder.iterdir()
            if entry.suffix.lower() in PICTURE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        ]
    except OSError as error:
        raise SourceUnreadable(f"{folder}: cannot be read ({error.strerror}); check its rights") from error
    if not found:
        kinds = ", ".join(sorted(PICTURE_SUFFIXES))
        raise ClipEmpty(f"{folder}: the folder holds no pictures ({kinds}); name the folder that holds the frames")
    return sorted(found, key=lambda entry: _natural(entry.name))


def _natural(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    pieces = re.split(r"(\d+)", name.casefold())
    return tuple((1, int(piece), "") if piece.isdigit() else (0, 0, piece) for piece in pieces), name


def _feed(digest: hashlib.blake2b, path: Path) -> None:
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise SourceUnreadable(f"{path}: cannot be read ({error.strerror}); check its rights and the disk") from error

"""Putting a result in its place: under a hidden name first, flushed, then renamed; whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from tam_edit.errors import OutputIsSource, OutputUnwritable, TamEditError

MOST_STEM_BYTES = 150


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Both names lead to one file or folder, also through links."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them is not there, or cannot be: told where it is used
        return os.path.realpath(one) == os.path.realpath(other)


def check_destination(destination: str | Path, source_path: str | Path | None) -> None:
    """Refuse a place that cannot take a result, before work starts. Raises OutputIsSource, OutputUnwritable."""
    place = Path(destination)
    if source_path is not None and is_same_file(place, source_path):
        raise OutputIsSource(f"{place}: is the clip itself; write the result under another name")
    if (
        source_path is not None
        and Path(source_path).is_dir()
        and place.resolve().is_relative_to(Path(source_path).resolve())
    ):
        raise OutputIsSource(f"{place}: lies in the folder of the clip's pictures; write the result elsewhere")
    if is_same_file(place, "."):  # an empty name means it, too
        raise OutputUnwritable("the folder that you are in would be replaced as a whole; name a file or a new folder")
    folder = place.parent
    try:
        mode = place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    except OSError as error:
        raise unwritable(place, error) from error
    except ValueError as error:
        raise OutputUnwritable(f"{str(place)!r}: no name for a file; choose another one") from error
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OutputUnwritable(f"{place}: is a device or a pipe and would be replaced; name a file")
    if not folder.is_dir():
        raise OutputUnwritable(f"{folder}: there is no such folder; make it first (mkdir -p {folder})")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputUnwritable(f"{folder}: no permission to write there; choose another folder")


@contextlib.contextmanager
def placed(destination: str | Path) -> Iterator[Path]:
    """Give a hidden name beside the destination to write to; on success it is flushed and takes the destination's name.

    On any error nothing stays. Raises OutputUnwritable for errors of the disk (no room, no permission).
    """
    place = Path(os.path.abspath(destination))  # a whole path: FFmpeg takes what is before a colon for a protocol
    _clear_dead(place)
    hidden = place.with_name(f".{_short_stem(place)}.{_owner()}-{secrets.token_hex(4)}.part{place.suffix}")
    try:
        yield hidden
        inner = [entry for entry in hidden.iterdir() if entry.is_file()] if hidden.is_dir() else []
        for written in (*inner, hidden):
            _flush(written)
        if place.is_dir() and not place.is_symlink():
            _swap_folder(hidden, place)
        else:
            os.replace(hidden, place)
        _flush(place.parent)
    except TamEditError:
        _remove(hidden)
        raise
    except OSError as error:
        _remove(hidden)
        raise unwritable(place, error) from error
    except BaseException:
        _remove(hidden)
        raise


def _short_stem(place: Path) -> str:
    """The name without its ending, or what stands for it where the hidden name would be longer than a name may be."""
    name = os.fsencode(place.stem)
    return place.stem if len(name) <= MOST_STEM_BYTES else f"{zlib.crc32(name):08x}"


def _owner() -> str:
    """This process, on this machine."""
    return f"{zlib.crc32(platform.node().encode()):08x}-{os.getpid()}"


def _clear_dead(place: Path) -> None:
    """Remove what processes of this machine that were killed have left of the same result."""
    node = _owner().split("-")[0]
    left = re.compile(
        re.escape(f".{_short_stem(place)}.{node}-") + r"(\d+)-[0-9a-f]{8}\.part" + re.escape(place.suffix)
    )
    for entry in place.parent.iterdir():
        found = left.fullmatch(entry.name)
        if found and not _lives(int(found[1])):
            _remove(entry)


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def unwritable(place: Path, error: OSError) -> OutputUnwritable:
    """The disk's error in our words."""
    what = {
        errno.ENOSPC: "the disk is full; make room, or write elsewhere",
        errno.EDQUOT: "your disk quota is used up; make room, or write elsewhere",
        errno.EACCES: "no permission to write there; choose another folder",
        errno.EPERM: "no permission to write there; choose another folder",
        errno.EFBIG: "the file would be larger than is allowed there; write elsewhere",
        errno.EROFS: "the disk is read-only; choose another folder",
        errno.ENOENT: "its folder is gone; make it again",
        errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
        errno.EISDIR: "is a folder; name a file",
    }.get(error.errno or 0, f"cannot be written ({error.strerror or error})")
    return OutputUnwritable(f"{place}: {what}")


def _flush(path: Path) -> None:
    """Have the disk keep a file's bytes, or a folder's names; not what lies in the folder, which may be others'."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _swap_folder(hidden: Path, place: Path) -> None:
    """A folder cannot be renamed over one with something in it: the old one steps aside first."""
    old = place.with_name(f".{place.name}.{secrets.token_hex(4)}.old")
    os.rename(place, old)
    try:
        os.rename(hidden, place)
    except OSError:
        os.rename(old, place)
        raise
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

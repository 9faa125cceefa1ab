"""Root may do everything: an attempt gives that up, save for reading Python's own files and mounting its own disks."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534
READ_EVERYTHING, MOUNT = 2, 21  # linux/capability.h
NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000
READ_ONLY, REMOUNT, BIND, PRIVATE, DOWNWARDS = 1, 32, 4096, 1 << 18, 1 << 14
KEEP_RIGHTS, AMBIENT, RAISE = 8, 47, 2
VERSION = 0x20080522


class NoMounts(Exception):
    """This machine does not let a test mount anything."""


def become_nobody(places: Sequence[Path]) -> None:
    """From root to a user who owns nothing but these places; others stay who they are.

    A damaged jobs file may name /dev/null as its output, which root would replace.
    """
    if os.getuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    kept = [READ_EVERYTHING]  # the interpreter may lie in root's home
    if libc.unshare(NEW_MOUNTS) == 0 and libc.mount(b"none", b"/", None, DOWNWARDS | PRIVATE, None) == 0:
        kept.append(MOUNT)
    for path in places:
        os.chown(path, NOBODY, NOBODY)
    libc.prctl(KEEP_RIGHTS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    keep(kept)


def keep(capabilities: Sequence[int]) -> None:
    """Have these capabilities and no others, in children too."""
    libc = ctypes.CDLL(None, use_errno=True)
    mask = sum(1 << number for number in capabilities)
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    # Effective, permitted and inheritable, twice: for the lower and the upper 32.
    libc.capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0))
    for number in capabilities:
        libc.prctl(AMBIENT, RAISE, number, 0, 0)


def may_mount() -> bool:
    status = Path("/proc/self/status").read_text()
    mask = int(status.split("CapEff:")[1].split()[0], 16)
    return bool(mask >> MOUNT & 1)


def private_mounts() -> None:
    """Let this process mount what nobody else sees. Raises NoMounts."""
    if may_mount():  # rights kept by become_nobody
        return
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_USER | NEW_MOUNTS):
        raise NoMounts(os.strerror(ctypes.get_errno()))
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError as error:
        raise NoMounts(str(error)) from error


def mount(source: str, target: Path, kind: str | None, how: int, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    given = None if kind is None else kind.encode()
    if libc.mount(source.encode(), bytes(target), given, how, options.encode()):
        raise NoMounts(os.strerror(ctypes.get_errno()))

"""Fetching weights: consent to the licence, addresses in turn, verified bytes, whole under their name or not at all."""

from __future__ import annotations

import contextlib
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tam_edit.errors import OutputUnwritable, UsageError, WeightsError, WeightsMissing, WeightsUnsafe
from tam_edit.models import weights
from tam_edit.models.catalogue import WeightsEntry
from tam_edit.models.weights_download import CopyDownloader, DriveDownloader, Patience, Progress, Refused, Resuming

_BEGINNINGS = (b"PK\x03\x04", b"\x80")
_DRIVE_HOSTS = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")


@dataclass(frozen=True)
class Fetched:
    """Weights that are installed now: where, what bytes, where from (None: they were there before), and words on it."""

    key: str
    path: Path
    sha256: str
    size_bytes: int
    verified: bool
    basis: weights.Basis
    address: str | None
    words: str


def fetch(
    key: str,
    *,
    source: str | Path | None = None,
    accept_licence: bool = False,
    progress: Progress | None = None,
    folder: Path | None = None,
    patience: Patience | None = None,
) -> Fetched:
    """Fetch weights into the first folder that is searched ($TAM_EDIT_WEIGHTS or the user's data folder), or `folder`.

    `source` (a file, a folder, a URL, or a URL ending in / that stands for a mirror's folder) takes the place of the
    official addresses; `progress` is told (bytes so far, all bytes or None). A download that broke off is resumed,
    also by a later call. Nothing appears under the official name before its bytes are verified. Weights that are
    installed and verified are left as they are.
    Raises UsageError (unknown key; a licence that was not accepted), WeightsMissing (no such source file),
    WeightsUnsafe (wrong bytes), OutputUnwritable, WeightsError (no address answered; the message lists them).
    """
    facts = weights.entry(key)
    if not facts.allows_commercial and not accept_licence:
        raise UsageError(licence_words(facts) + f" To accept it: {weights.fetch_command(key)}")
    place = folder if folder is not None else weights.folders()[0]
    target = place / facts.file_name
    there = _installed(facts, target)
    if there is not None and (source is None or there.basis == "catalogue"):
        return there
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(
            f"the weights folder '{place}' cannot be made ({error.strerror}): {_elsewhere()}"
        ) from error
    addresses = facts.addresses if source is None else (_address(source, facts),)
    failures: list[str] = []
    for address in addresses:
        downloader = _downloader(address, target, facts, patience or Patience(), progress)
        try:
            _retrieve(address, target, facts, downloader)
        except Refused as refusal:
            failures.append(f"{address}: {refusal}")
            continue
        return _settle(facts, target, address)
    raise WeightsError(
        f"{facts.file_name} could not be fetched. "
        + "; ".join(failures)
        + ". Try again later (what was received is kept and resumed), give a mirror with "
        + f"'{weights.fetch_command(key)} --from URL', or bring the file yourself: ... --from FILE."
    )


def licence_words(facts: WeightsEntry) -> str:
    """Say what a licence asks, in words for someone who is about to fetch."""
    if facts.allows_commercial:
        return f"{facts.file_name} is under {facts.licence} ({facts.licence_address}): any use is allowed."
    return (
        f"{facts.file_name} is under {facts.licence} ({facts.licence_address}): it must not be used commercially, "
        "and its authors must be named."
    )


def _installed(facts: WeightsEntry, target: Path) -> Fetched | None:
    if not target.is_file():
        return None
    found = weights.named_file(facts, target)
    if not found.verified:
        return None
    words = f"{facts.file_name} is installed already, and {verified_words(found.basis)}"
    return _told(facts, target, found, None, words)


def _told(facts: WeightsEntry, path: Path, found: weights.FoundWeights, address: str | None, words: str) -> Fetched:
    return Fetched(facts.key, path, found.sha256, path.stat().st_size, found.verified, found.basis, address, words)


def verified_words(basis: weights.Basis) -> str:
    """Say what a SHA-256 was compared with."""
    return {
        "catalogue": "its SHA-256 is the official one",
        "first fetch": "its SHA-256 is the one recorded when it was first fetched (the official one is not known)",
        "nothing": "its SHA-256 could not be compared with anything: the official one is not known",
    }[basis]


def _settle(facts: WeightsEntry, target: Path, address: str) -> Fetched:
    """Record what was fetched, where nothing is known to compare it with, and say so."""
    sha256 = weights.sha256_of(target, fresh=True)
    if facts.confirms(sha256):
        words = f"{facts.file_name} is installed: {verified_words('catalogue')}"
        found = weights.FoundWeights(facts.key, target, sha256, True, "catalogue")
        return _told(facts, target, found, address, words)
    before = weights.read_note(target).first_sha256
    size = target.stat().st_size
    if before is None:
        weights.keep_note(target, first_sha256=sha256, first_size_bytes=size, first_address=address)
        words = (
            f"{facts.file_name} is installed. Its official SHA-256 is not known, so the one that came is recorded and "
            f"later ones are compared with it: {sha256}, {size} bytes"
        )
    else:
        words = f"{facts.file_name} is installed: {verified_words('first fetch')}"
    return _told(facts, target, weights.FoundWeights(facts.key, target, sha256, True, "first fetch"), address, words)


def _retrieve(address: str, target: Path, facts: WeightsEntry, downloader: Callable[[str, str, object], None]) -> None:
    """Download through pooch to a hidden name, check the bytes, then rename: no half file under the official name."""
    import logging

    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # it prints advice on hashes that is not for our users
    arrived = target.with_name(f".{target.name}.arrived")
    arrived.unlink(missing_ok=True)
    known = f"sha256:{facts.sha256}" if facts.sha256 else None
    try:
        for last in (False, True):
            try:
                pooch.retrieve(address, known, fname=arrived.name, path=arrived.parent, downloader=downloader)
                break
            except ValueError as error:
                # Bytes joined from two breaks may be of two files: once more, from the start.
                if last or not getattr(downloader, "resumed", False):
                    raise WeightsUnsafe(
                        f"what came from {address} is not the official {facts.file_name}: {_digests(error)}. "
                        "It was thrown away; give another source with --from."
                    ) from error
        _extract(arrived, facts)
        _check_bytes(arrived, target, address, facts)
        arrived.replace(target)
    except OSError as error:
        raise OutputUnwritable(f"'{target}' cannot be written ({error.strerror or error}): {_elsewhere()}") from error
    finally:
        with contextlib.suppress(OSError):
            arrived.unlink(missing_ok=True)


def _digests(error: ValueError) -> str:
    words = str(error)
    start, end = words.find("expected "), words.find(". Deleted")
    return words[start:end] if 0 <= start < end else words


def _extract(arrived: Path, facts: WeightsEntry) -> None:
    """Take the checkpoint out of an archive that holds it (E2FGVI's is published so); other files stay as they are."""
    if not zipfile.is_zipfile(arrived):
        return
    with zipfile.ZipFile(arrived) as archive:
        members = [member for member in archive.infolist() if Path(member.filename).name == facts.file_name]
        if not members:
            return
        inner = arrived.with_name(f"{arrived.name}.inner")
        with archive.open(members[0]) as packed, inner.open("wb") as stream:
            while block := packed.read(1 << 20):
                stream.write(block)
    inner.replace(arrived)


def _check_bytes(arrived: Path, target: Path, address: str, facts: WeightsEntry) -> None:
    """Where no digest is known: at least a whole checkpoint, and the same as at the first fetch."""
    if facts.sha256 is not None:
        return  # pooch compared it
    with arrived.open("rb") as stream:
        beginning = stream.read(4)
    if not beginning.startswith(_BEGINNINGS) or (beginning[:2] == b"PK" and not zipfile.is_zipfile(arrived)):
        raise WeightsUnsafe(
            f"what came from {address} is no checkpoint, or only a part of one (it begins with {beginning!r}, "
            f"{arrived.stat().st_size} bytes). It was thrown away; give another source with --from."
        )
    sha256 = weights.digest_file(arrived)
    first = weights.read_note(target).first_sha256
    if facts.contradicts(sha256) or (first is not None and first != sha256):
        raise WeightsUnsafe(
            f"what came from {address} has the SHA-256 {sha256}, but {facts.file_name} had "
            f"{first or facts.sha256_prefix} when it was first fetched. It was thrown away. "
            f"If you trust the new file, delete '{weights.note_path(target)}' and fetch again."
        )


def _address(source: str | Path, facts: WeightsEntry) -> str:
    """Turn what stands behind --from into an address; raises WeightsMissing for a file that is not there."""
    text = str(source)
    if "://" in text and not text.startswith("file://"):
        if urlsplit(text).scheme not in ("http", "https"):
            raise UsageError(f"--from {text}: only http, https and files can be read")
        return text + facts.file_name if text.endswith("/") else text
    path = Path(unquote(urlsplit(text).path)) if text.startswith("file://") else Path(text).expanduser()
    if path.is_dir():
        path = path / facts.file_name
    if not path.is_file():
        raise WeightsMissing(f"there is no file '{path}' to take {facts.file_name} from: check the path")
    return str(path.resolve())


def _downloader(
    address: str, target: Path, facts: WeightsEntry, patience: Patience, progress: Progress | None
) -> CopyDownloader | DriveDownloader | Resuming:
    if "://" not in address:
        return CopyDownloader(progress)
    if urlsplit(address).hostname in _DRIVE_HOSTS:
        return DriveDownloader(target, patience, progress)
    return Resuming(
        target,
        size_bytes=facts.size_bytes,
        digest_known=facts.sha256 is not None,
        patience=patience,
        progress=progress,
        sleep=time.sleep,
    )


def _elsewhere() -> str:
    return f"make room or name another folder in ${weights.FOLDER_VARIABLE}"

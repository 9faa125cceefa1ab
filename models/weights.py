"""Weights on disk: where they are looked for, whether they are the official bytes, and what to do if not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tam_edit.errors import UsageError, WeightsMissing, WeightsUnsafe
from tam_edit.models.catalogue import ENGINE_WEIGHTS, WEIGHTS, WeightsEntry

FOLDER_VARIABLE = "TAM_EDIT_WEIGHTS"
_BLOCK = 1 << 20
# What a file's digest was compared with: the catalogue's, the one recorded when it was first fetched, or nothing.
Basis = Literal["catalogue", "first fetch", "nothing"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class FoundWeights:
    """A checkpoint that may be used: where it lies, its SHA-256 (hex), and how far that is known to be right.

    `verified` says that the SHA-256 equals the one of `basis`. `warning` is for the report: why it is not verified,
    or which other file was passed over.
    """

    key: str
    path: Path
    sha256: str
    verified: bool
    basis: Basis
    warning: str | None = None


@dataclass(frozen=True)
class Note:
    """What is kept beside a checkpoint: its digest while size and time stay the same, and that of the first fetch."""

    size_bytes: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    first_sha256: str | None = None
    first_size_bytes: int | None = None
    first_address: str | None = None


def folders() -> tuple[Path, ...]:
    """Return the folders that are searched, first first: $TAM_EDIT_WEIGHTS, then the user's data folder."""
    from platformdirs import user_data_path

    own = user_data_path("tam-edit", appauthor=False) / "weights"
    named = os.environ.get(FOLDER_VARIABLE)
    return (Path(named).expanduser(), own) if named else (own,)


def entry(key: str) -> WeightsEntry:
    """Return the catalogue's facts; raises UsageError, with the keys there are, for an unknown one."""
    if key not in WEIGHTS:
        raise UsageError(f"there are no weights called '{key}': choose one of {', '.join(WEIGHTS)}")
    return WEIGHTS[key]


def parse_named(pairs: Iterable[str]) -> dict[str, Path]:
    """Read `--weights NAME=FILE` options; NAME is a key of the catalogue or an engine (sam, xmem, ...).

    Raises UsageError for another form or name.
    """
    named = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise UsageError(f"--weights {pair}: write NAME=FILE, for example xmem=XMem.pth")
        if name not in WEIGHTS and name not in ENGINE_WEIGHTS:
            known = ", ".join(dict.fromkeys((*ENGINE_WEIGHTS, *WEIGHTS)))
            raise UsageError(f"--weights {pair}: there are no weights called '{name}'; names are {known}")
        named[name] = Path(file).expanduser()
    return named


def find(key: str, named: Mapping[str, Path] | None = None, *, say: Say | None = None) -> FoundWeights | None:
    """Look for one checkpoint: as named directly, in $TAM_EDIT_WEIGHTS, in the user's data folder.

    A file that is named directly is used whatever its SHA-256, with a warning if it is not the catalogue's. A file in
    the folders whose SHA-256 contradicts the known one is passed over; `say` is told. None if there is none to use.
    Raises WeightsMissing if the file that is named does not exist, UsageError for an unknown key.
    """
    facts = entry(key)
    if named and key in named:
        return named_file(facts, named[key])
    passed_over: list[str] = []
    for folder in folders():
        path = folder / facts.file_name
        if not path.is_file():
            continue
        found = _judge(facts, path)
        if found is not None:
            return _with_warning(found, passed_over)
        words = _contradiction(facts, path)
        passed_over.append(words)
        if say is not None:
            say(words)
    return None


def find_for_engine(
    engine: str, named: Mapping[str, Path] | None = None, *, say: Say | None = None
) -> FoundWeights | None:
    """Look for the weights of an engine (sam, xmem, e2fgvi, e2fgvi-hq): named ones first, then the best installed.

    `named` may use the engine's name or a key of its weights. Raises as `find` does.
    """
    if engine not in ENGINE_WEIGHTS:
        raise UsageError(f"no engine '{engine}' has weights: choose one of {', '.join(ENGINE_WEIGHTS)}")
    keys = ENGINE_WEIGHTS[engine]
    if named:
        if engine in named:
            return named_file(_entry_of_file(keys, named[engine]), named[engine])
        for key in keys:
            if key in named:
                return find(key, named)
    for key in keys:
        if (found := find(key, say=say)) is not None:
            return found
    return None


def require(key: str, named: Mapping[str, Path] | None = None, *, say: Say | None = None) -> FoundWeights:
    """Like `find`, but raises WeightsMissing with the command that fetches them, or WeightsUnsafe for wrong bytes."""
    passed_over: list[str] = []

    def hear(words: str) -> None:
        passed_over.append(words)
        if say is not None:
            say(words)

    found = find(key, named, say=hear)
    if found is not None:
        return found
    if passed_over:
        raise WeightsUnsafe(" ".join(passed_over))
    raise WeightsMissing(missing_words(key))


def require_for_engine(engine: str, named: Mapping[str, Path] | None = None, *, say: Say | None = None) -> FoundWeights:
    """Like `find_for_engine`, but raises WeightsMissing or WeightsUnsafe as `require` does."""
    found = find_for_engine(engine, named, say=say)
    return found if found is not None else require(ENGINE_WEIGHTS[engine][-1], say=None)


def fetch_command(key: str) -> str:
    """Return the command a person types to fetch these weights."""
    consent = "" if entry(key).allows_commercial else " --accept-licence"
    return f"tam-edit models fetch {key}{consent}"


def missing_words(key: str) -> str:
    """Say that weights are not installed, and everything one can do about it."""
    facts = entry(key)
    places = " or ".join(f"'{folder}'" for folder in folders())
    return (
        f"the weights '{key}' are not installed: no {facts.file_name} in {places}. "
        f"Fetch them with '{fetch_command(key)}', or name a file with --weights {key}=FILE"
    )


def named_file(facts: WeightsEntry, path: Path) -> FoundWeights:
    """Judge a file that a person named directly: used whatever its bytes, with a warning where they are not known."""
    if not path.is_file():
        raise WeightsMissing(f"there is no file '{path}' (named for the weights '{facts.key}'): check the path")
    found = _judge(facts, path)
    if found is not None:
        return found
    warning = (
        f"'{path}' is not the official {facts.file_name}: its SHA-256 is {sha256_of(path)}, "
        f"the catalogue's {_known(facts)}. It is used because it was named directly."
    )
    return FoundWeights(facts.key, path, sha256_of(path), False, "catalogue", warning)


def sha256_of(path: Path, *, fresh: bool = False) -> str:
    """Return the SHA-256 (hex) of a file, remembered beside it while its size and time stay the same.

    `fresh` reads the file whatever is remembered.
    """
    state = path.stat()
    note = read_note(path)
    if not fresh and note.sha256 and (note.size_bytes, note.mtime_ns) == (state.st_size, state.st_mtime_ns):
        return note.sha256
    sha256 = digest_file(path)
    keep_note(path, size_bytes=state.st_size, mtime_ns=state.st_mtime_ns, sha256=sha256)
    return sha256


def digest_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes as they are now."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_note(path: Path) -> Note:
    """Return what is remembered of a checkpoint; an empty note if nothing is, or nothing that makes sense."""
    try:
        read = json.loads(note_path(path).read_text(encoding="utf-8"))
        return Note(**read)
    except (OSError, ValueError, TypeError):
        return Note()


def keep_note(path: Path, **changes: str | int | None) -> None:
    """Remember something of a checkpoint; where the folder cannot be written, it is not remembered."""
    place = note_path(path)
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    values = {name: value for name, value in {**vars(read_note(path)), **changes}.items() if value is not None}
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        part.replace(place)


def _judge(facts: WeightsEntry, path: Path) -> FoundWeights | None:
    """Compare a file with what is known; None if it contradicts."""
    sha256 = sha256_of(path)
    if facts.contradicts(sha256):
        return None
    if facts.confirms(sha256):
        return FoundWeights(facts.key, path, sha256, True, "catalogue")
    first = read_note(path).first_sha256
    if first == sha256:
        return FoundWeights(facts.key, path, sha256, True, "first fetch")
    if first is not None:
        return None
    warning = (
        f"the official SHA-256 of {facts.file_name} is not known, so '{path}' could not be verified "
        f"(its SHA-256 is {sha256})"
    )
    return FoundWeights(facts.key, path, sha256, False, "nothing", warning)


def _contradiction(facts: WeightsEntry, path: Path) -> str:
    return (
        f"'{path}' was not used: its SHA-256 is {sha256_of(path)}, but that of the official file is "
        f"{_known(facts, path)}. "
        f"Delete it and run '{fetch_command(facts.key)}', or name it directly with --weights {facts.key}=FILE."
    )


def _known(facts: WeightsEntry, path: Path | None = None) -> str:
    if facts.sha256 is not None:
        return facts.sha256
    if facts.sha256_prefix is not None:
        return f"{facts.sha256_prefix}..."
    first = read_note(path).first_sha256 if path is not None else None
    return f"{first} (as first fetched)" if first else "not known"


def _with_warning(found: FoundWeights, passed_over: list[str]) -> FoundWeights:
    words = [*passed_over, *([found.warning] if found.warning else [])]
    return FoundWeights(found.key, found.path, found.sha256, found.verified, found.basis, " ".join(words) or None)


def _entry_of_file(keys: tuple[str, ...], path: Path) -> WeightsEntry:
    """Choose which of an engine's weights a file is meant to be: by its name, else the last (the plainest)."""
    for key in keys:
        if WEIGHTS[key].file_name == path.name:
            return WEIGHTS[key]
    return WEIGHTS[keys[-1]]


def note_path(path: Path) -> Path:
    """Return where what is remembered of a checkpoint is kept."""
    return path.with_name(f".{path.name}.json")


def __getattr__(name: str) -> object:
    """Give `fetch` here too; requests and pooch come in only when it is asked for."""
    if name == "fetch":
        from tam_edit.models.weights_fetch import fetch

        return fetch
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")

"""Downloaders for pooch that take a broken download up again: over HTTP, from Google Drive, and from a file."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tam_edit.errors import OutputUnwritable, WeightsError

if TYPE_CHECKING:
    from requests import Response, Session

Progress = Callable[[int, int | None], None]
# A break loses at most one block.
_BLOCK = 1 << 15
_LONGEST_PAUSE_S = 60.0
# Answers after which the same question may be answered better later.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try again; `attempts` counts tries in a row that brought no byte."""

    attempts: int = 5
    connect_s: float = 20.0
    read_s: float = 30.0
    pause_s: float = 1.0


class Refused(Exception):
    """An address that will not give the file, however often it is asked; its words say why."""


class _Broken(Exception):
    """A download that stopped before its end and may be taken up again."""

    def __init__(self, words: str, wait_s: float = 0.0) -> None:
        super().__init__(words)
        self.wait_s = wait_s


@dataclass(frozen=True)
class _Origin:
    """What a part on disk is a part of: to be continued only with bytes of the same file."""

    address: str
    validator: str | None
    total: int | None


class Resuming:
    """A pooch downloader over HTTP(S) that resumes: within a call after every break, and in later calls.

    Bytes lie in `.NAME.part` beside `target` until they are complete, with a note on their origin; proxies and
    certificates are taken from the environment, as requests does. Source: RFC 9110 section 14 (Range, If-Range).
    """

    def __init__(
        self,
        target: Path,
        *,
        size_bytes: int | None,
        digest_known: bool,
        patience: Patience,
        progress: Progress | None,
        sleep: Callable[[float], None],
    ) -> None:
        self.resumed = False
        self._part = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")
        self._size_bytes = size_bytes
        self._digest_known = digest_known
        self._patience = patience
        self._progress = progress
        self._sleep = sleep

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:  # noqa: ARG002
        """Download `url` to `output_file`; raises Refused, OutputUnwritable, and WeightsError if it is busy."""
        import requests

        self.resumed = False
        with self._part.open("ab") as stream, _alone(stream, self._part), requests.Session() as session:
            if self._read_origin().address != url:
                self._restart(stream)
            idle = 0
            while True:
                before = stream.tell()
                try:
                    self._continue(session, url, stream)
                    break
                except _Broken as broken:
                    idle = 0 if stream.tell() > before else idle + 1
                    if idle >= self._patience.attempts:
                        raise Refused(f"{broken} (tried {idle} times)") from broken
                    self._sleep(min(max(broken.wait_s, self._patience.pause_s * 2**idle), _LONGEST_PAUSE_S))
        self._part.replace(output_file)
        self._note.unlink(missing_ok=True)

    def _continue(self, session: Session, url: str, stream: IO[bytes]) -> None:
        """Ask for what is missing and write it; returns when the file is complete."""
        import requests

        offset = stream.tell()
        origin = self._read_origin()
        if offset and origin.validator is None and not self._digest_known:
            self._restart(stream)  # nothing would tell whether the rest belongs to the same file
            offset = 0
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if origin.validator is not None:
                headers["If-Range"] = origin.validator
        patience = self._patience
        try:
            with session.get(
                url, headers=headers, stream=True, timeout=(patience.connect_s, patience.read_s)
            ) as answer:
                if self._prepare(answer, url, stream, offset):
                    return
                self._write(answer, stream)
        except (
            requests.exceptions.SSLError,
            requests.exceptions.TooManyRedirects,
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
        ) as error:
            raise Refused(_reason(error)) from error
        except requests.exceptions.RequestException as error:
            raise _Broken(_reason(error)) from error

    def _prepare(self, answer: Response, url: str, stream: IO[bytes], offset: int) -> bool:
        """Judge the answer and set the stream to where its bytes belong; True if the file is complete already."""
        status = answer.status_code
        if status == 416:
            if _range_total(answer) == offset:
                return True
            self._restart(stream)
            raise _Broken("the part on disk did not fit the file; begun again")
        if status in _PASSING:
            raise _Broken(f"the server answers {status} {answer.reason}", _retry_after(answer))
        if status not in (200, 206):
            raise Refused(f"the server answers {status} {answer.reason}")
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise Refused("a web page came where a file was asked for (does the network want you to log in?)")
        if status == 206:
            total = _range_total(answer)
            if _range_start(answer) != offset or total not in (None, self._read_origin().total):
                self._restart(stream)
                raise _Broken("the server sent another part than was asked for; begun again")
            self.resumed = True
            return False
        self._restart(stream)
        total = _length(answer)
        if total is not None and self._size_bytes is not None and total != self._size_bytes:
            raise Refused(f"it is not the official file: {total} bytes where {self._size_bytes} are needed")
        _check_room(self._part.parent, total)
        self._note.write_text(json.dumps(asdict(_Origin(url, _validator(answer), total))), encoding="utf-8")
        return False

    def _write(self, answer: Response, stream: IO[bytes]) -> None:
        total = self._read_origin().total
        for block in answer.iter_content(_BLOCK):
            stream.write(block)
            if self._progress is not None:
                self._progress(stream.tell(), total)
        stream.flush()
        if total is not None and stream.tell() < total:
            raise _Broken(f"the connection was cut after {stream.tell()} of {total} bytes")
        if total is not None and stream.tell() > total:
            self._restart(stream)
            raise _Broken("more bytes came than were announced; begun again")

    def _restart(self, stream: IO[bytes]) -> None:
        stream.truncate(0)
        stream.seek(0)
        self._note.unlink(missing_ok=True)

    def _read_origin(self) -> _Origin:
        try:
            return _Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return _Origin("", None, None)


class DriveDownloader:
    """A pooch downloader for Google Drive, whose page of confirmation gdown answers; it resumes too."""

    def __init__(self, target: Path, patience: Patience, progress: Progress | None) -> None:
        self.resumed = False
        self._stay = target.with_name(f".{target.name}.drive")
        self._patience = patience
        self._progress = progress

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:  # noqa: ARG002
        """Download `url` to `output_file`; raises Refused, and WeightsError if gdown is not installed."""
        try:
            import gdown
            import gdown.exceptions
            import requests
        except ImportError as error:
            raise WeightsError(
                f"Google Drive needs the package gdown: install it (pip install gdown), or open {url} in a browser, "
                "save the file and give it with --from FILE"
            ) from error
        patience = self._patience
        try:
            gdown.download(
                url,
                str(self._stay),
                quiet=True,
                use_cookies=False,
                resume=True,
                progress=self._progress,
                timeout=(patience.connect_s, patience.read_s),
                retries=patience.attempts,
            )
        except (gdown.exceptions.FileURLRetrievalError, gdown.exceptions.DownloadError) as error:
            raise Refused(
                f"Google Drive does not give it now ({_first_line(error)}); it often refuses files that were fetched "
                "many times: try again tomorrow, or save it with a browser and give it with --from FILE"
            ) from error
        except requests.exceptions.RequestException as error:
            raise Refused(_reason(error)) from error
        self._stay.replace(output_file)


class CopyDownloader:
    """A pooch "downloader" that copies a file of this machine, so that it goes through the same checks."""

    resumed = False

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:  # noqa: ARG002
        """Copy the file `url` to `output_file`; raises Refused if it cannot be read."""
        source = Path(url)
        total = source.stat().st_size
        _check_room(Path(output_file).parent, total)
        try:
            stream = source.open("rb")
        except OSError as error:
            raise Refused(f"it cannot be read ({error.strerror})") from error
        with stream, Path(output_file).open("wb") as copy:
            while block := stream.read(_BLOCK):
                copy.write(block)
                if self._progress is not None:
                    self._progress(copy.tell(), total)


@contextlib.contextmanager
def _alone(stream: IO[bytes], path: Path) -> Iterator[None]:
    """Hold a lock on the part, where the system has such locks: two downloads into one file would mix."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WeightsError(f"another process is fetching into '{path}': wait for it, or end it") from error
    yield


def _check_room(folder: Path, wanted: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if wanted is not None and wanted > free:
        raise OutputUnwritable(
            f"'{folder}' has room for {free / 1e6:.0f} MB, but {wanted / 1e6:.0f} MB are needed: make room, or name "
            "another folder in $TAM_EDIT_WEIGHTS"
        )


def _validator(answer: Response) -> str | None:
    tag = answer.headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return str(tag)
    modified = answer.headers.get("Last-Modified")
    return None if modified is None else str(modified)


def _length(answer: Response) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdigit() and "Content-Encoding" not in answer.headers else None


def _range_start(answer: Response) -> int | None:
    match = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _range_total(answer: Response) -> int | None:
    match = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _retry_after(answer: Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0


def _reason(error: Exception) -> str:
    import requests

    kinds: tuple[tuple[type[Exception], str], ...] = (
        (requests.exceptions.SSLError, "its certificate cannot be checked"),
        (requests.exceptions.ProxyError, "the proxy does not answer"),
        (requests.exceptions.Timeout, "it does not answer in time"),
        (requests.exceptions.TooManyRedirects, "it only sends one on and on"),
        (requests.exceptions.ChunkedEncodingError, "the connection was cut"),
        (requests.exceptions.ConnectionError, "no connection"),
    )
    words = next((words for kind, words in kinds if isinstance(error, kind)), type(error).__name__)
    return f"{words} ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]

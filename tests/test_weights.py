"""Weights: found, fetched from a local server that misbehaves in every way, verified, licensed."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import socket
import sys
import threading
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tam_edit.cli.models import models
from tam_edit.errors import UsageError, WeightsError, WeightsMissing, WeightsUnsafe
from tam_edit.models import catalogue, weights, weights_fetch
from tam_edit.models.weights_download import Patience

# Where answers are cut: at the end of a block, since a break may lose a part of one.
CUT = 9 << 15
HASTY = Patience(attempts=3, connect_s=2.0, read_s=0.3, pause_s=0.01)


def checkpoint_bytes(size: int = 700_000) -> bytes:
    """A zip archive, as torch writes checkpoints: it begins and ends like one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", hashlib.sha256(b"seed").digest() * (size // 32))
    return buffer.getvalue()


CONTENT = checkpoint_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class QuietServer(ThreadingHTTPServer):
    """Connections that tests cut are no errors worth a traceback."""

    daemon_threads = True
    owner: Server

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Server:
    """A web server on the loopback; `behave` answers each request, `ranges` keeps what was asked for."""

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        self.if_ranges: list[str | None] = []
        self.behave: Callable[[Handler, int], None] = lambda handler, _turn: handler.serve()
        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        owner: Server = self.server.owner  # type: ignore[attr-defined]
        owner.ranges.append(self.headers.get("Range"))
        owner.if_ranges.append(self.headers.get("If-Range"))
        owner.behave(self, len(owner.ranges))

    def serve(
        self,
        content: bytes = CONTENT,
        *,
        cut_after: int | None = None,
        etag: str | None = '"one"',
        ranges: bool = True,
        stall_s: float = 0.0,
    ) -> None:
        """Answer well, but stop (or stall) after `cut_after` bytes of this answer."""
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        same = self.headers.get("If-Range") in (None, etag)
        if wanted and ranges and same:
            start = int(wanted[1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        if etag is not None:
            self.send_header("ETag", etag)
        self.end_headers()
        body = content[start:]
        if cut_after is None or cut_after >= len(body):
            self.wfile.write(body)
            return
        self.wfile.write(body[:cut_after])
        self.wfile.flush()
        time.sleep(stall_s)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights live in an empty folder, and the user's own folder is another empty one."""
    place = tmp_path / "weights"
    place.mkdir()
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(place))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return place


Replace = Callable[..., catalogue.WeightsEntry]


@pytest.fixture
def entry(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Put other facts into the catalogue for `xmem` (addresses on the local server)."""

    def replace(key: str = "xmem", **changes: object) -> catalogue.WeightsEntry:
        facts = catalogue.WEIGHTS[key]
        values: dict[str, Any] = {"addresses": (server.url(facts.file_name),), "sha256": SHA256, **changes}
        changed = dataclasses.replace(facts, **values)
        monkeypatch.setattr(weights, "WEIGHTS", {**catalogue.WEIGHTS, key: changed})
        return changed

    return replace


def fetch(key: str = "xmem", **options: object) -> weights_fetch.Fetched:
    return weights_fetch.fetch(key, patience=HASTY, **options)  # type: ignore[arg-type]


def left_over(folder: Path) -> list[str]:
    """What lies in the folder beside checkpoints and the notes on them."""
    return sorted(path.name for path in folder.iterdir() if not re.fullmatch(r"(.*\.pth|\..*\.pth\.json)", path.name))


# --- the catalogue


def test_catalogue_facts() -> None:
    assert set(catalogue.WEIGHTS) == {
        "sam-vit-b", "sam-vit-l", "sam-vit-h", "xmem", "xmem-s012", "e2fgvi", "e2fgvi-hq",
    }  # fmt: skip
    for key, facts in catalogue.WEIGHTS.items():
        assert facts.key == key
        assert facts.addresses
        assert all(address.startswith("https://") for address in facts.addresses)
        assert facts.allows_commercial == (facts.licence != "CC BY-NC 4.0")
    for keys in catalogue.ENGINE_WEIGHTS.values():
        assert set(keys) <= set(catalogue.WEIGHTS)


def test_sam_names_carry_the_md5_prefix() -> None:
    for key in catalogue.ENGINE_WEIGHTS["sam"]:
        facts = catalogue.WEIGHTS[key]
        assert facts.md5_prefix is not None and facts.md5_prefix in facts.file_name
        assert facts.sha256 is not None and not facts.sha256.startswith(facts.md5_prefix)


def test_a_prefix_alone_decides_too() -> None:
    facts = dataclasses.replace(catalogue.WEIGHTS["xmem"], sha256_prefix="ab12")
    assert facts.confirms("ab12" + "0" * 60)
    assert facts.contradicts("ab13" + "0" * 60)
    with pytest.raises(ValueError, match="64"):
        dataclasses.replace(facts, sha256="abc")


# --- finding


def test_find_verified_in_the_named_folder(folder: Path, entry: Replace) -> None:
    entry()
    assert weights.find("xmem") is None
    (folder / "XMem.pth").write_bytes(CONTENT)
    found = weights.find("xmem")
    assert found is not None
    assert (found.path, found.sha256, found.verified, found.basis) == (folder / "XMem.pth", SHA256, True, "catalogue")
    assert found.warning is None


def test_find_falls_back_to_the_users_folder_with_a_warning(folder: Path, entry: Replace) -> None:
    entry()
    own = weights.folders()[1]
    own.mkdir(parents=True)
    (own / "XMem.pth").write_bytes(CONTENT)
    (folder / "XMem.pth").write_bytes(CONTENT + b"!")
    said: list[str] = []
    found = weights.find("xmem", say=said.append)
    assert found is not None and found.path == own / "XMem.pth"
    assert found.warning is not None and str(folder) in found.warning
    assert said == [found.warning]


def test_wrong_bytes_in_the_folders_are_not_used_unless_named(folder: Path, entry: Replace) -> None:
    entry()
    path = folder / "XMem.pth"
    path.write_bytes(CONTENT + b"!")
    assert weights.find("xmem") is None
    with pytest.raises(WeightsUnsafe, match=SHA256):
        weights.require("xmem")
    found = weights.find("xmem", {"xmem": path})
    assert found is not None and not found.verified
    assert found.warning is not None and "named directly" in found.warning and SHA256 in found.warning


def test_unknown_digest_is_used_with_a_warning(folder: Path) -> None:
    (folder / "XMem.pth").write_bytes(CONTENT)
    found = weights.find("xmem")
    assert found is not None and not found.verified and found.basis == "nothing"
    assert found.warning is not None and SHA256 in found.warning


def test_missing_names_the_command_and_the_places(folder: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"tam-edit models fetch e2fgvi-hq --accept-licence") as caught:
        weights.require("e2fgvi-hq")
    assert str(folder) in str(caught.value)
    with pytest.raises(WeightsMissing, match=r"tam-edit models fetch sam-vit-b'"):
        weights.require_for_engine("sam")
    with pytest.raises(WeightsMissing, match="no file"):
        weights.find("xmem", {"xmem": folder / "nowhere.pth"})
    with pytest.raises(UsageError, match="xmem-s012"):
        weights.find("xmen")


def test_engine_takes_the_best_installed_and_named_first(folder: Path, tmp_path: Path) -> None:
    (folder / "XMem.pth").write_bytes(CONTENT)
    found = weights.find_for_engine("xmem")
    assert found is not None and found.key == "xmem"
    (folder / "XMem-s012.pth").write_bytes(CONTENT)
    found = weights.find_for_engine("xmem")
    assert found is not None and found.key == "xmem-s012"
    own = tmp_path / "mine.pth"
    own.write_bytes(CONTENT)
    found = weights.find_for_engine("xmem", weights.parse_named([f"xmem={own}"]))
    assert found is not None and found.path == own
    own_sam = tmp_path / "sam_vit_l_0b3195.pth"
    own_sam.write_bytes(CONTENT)
    found = weights.find_for_engine("sam", weights.parse_named([f"sam={own_sam}"]))
    assert found is not None and found.key == "sam-vit-l" and not found.verified


@pytest.mark.parametrize("pair", ["xmem", "xmem=", "=x.pth", "nothing=x.pth"])
def test_named_weights_are_checked(pair: str) -> None:
    with pytest.raises(UsageError, match="--weights"):
        weights.parse_named([pair])


def test_digest_is_remembered_until_the_file_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "XMem.pth"
    path.write_bytes(CONTENT)
    read: list[Path] = []
    honest = weights.digest_file
    monkeypatch.setattr(weights, "digest_file", lambda path: read.append(path) or honest(path))  # type: ignore[func-returns-value]
    assert weights.sha256_of(path) == weights.sha256_of(path) == SHA256
    assert len(read) == 1
    path.write_bytes(CONTENT + b"!")
    assert weights.sha256_of(path) != SHA256
    assert weights.sha256_of(path, fresh=True) != SHA256
    assert len(read) == 3
    weights.note_path(path).write_text("{broken")
    assert weights.sha256_of(path) != SHA256


# --- fetching


def test_fetch_verifies_and_leaves_nothing_else(server: Server, folder: Path, entry: Replace) -> None:
    entry(size_bytes=len(CONTENT))
    told: list[tuple[int, int | None]] = []
    result = fetch(progress=lambda done, total: told.append((done, total)))
    assert (folder / "XMem.pth").read_bytes() == CONTENT
    assert result.verified and result.basis == "catalogue" and result.address == server.url("XMem.pth")
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert left_over(folder) == []
    again = fetch()
    assert again.address is None and "already" in again.words
    assert len(server.ranges) == 1


def test_cuts_are_resumed(server: Server, folder: Path, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, turn: handler.serve(cut_after=CUT if turn < 3 else None)
    fetch()
    assert (folder / "XMem.pth").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-", f"bytes={2 * CUT}-"]
    assert server.if_ranges == [None, '"one"', '"one"']


def test_a_later_call_resumes(server: Server, folder: Path, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, turn: (
        handler.serve(cut_after=CUT) if turn == 1 else handler.answer(503, b"", Retry_After="0")
    )
    with pytest.raises(WeightsError, match="503"):
        fetch()
    assert len(server.ranges) == 4  # three in a row brought nothing
    assert not (folder / "XMem.pth").exists()
    server.behave = lambda handler, _turn: handler.serve()
    fetch()
    assert server.ranges[-1] == f"bytes={CUT}-"
    assert (folder / "XMem.pth").read_bytes() == CONTENT
    assert left_over(folder) == []


def test_a_server_that_stalls_is_left_and_resumed(server: Server, folder: Path, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, turn: handler.serve(cut_after=CUT if turn == 1 else None, stall_s=2.0)
    fetch()
    assert (folder / "XMem.pth").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-"]


def test_a_file_that_changed_meanwhile_is_begun_again(server: Server, folder: Path, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, turn: (
        handler.serve(b"X" * len(CONTENT), cut_after=CUT, etag='"old"') if turn == 1 else handler.serve()
    )
    fetch()
    assert (folder / "XMem.pth").read_bytes() == CONTENT


def test_a_stale_part_is_found_out_by_the_checksum(server: Server, folder: Path, entry: Replace) -> None:
    entry()

    def behave(handler: Handler, turn: int) -> None:
        # Same validator, other bytes: only the checksum can tell.
        handler.serve(b"X" * len(CONTENT), cut_after=CUT) if turn == 1 else handler.serve()

    server.behave = behave
    fetch()
    assert (folder / "XMem.pth").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={CUT}-", None]


def test_no_ranges_means_from_the_start(server: Server, folder: Path, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, turn: handler.serve(cut_after=CUT if turn == 1 else None, ranges=False)
    fetch()
    assert (folder / "XMem.pth").read_bytes() == CONTENT


def test_without_digest_and_validator_nothing_is_joined(server: Server, folder: Path, entry: Replace) -> None:
    entry(sha256=None)
    server.behave = lambda handler, turn: handler.serve(cut_after=CUT if turn == 1 else None, etag=None)
    fetch()
    assert server.ranges == [None, None]
    assert (folder / "XMem.pth").read_bytes() == CONTENT


def test_a_part_that_is_complete_already(server: Server, folder: Path, entry: Replace) -> None:
    entry()
    (folder / ".XMem.pth.part").write_bytes(CONTENT)
    note = {"address": server.url("XMem.pth"), "validator": '"one"', "total": len(CONTENT)}
    (folder / ".XMem.pth.part.json").write_text(json.dumps(note))
    fetch()
    assert server.ranges == [f"bytes={len(CONTENT)}-"]
    assert (folder / "XMem.pth").read_bytes() == CONTENT


def test_wrong_bytes_never_appear_under_the_name(server: Server, folder: Path, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, _turn: handler.serve(CONTENT[:-1] + b"?")
    with pytest.raises(WeightsUnsafe, match=SHA256):
        fetch()
    assert list(folder.iterdir()) == []


def test_a_wrong_length_is_refused_before_it_is_read(folder: Path, entry: Replace) -> None:
    entry(size_bytes=len(CONTENT) + 5)
    told: list[int] = []
    with pytest.raises(WeightsError, match="not the official file"):
        fetch(progress=lambda done, _total: told.append(done))
    assert told == []
    assert not (folder / "XMem.pth").exists()


def test_redirects_are_followed(server: Server, folder: Path, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, _turn: (
        handler.serve() if handler.path == "/there" else handler.answer(302, b"", Location="/there")
    )
    fetch()
    assert (folder / "XMem.pth").read_bytes() == CONTENT


def test_endless_redirects_end(server: Server, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, _turn: handler.answer(302, b"", Location="/XMem.pth")
    with pytest.raises(WeightsError, match="sends one on"):
        fetch()


def test_404_goes_on_to_the_next_address(server: Server, entry: Replace) -> None:
    entry(addresses=(server.url("gone"), server.url("XMem.pth")))
    server.behave = lambda handler, _turn: handler.answer(404) if handler.path == "/gone" else handler.serve()
    result = fetch()
    assert result.address == server.url("XMem.pth")
    assert len(server.ranges) == 2  # a 404 is not asked again


def test_404_everywhere_names_addresses_and_ways_out(server: Server, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, _turn: handler.answer(404)
    with pytest.raises(WeightsError, match="404") as caught:
        fetch()
    assert server.url("XMem.pth") in str(caught.value)
    assert "--from" in str(caught.value)


def test_nobody_listens(folder: Path, entry: Replace) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    entry(addresses=(f"http://127.0.0.1:{port}/XMem.pth",))
    with pytest.raises(WeightsError, match="no connection"):
        fetch()
    assert not (folder / "XMem.pth").exists()


def test_a_login_page_is_no_file(server: Server, entry: Replace) -> None:
    entry()
    server.behave = lambda handler, _turn: handler.answer(200, b"<html>hello</html>", Content_Type="text/html")
    with pytest.raises(WeightsError, match="web page"):
        fetch()


def test_proxies_are_honoured(server: Server, folder: Path, entry: Replace, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(addresses=("http://weights.invalid/XMem.pth",))
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    asked: list[str] = []

    def behave(handler: Handler, _turn: int) -> None:
        asked.append(handler.path)
        handler.serve()

    server.behave = behave
    fetch()
    assert asked == ["http://weights.invalid/XMem.pth"]
    assert (folder / "XMem.pth").read_bytes() == CONTENT


def test_first_fetch_is_recorded_and_said(server: Server, folder: Path, entry: Replace) -> None:
    entry(sha256=None)
    result = fetch()
    assert result.verified and result.basis == "first fetch"
    assert SHA256 in result.words and "recorded" in result.words
    found = weights.find("xmem")
    assert found is not None and found.verified and found.basis == "first fetch" and found.warning is None
    # Other bytes later, from the same address: refused, with the way to accept them.
    (folder / "XMem.pth").unlink()
    server.behave = lambda handler, _turn: handler.serve(checkpoint_bytes(64_000))
    with pytest.raises(WeightsUnsafe, match=r"\.XMem\.pth\.json"):
        fetch()
    assert not (folder / "XMem.pth").exists()
    # Other bytes put there by hand: not used.
    (folder / "XMem.pth").write_bytes(checkpoint_bytes(64_000))
    assert weights.find("xmem") is None


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", CONTENT[:5000]])
def test_without_a_digest_it_must_still_be_a_checkpoint(server: Server, entry: Replace, content: bytes) -> None:
    entry(sha256=None)
    server.behave = lambda handler, _turn: handler.serve(content)
    with pytest.raises(WeightsUnsafe, match="no checkpoint"):
        fetch()


def test_from_a_file_a_folder_and_a_mirror(server: Server, folder: Path, entry: Replace, tmp_path: Path) -> None:
    entry(addresses=("http://127.0.0.1:9/none",))
    brought = tmp_path / "stick" / "XMem.pth"
    brought.parent.mkdir()
    brought.write_bytes(CONTENT)
    for source in (brought, brought.parent, brought.as_uri(), server.url("mirror/"), server.url("some/name")):
        result = fetch(source=source)
        assert result.verified
        assert (folder / "XMem.pth").read_bytes() == CONTENT
        (folder / "XMem.pth").unlink()
    assert brought.read_bytes() == CONTENT
    brought.write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsUnsafe):
        fetch(source=brought)
    with pytest.raises(WeightsMissing, match="no file"):
        fetch(source=tmp_path / "nothing.pth")
    with pytest.raises(UsageError, match="only http"):
        fetch(source="ftp://example.invalid/XMem.pth")
    assert left_over(folder) == []


def test_a_checkpoint_inside_an_archive_is_taken_out(folder: Path, entry: Replace, tmp_path: Path) -> None:
    entry("e2fgvi", sha256=None)
    archive = tmp_path / "E2FGVI_CVPR22_models.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("release_model/E2FGVI-CVPR22.pth", CONTENT)
        packed.writestr("release_model/i3d_rgb_imagenet.pt", b"other")
    fetch("e2fgvi", source=archive, accept_licence=True)
    assert (folder / "E2FGVI-CVPR22.pth").read_bytes() == CONTENT
    assert left_over(folder) == []


def test_licence_with_conditions_needs_consent(server: Server, entry: Replace) -> None:
    entry("e2fgvi-hq", sha256=None)
    with pytest.raises(UsageError, match=r"CC BY-NC 4\.0.*--accept-licence"):
        fetch("e2fgvi-hq")
    assert server.ranges == []
    assert fetch("e2fgvi-hq", accept_licence=True).verified


def test_two_fetches_do_not_mix(folder: Path, entry: Replace) -> None:
    fcntl = pytest.importorskip("fcntl")
    entry()
    with (folder / ".XMem.pth.part").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WeightsError, match="another process"):
            fetch()


def test_a_full_disk_is_said_before(entry: Replace, monkeypatch: pytest.MonkeyPatch) -> None:
    from tam_edit.errors import OutputUnwritable

    entry()
    usage = types.SimpleNamespace(free=1000)
    monkeypatch.setattr("tam_edit.models.weights_download.shutil.disk_usage", lambda _folder: usage)
    with pytest.raises(OutputUnwritable, match="room"):
        fetch()


# --- Google Drive


def test_google_drive_goes_through_gdown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def download(url: str, output: str, **options: object) -> str:
        asked.append({"url": url, **options})
        Path(output).write_bytes(CONTENT)
        return output

    monkeypatch.setitem(sys.modules, "gdown", _gdown(monkeypatch, download))
    result = fetch("e2fgvi-hq", accept_licence=True)
    assert asked[0]["url"] == "https://drive.google.com/uc?id=10wGdKSUOie0XmCr8SQ2A2FeDe-mfn5w3"
    assert asked[0]["resume"] is True
    assert result.basis == "first fetch"
    assert (folder / "E2FGVI-HQ-CVPR22.pth").read_bytes() == CONTENT
    assert left_over(folder) == []


def test_google_drive_refuses(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def download(url: str, output: str, **options: object) -> str:
        raise sys.modules["gdown"].exceptions.FileURLRetrievalError("Too many users have viewed this file")

    monkeypatch.setitem(sys.modules, "gdown", _gdown(monkeypatch, download))
    with pytest.raises(WeightsError, match="browser"):
        fetch("e2fgvi", accept_licence=True)
    assert not (folder / "E2FGVI-CVPR22.pth").exists()


def test_google_drive_without_gdown(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(WeightsError, match="pip install gdown"):
        fetch("e2fgvi", accept_licence=True)


def test_gdown_takes_what_we_give_it() -> None:
    import inspect

    gdown = pytest.importorskip("gdown")
    wanted = {"url", "output", "quiet", "use_cookies", "resume", "progress", "timeout", "retries"}
    assert wanted <= set(inspect.signature(gdown.download).parameters)
    assert issubclass(gdown.exceptions.FileURLRetrievalError, Exception)
    assert issubclass(gdown.exceptions.DownloadError, Exception)


def _gdown(monkeypatch: pytest.MonkeyPatch, download: Callable[..., str]) -> types.ModuleType:
    package, exceptions = types.ModuleType("gdown"), types.ModuleType("gdown.exceptions")
    exceptions.FileURLRetrievalError = type("FileURLRetrievalError", (Exception,), {})  # type: ignore[attr-defined]
    exceptions.DownloadError = type("DownloadError", (Exception,), {})  # type: ignore[attr-defined]
    package.download, package.exceptions = download, exceptions  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gdown.exceptions", exceptions)
    return package


# --- the command line


def run(*arguments: str) -> tuple[int, dict[str, object], str]:
    result = CliRunner().invoke(models, [*arguments, "--json"], catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout), result.stderr


def states(answer: dict[str, object]) -> dict[str, str]:
    rows = answer["weights"]
    assert isinstance(rows, list)
    return {row["key"]: row["state"] for row in rows}


def test_list_and_verify(folder: Path) -> None:
    assert set(states(run("list")[1]).values()) == {"missing"}
    (folder / "XMem.pth").write_bytes(CONTENT)
    (folder / "sam_vit_b_01ec64.pth").write_bytes(CONTENT)
    code, answer, said = run("list")
    assert code == 0
    assert states(answer)["xmem"] == "unknown"
    assert states(answer)["sam-vit-b"] == "wrong"
    assert "sam-vit-b" in said
    code, answer, _ = run("verify")
    assert code == 1
    assert states(answer) == {"sam-vit-b": "wrong", "xmem": "unknown"}
    assert run("verify", "xmem")[0] == 0
    assert run("verify", "e2fgvi")[0] == 1
    text = CliRunner().invoke(models, ["list"]).stdout
    assert "WRONG BYTES" in text and "not verified" in text


def test_verify_reads_the_file_again(folder: Path, entry: Replace) -> None:
    entry()
    path = folder / "XMem.pth"
    path.write_bytes(CONTENT)
    assert states(run("verify", "xmem")[1]) == {"xmem": "official"}
    state = path.stat()
    weights.keep_note(path, size_bytes=state.st_size, mtime_ns=state.st_mtime_ns, sha256="0" * 64)
    assert weights.find("xmem") is None
    assert states(run("verify", "xmem")[1]) == {"xmem": "official"}


def test_fetch_from_the_command_line(folder: Path, entry: Replace, tmp_path: Path) -> None:
    entry()
    source = tmp_path / "brought.pth"
    source.write_bytes(CONTENT)
    code, answer, said = run("fetch", "xmem", "--from", str(source))
    assert code == 0
    assert answer["weights"][0]["verified"] is True  # type: ignore[index]
    assert "official" in said
    assert (folder / "XMem.pth").is_file()
    with pytest.raises(UsageError, match="one file"):
        run("fetch", "xmem", "sam-vit-b", "--from", str(source))
    with pytest.raises(UsageError, match="CC BY-NC"):
        run("fetch", "e2fgvi", "--from", str(source))
    assert run("fetch", "e2fgvi", "--accept-licence", "--from", str(source))[0] == 0


def test_licences_name_every_file() -> None:
    _, answer, _ = run("licences")
    rows = answer["weights"]
    assert isinstance(rows, list)
    assert {row["key"]: row["commercial_use"] for row in rows} == {
        key: facts.allows_commercial for key, facts in catalogue.WEIGHTS.items()
    }
    assert "commercially" in CliRunner().invoke(models, ["licences"]).stdout


def test_looking_imports_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys; from tam_edit.models import weights; import tam_edit.cli.models; weights.find('xmem');"
        "print([name for name in ('torch', 'requests', 'pooch', 'numpy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

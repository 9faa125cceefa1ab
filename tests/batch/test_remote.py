"""The tier behind a store: what is written goes there, what is missing comes from there, nothing there is trusted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tam_edit import errors
from tam_edit.engine.remote import RemoteTier
from tam_edit.engine.store import EntryLost, Store
from tests.batch.support import done_by_workers, job, project, states

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}/store" if request.param == "memory" else (tmp_path / "far store").as_uri()


def store(folder: Path, url: str) -> Store:
    return Store(folder, remote=RemoteTier.of(url))


def test_another_machine_reads_what_one_has_written(tmp_path: Path, url: str) -> None:
    here = store(tmp_path / "a", url)
    here.put(KEY, ["d"], {"frames": b"bytes"}, {"n": 1})
    there = store(tmp_path / "b", url)
    record = there.record(KEY)
    assert record is not None and record.facts == {"n": 1} and there.has_blob(record.blobs["frames"])
    assert there.blob(record, "frames") == b"bytes"
    offline = Store(tmp_path / "b").record(KEY)
    assert offline is not None and Store(tmp_path / "b").blob(offline, "frames") == b"bytes", "kept here as well"
    assert store(tmp_path / "c", url).record("f" * 32) is None


def test_damage_on_either_side_is_noticed(tmp_path: Path, url: str) -> None:
    here = store(tmp_path / "a", url)
    record = here.put(KEY, ["d"], {"frames": b"bytes"})
    digest = record.blobs["frames"]
    (tmp_path / "a/v1/blobs" / digest[:2] / digest[2:]).write_bytes(b"byteX")
    assert here.blob(record, "frames") == b"bytes", "mended from the other side"
    remote = here.remote
    assert remote is not None
    remote.write("blobs", digest, b"half")
    remote.write("keys", KEY, b"half")
    there = store(tmp_path / "b", url)
    assert there.record(KEY) is None and "damaged" in there.warnings[0]
    with pytest.raises(EntryLost):
        there.blob(record, "frames")
    assert remote.read("blobs", digest) is None, "removed, so that it can be written again"
    there.put(KEY, ["d"], {"frames": b"bytes"})
    again = store(tmp_path / "c", url)
    found = again.record(KEY)
    assert found is not None and again.blob(found, "frames") == b"bytes"


def test_what_is_forgotten_does_not_come_back(tmp_path: Path, url: str) -> None:
    here = store(tmp_path / "a", url)
    here.put(KEY, ["d"])
    here.forget(KEY)
    assert here.record(KEY) is None and store(tmp_path / "b", url).record(KEY) is None
    here.forget(KEY)


def test_addresses_that_nobody_knows() -> None:
    for url in ("nonsense://x", "s4://bucket"):
        with pytest.raises(errors.UsageError, match="--store"):
            RemoteTier.of(url)


def test_a_far_store_that_fails_is_told(tmp_path: Path) -> None:
    tried = []

    class Broken:
        protocol = "broken"

        def __getattr__(self, name: str) -> Any:
            def fail(*_: object) -> None:
                tried.append(name)
                raise TimeoutError("no answer")

            return fail

    broken = Store(tmp_path, remote=RemoteTier(Broken(), "x", "broken://x"))
    with pytest.raises(errors.StoreError, match=r"broken://x cannot be used \(TimeoutError: no answer\)"):
        broken.record(KEY)
    assert tried == ["cat_file"] * 3


@pytest.mark.usefixtures("quick_engines")
def test_a_batch_goes_on_from_the_far_store(tmp_path: Path) -> None:
    one = job(1, project(tmp_path, "a"))
    url = (tmp_path / "far").as_uri()
    assert states(done_by_workers([one], store_url=url)) == ["done"]
    first = Path(one.output).read_bytes()
    shutil.rmtree(Path(one.project) / "cache")
    Path(one.output).unlink()
    again = done_by_workers([one], store_url=url)
    assert states(again) == ["done"] and Path(one.output).read_bytes() == first
    run = {stage["name"]: stage["frames_run"] for stage in again.to_json()["jobs"][0]["stages"]}
    assert run.pop("segment") == 1, "marked before there was a far store"
    assert run["inpaint"] == run["encode"] == 0 == sum(run.values())


@pytest.mark.slow
def test_an_object_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against moto's server, which speaks S3; needs moto[server] and s3fs (not in the dev extra: sixty packages)."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        import fsspec

        host, port = server.get_host_and_port()
        # What FSSPEC_S3_ENDPOINT_URL and its like say to a command.
        options = {"endpoint_url": f"http://{host}:{port}", "key": "k", "secret": "s"}
        monkeypatch.setitem(fsspec.config.conf, "s3", options)
        fsspec.filesystem("s3").mkdir("bucket")
        tiers = [RemoteTier.of("s3://bucket/store") for _ in range(2)]
        record = Store(tmp_path / "a", remote=tiers[0]).put(KEY, ["d"], {"frames": b"bytes" * 1000})
        there = Store(tmp_path / "b", remote=tiers[1])
        assert there.record(KEY) == record and there.blob(record, "frames") == b"bytes" * 1000
        there.forget(KEY)
        assert Store(tmp_path / "c", remote=tiers[0]).record(KEY) is None
    finally:
        server.stop()

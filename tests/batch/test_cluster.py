"""Batches on a Ray cluster of two nodes on this machine: the bytes of a local run, a killed worker, a lost head."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tam_edit import Edit
from tam_edit.batch import cluster as clusters
from tam_edit.batch.cluster import ClusterLost, Errand, run_on_cluster
from tam_edit.batch.jobs import Job
from tam_edit.batch.running import Batch, Plan, Progress
from tests.batch.support import done, job, project, quick, slow, states
from tests.scenes import centre
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("quick_engines")


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    with socket.socket() as held:  # a port of which we know that nobody listens there
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(ClusterLost, match=f"no Ray cluster answers at {address}.*ray start --head"):
            clusters.Cluster(Errand(address, 1 << 30, 1, 1))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(clusters.UsageError, match=r"tam-edit\[cluster\]"):
        run_on_cluster(Batch([job(1, tmp_path / "a.edit")], Plan()), "auto")


class Nodes:
    """A head and a second node, with one slot each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        small = {"num_cpus": 1, "object_store_memory": 80_000_000}
        self.cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
        self.second = self.cluster.add_node(**small)
        self.address = str(self.cluster.address)

    def lose_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)

    def lose_head(self) -> None:
        self.cluster.head_node.kill_gcs_server(check_alive=False)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the nodes' processes import the tests' engines
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Nodes()
    try:
        yield made
    finally:
        made.cluster.shutdown()


def long_job(folder: Path, number: int = 1) -> Job:
    """A clip of two shots with three keyframes: spans and windows for two hands."""
    folder.mkdir()
    edit = Edit.open(project(folder, "x", frames=72, cuts=(40,)))
    for frame in (20, 44):
        edit.mark("ball", frame=frame, points=[centre(frame)])
    return job(number, folder / "x.edit", output=str(folder / "clean.mp4"))


def on_cluster(jobs: list[Job], nodes: Nodes, prepare: Any = quick, watch: Any = None, **plan: Any) -> Batch:
    batch = Batch(jobs, Plan(**plan), watch or (lambda *_: None))
    run_on_cluster(batch, nodes.address, prepare)
    return batch


def ray_workers(kind: str) -> list[int]:
    """Processes of the cluster that carry out orders of a kind."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::" in (title := (path / "cmdline").read_bytes()) and kind.encode() in title:
                found.append(int(path.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_jobs_and_shares_give_the_bytes_of_a_local_run_and_a_killed_worker_is_survived(
    nodes: Nodes, tmp_path: Path
) -> None:
    local = long_job(tmp_path / "local")
    alone = done([local])
    assert states(alone) == ["done"], alone.to_json()["jobs"][0]["error"]
    expected = Path(local.output).read_bytes()

    told: list[str] = []
    shared = on_cluster(
        [divided := long_job(tmp_path / "divided")], nodes, watch=lambda batch, _: told.extend(_told(batch))
    )
    assert states(shared) == ["done"], shared.to_json()
    assert Path(divided.output).read_bytes() == expected
    assert {"propagate", "inpaint"} & set(told), "it was done in shares"
    run = {stage["name"]: stage["frames_run"] for stage in shared.to_json()["jobs"][0]["stages"]}
    assert sum(run.values()) == 0, "the last order found everything there"
    assert states(on_cluster([divided], nodes)) == ["unchanged"]

    many = [long_job(tmp_path / f"many{number}", number) for number in (1, 2, 3)]
    far = on_cluster([*many, job(4, tmp_path / "nowhere.edit")], nodes, store_url=(tmp_path / "far").as_uri())
    assert states(far) == ["done", "done", "done", "failed"] and far.exit_status == 1
    assert all(Path(item.output).read_bytes() == expected for item in many)
    assert not list((Path(many[0].project) / "cache").rglob("inpaint*")) and list((tmp_path / "far").rglob("blobs"))

    killed: list[int] = []
    stop = threading.Event()

    def kill_one() -> None:
        while not stop.wait(0.05) and not killed:
            for number in ray_workers("carry_out_remotely") or ray_workers(" share"):
                os.kill(number, signal.SIGKILL)
                killed.append(number)
                break

    killer = threading.Thread(target=kill_one)
    killer.start()
    survived = on_cluster([mended := long_job(tmp_path / "killed")], nodes, slow)
    stop.set()
    killer.join()
    assert killed and states(survived) == ["done"], survived.to_json()
    assert Path(mended.output).read_bytes() == expected


def _told(batch: Batch) -> list[str]:
    return [item.told.stage for item in batch.all if item.told is not None]


@pytest.mark.slow
def test_a_lost_head_is_told_and_the_next_run_goes_on(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "HEAD_SILENT_S", 20.0)
    lost = False

    def watch(batch: Batch, changed: Progress | None) -> None:
        nonlocal lost
        if not lost and _told(batch):
            nodes.lose_head()
            lost = True

    began = time.monotonic()
    one = long_job(tmp_path / "lost")
    batch = on_cluster([one], nodes, slow, watch)
    assert lost and states(batch) == ["stopped"] and batch.exit_status == 1
    assert "its head no longer answers" in batch.stopped and "run the same command again" in batch.stopped
    assert time.monotonic() - began < 120
    again = done([one])
    assert states(again) == ["done"]
    stages = {stage["name"]: stage for stage in again.to_json()["jobs"][0]["stages"]}
    assert stages["propagate"]["frames_reused"] > 0, "what the cluster had finished was kept"


@pytest.mark.slow
def test_a_lost_node_is_survived(nodes: Nodes, tmp_path: Path) -> None:
    local = long_job(tmp_path / "local")
    assert states(done([local])) == ["done"]
    lost = False

    def watch(batch: Batch, changed: Progress | None) -> None:
        nonlocal lost
        if not lost and _told(batch):
            nodes.lose_second()
            lost = True

    one = long_job(tmp_path / "lost")
    batch = on_cluster([one], nodes, slow, watch)
    assert lost and states(batch) == ["done"], batch.to_json()
    assert Path(one.output).read_bytes() == Path(local.output).read_bytes()

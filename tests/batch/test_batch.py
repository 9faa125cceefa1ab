"""Batches in worker processes: what is finished is not run again, what fails or dies stops nobody, nothing is left."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tam_edit import Edit, errors
from tam_edit.batch import running
from tam_edit.batch.former import former_jobs
from tam_edit.batch.jobs import EFFECTS, SaidInJob
from tam_edit.batch.pool import Kit, Pool, Task, shares_of_cores
from tam_edit.batch.results import prompts_digest
from tam_edit.batch.running import Batch, Plan, Progress, run_here
from tam_edit.batch.work import Hands, Outcome, Told
from tam_edit.digest import digest_of
from tam_edit.effects import Alter, Choice, Pixelated, Replace
from tests.batch.support import deadly, done, done_by_workers, greedy, job, project, quick, slow, states
from tests.scenes import centre, write_clip

pytestmark = pytest.mark.usefixtures("quick_engines")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [project(tmp_path, name) for name in ("a", "b", "c")]


def test_finished_jobs_are_not_run_again_and_changed_ones_are(folders: list[Path], tmp_path: Path) -> None:
    jobs = [job(number, folder) for number, folder in enumerate(folders, start=1)]
    jobs.append(job(4, tmp_path / "nowhere.edit"))
    first = done_by_workers(jobs, workers=2)
    assert states(first) == ["done", "done", "done", "failed"] and first.exit_status == 1
    assert "no edit project" in (first.progress[4].outcome or Outcome(4, "done")).error
    outputs = [Path(item.output) for item in jobs[:3]]
    written = [path.stat().st_mtime_ns for path in outputs]

    again = done(jobs[:3])
    assert states(again) == ["unchanged"] * 3 and again.exit_status == 0
    assert [path.stat().st_mtime_ns for path in outputs] == written

    Edit.open(folders[0]).mark("ball", frame=6, box=(0, 0, 20, 20))
    outputs[1].unlink()
    stamp = outputs[2].stat()
    outputs[2].write_bytes(outputs[2].read_bytes()[:-1] + b"x")
    os.utime(outputs[2], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as a careless copy would leave it
    assert states(done(jobs[:3], dry=True)) == ["planned", "planned", "unchanged"], "a glance sees size and time only"
    changed = done(jobs[:3], changed=True)
    assert states(changed) == ["done"] * 3
    assert [item.reason for item in changed.all] == [
        "the script changed",
        "its output is missing",
        "its output c.mp4 is not the one that was written",
    ]
    stages = {stage["name"]: stage for stage in changed.to_json()["jobs"][1]["stages"]}
    assert stages["inpaint"]["frames_run"] == 0, "the output was only joined again"
    assert states(done(jobs[:3], changed=True)) == ["unchanged"] * 3
    assert states(done(jobs[:1], again=True)) == ["done"]


def test_options_engines_and_backgrounds_count_as_changes(folders: list[Path], tmp_path: Path) -> None:
    beach = write_clip(tmp_path / "beach.mp4", frames=3)
    options = {"background": str(beach)}
    one = job(1, folders[0], effect="replace", options=options)
    first = done([one])
    assert states(first) == ["done"], first.to_json()["jobs"][0]["error"]
    assert states(done([one])) == ["unchanged"]
    edged = dataclasses.replace(one, settings={"feather_px": 3.0})
    assert done([edged], dry=True).progress[1].reason == "the effect's options changed"
    write_clip(beach, frames=4)
    assert done([one], dry=True).progress[1].reason == "the background or picture changed"
    record = next((folders[0] / "results").iterdir())
    text = record.read_text()
    for broken in (text[:-30], "[]", text.replace('"path": "', '"path": 3, "x": "'), text.replace('"files"', '"f"')):
        record.write_text(broken)
        assert done([one], dry=True).progress[1].reason == "no result of it yet", "a broken record is none"
    record.write_text(text.replace('"path": "', '"path": "\\u0000'))
    assert "is missing" in done([one], dry=True).progress[1].reason


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=12)
    said = (SaidInJob(points=(tuple(map(float, centre(0))),)),)  # type: ignore[arg-type]
    one = job(1, tmp_path / "kept.edit", clip=str(clip), prompts=said)
    batch = done([one], dry=True)
    assert states(batch) == ["planned"] and batch.to_json()["planned"]
    names = [stage["name"] for stage in batch.to_json()["jobs"][0]["stages"]]
    assert names[0] == "probe" and names[-1] == "encode"
    assert sorted(tmp_path.iterdir()) == [clip]


def test_what_prompts_could_not_say_before_changes_no_digest_of_others(tmp_path: Path) -> None:
    said = SaidInJob(points=((3.0, 4.0),))
    before = {
        **{"object": "object", "frame": 0, "points": ((3.0, 4.0),), "negative": (), "box": None, "mask": None},
        **{"absent": False, "candidate": 0, "boxes": (), "scribbles": (), "polish": False},
    }
    assert prompts_digest(job(1, tmp_path / "a.edit", prompts=(said,))) == digest_of(([before], b"", []))
    beside = dataclasses.replace(said, negative_scribbles=(((1.0, 2.0),),))
    assert prompts_digest(job(1, tmp_path / "a.edit", prompts=(beside,))) != digest_of(([before], b"", []))


def test_prompts_make_a_project_and_corrections_in_it_stay(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=12)
    said = SaidInJob(points=(tuple(map(float, centre(0))),))  # type: ignore[arg-type]
    one = job(1, tmp_path / "kept.edit", clip=str(clip), prompts=(said,))
    assert states(done([one])) == ["done"]
    Edit.open(one.project).mark("object", frame=5, box=(0, 0, 20, 20))
    assert done([one]).progress[1].reason == "the script changed"
    assert sorted(Edit.open(one.project).script.objects[0].prompts) == [0, 5]
    other = dataclasses.replace(one, prompts=(said, dataclasses.replace(said, object="gone", absent=True, points=())))
    assert states(done([other])) == ["done"]
    assert Edit.open(one.project).script.names == ("object", "gone")
    write_clip(clip, frames=16)
    followed = done([other])
    assert states(followed) == ["done"] and followed.to_json()["jobs"][0]["frames"] == 16


def test_a_folder_of_projects_stands_for_their_former_results(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(errors.ScriptError, match="has a result of a former batch"):
        former_jobs(tmp_path)
    options = {"background": str(folders[2]), "objects": ("ball",), "offset": (1.5, 2.0), "trim": "0:2"}
    looks = {"settings": {"feather_px": 2.0}, "engine": {"weights": {}}, "overwrite": "ours"}
    first = [job(1, folders[0], effect="replace", options=options, **looks), job(2, folders[1])]
    clip = {"clip": str(tmp_path / "c.mp4"), "script": str(folders[2]), "output": str(tmp_path / "out" / "q.mp4")}
    first.append(job(3, tmp_path / "deep" / "er" / "kept.edit", **clip))
    assert states(done(first)) == ["done"] * 3
    found = former_jobs(tmp_path).jobs
    assert [item.name for item in found] == ["a", "b", "kept"]
    assert [item.output for item in found] == [item.output for item in first]
    assert states(done(list(found))) == ["unchanged"] * 3
    Edit.open(folders[1]).mark("ball", frame=6, box=(0, 0, 20, 20))
    assert states(done(list(found), changed=True)) == ["unchanged", "done", "unchanged"]
    next((folders[1] / "results").iterdir()).write_text("{}")
    left = former_jobs(tmp_path)
    assert len(left.jobs) == 2 and "left out" in left.warnings[0]


def test_a_script_can_be_lent_to_another_clip(folders: list[Path], tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "other.mp4", frames=14)
    one = job(1, tmp_path / "kept.edit", clip=str(clip), script=str(folders[0]))
    assert states(done([one])) == ["done"]
    assert Edit.open(one.project).script.objects == Edit.open(folders[0]).script.objects
    broken = dataclasses.replace(one, script=str(tmp_path / "nothing.json"))
    batch = done([broken])
    assert states(batch) == ["failed"] and "nothing.json" in batch.to_json()["jobs"][0]["error"]


def test_every_effect_is_made_and_planned(folders: list[Path], tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (9, 99, 9)).save(tmp_path / "sign.png")
    Edit.open(folders[0]).set_effects([Alter(Pixelated()), Replace(str(tmp_path / "sign.png"), Choice(("ball",)))])
    looks = {"background": str(tmp_path / "sign.png"), "fit": "tile", "offset": (3.0, 4.0), "grain": "auto"}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("remove", {"crf": 20}),
        ("replace", {**looks, "trim": "0:1", "speed": "3/2"}),
        ("replace", {"background": "transparent", "objects": ("ball",)}),
        ("alter", {"recolour": "#00ff00"}),
        ("alter", {"blur": "auto"}),
        ("alter", {"picture": str(tmp_path / "sign.png")}),
        ("render", {"lossless": True}),
        ("export", {"format": "mot"}),
    ]
    endings = {"lossless": ".mkv", "format": ".txt"}
    jobs = []
    for number, (effect, options) in enumerate(cases, start=1):
        ending = next((endings[name] for name in options if name in endings), ".mp4")
        ending = ".webm" if options.get("background") == "transparent" else ending
        jobs.append(job(number, folders[0], effect=effect, options=options, output=str(tmp_path / f"{number}{ending}")))
    assert {effect for effect, _ in cases} == set(EFFECTS)
    planned = done(jobs, dry=True)
    assert set(states(planned)) == {"planned"}, str(
        [item["error"] for item in planned.to_json()["jobs"] if item["error"]]
    )
    made = done(jobs)
    assert set(states(made)) == {"done"}, [item["error"] for item in made.to_json()["jobs"]]
    assert set(states(done(jobs))) == {"unchanged"}
    Image.new("RGB", (8, 8), (99, 9, 9)).save(tmp_path / "sign.png")
    changed = [item.job.effect for item in done(jobs, dry=True).all if item.state == "planned"]
    assert changed == ["replace", "alter", "render"]


def test_names_that_no_disk_takes_fail_alone(folders: list[Path], tmp_path: Path) -> None:
    long = job(1, folders[0], output=str(tmp_path / ("x" * 300 + ".mp4")))
    kept = job(2, tmp_path / ("y" * 300), clip=str(tmp_path / "a.mp4"), script=str(folders[0]))
    file = job(3, folders[1], output=str(tmp_path / "a.mp4" / "b.mp4"))
    batch = done([long, kept, file, job(4, folders[2])])
    assert states(batch) == ["failed", "failed", "failed", "done"]
    errors = [item["error"] for item in batch.to_json()["jobs"][:3]]
    assert all(words and "itself" not in words for words in errors), errors


def test_a_project_killed_while_it_was_made_is_made_again(tmp_path: Path, folders: list[Path]) -> None:
    kept = tmp_path / "kept.edit"
    kept.mkdir()
    (kept / ".edit.json-abc").write_text("{")
    one = job(1, kept, clip=str(tmp_path / "a.mp4"), script=str(folders[0]))
    assert states(done([one])) == ["done"]
    other = tmp_path / "precious.edit"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    refused = done([dataclasses.replace(one, project=str(other))])
    assert states(refused) == ["failed"] and (other / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize("rule", ["never", "ours"])
def test_what_lies_there_is_overwritten_only_where_allowed(folders: list[Path], rule: str) -> None:
    one = job(1, folders[0], overwrite=rule)
    output = Path(one.output)
    output.parent.mkdir()
    output.write_text("precious")
    refused = done([one])
    assert states(refused) == ["failed"] and output.read_text() == "precious"
    assert rule in refused.to_json()["jobs"][0]["error"]
    output.unlink()
    assert states(done([one])) == ["done"]
    Edit.open(folders[0]).mark("ball", frame=6, box=(0, 0, 20, 20))
    assert states(done([one])) == (["done"] if rule == "ours" else ["failed"])


def test_a_killed_worker_is_replaced_and_its_job_tried_again(folders: list[Path]) -> None:
    jobs = [job(number, folder) for number, folder in enumerate(folders[:2], start=1)]
    killed: list[int] = []

    def watch(batch: Batch, changed: Progress | None) -> None:
        item = batch.progress[1]
        if not killed and item.told is not None and item.told.stage == "inpaint":
            killed.append(pools[0].processes()[0])
            os.kill(killed[0], signal.SIGKILL)

    pools: list[Pool] = []
    batch = Batch(jobs, Plan(workers=2), watch)
    wanted = batch.sort_out()
    with Pool(2, Kit(1 << 30, prepare=slow)) as pool:
        pools.append(pool)
        batch.run(pool, wanted)
        assert killed and killed[0] not in pool.processes()
    assert states(batch) == ["done", "done"] and batch.progress[1].tries == 2
    assert "SIGKILL" in batch.progress[1].reason


def test_what_always_dies_fails_alone(folders: list[Path], tmp_path: Path) -> None:
    bad = project(tmp_path, "bad", frames=13)
    jobs = [job(number, folder) for number, folder in enumerate([folders[0], bad, folders[1]], start=1)]
    batch = done_by_workers(jobs, deadly)
    assert states(batch) == ["done", "failed", "done"]
    assert batch.to_json()["jobs"][1]["error"].endswith("(what is finished is kept), 2 times")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_that_runs_out_fails_one_job_alone(folders: list[Path], tmp_path: Path) -> None:
    bad = project(tmp_path, "bad", frames=13)
    jobs = [job(number, folder) for number, folder in enumerate([bad, folders[0]], start=1)]
    batch = done_by_workers(jobs, greedy)
    assert states(batch) == ["failed", "done"]
    assert "not enough memory" in batch.to_json()["jobs"][0]["error"] and batch.progress[1].tries == 2


def test_engines_are_settled_once_for_each_worker(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    monkeypatch.setenv("TEST_RESOLVED", str(asked))
    jobs = [job(number, folder) for number, folder in enumerate(folders, start=1)]
    assert states(done_by_workers(jobs)) == ["done"] * 3
    workers = asked.read_text().split()
    # Three times more to note what each result was made from: that looks weights up, but loads nothing.
    assert len(workers) == 1 + 3 and len(set(workers)) == 1


def test_jobs_of_one_project_never_run_beside_each_other(folders: list[Path], tmp_path: Path) -> None:
    jobs = [job(number, folders[0], output=str(tmp_path / f"{number}.mp4")) for number in (1, 2)]
    most = 0

    def watch(batch: Batch, changed: Progress | None) -> None:
        nonlocal most
        most = max(most, sum(item.state == "running" for item in batch.all))

    batch = Batch(jobs, Plan(workers=2), watch)
    with Pool(2, Kit(1 << 30, prepare=quick)) as pool:
        batch.run(pool, batch.sort_out())
    assert states(batch) == ["done", "done"] and most == 1


def test_memory_and_cores_are_divided(monkeypatch: pytest.MonkeyPatch, folders: list[Path]) -> None:
    kits: list[Kit] = []

    class Recorded(Pool):
        def __init__(self, count: int, kit: Kit) -> None:
            kits.append(kit)
            super().__init__(count, kit)

    monkeypatch.setattr(running, "Pool", Recorded)
    jobs = [job(number, folder) for number, folder in enumerate(folders, start=1)]
    monkeypatch.setattr(Batch, "run", lambda *_: None)
    run_here(Batch(jobs, Plan(workers=3, memory_bytes=3000)))
    run_here(Batch(jobs[:1], Plan(workers=3, memory_bytes=3000)))
    assert [kit.memory_bytes for kit in kits] == [1000, 3000]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    assert shares_of_cores(2) == [(0, 1), (2, 3, 4)]
    assert all(len(share) == 1 for share in shares_of_cores(7))


def test_a_worker_tells_how_far_it_is(folders: list[Path]) -> None:
    told: list[Told] = []
    outcome = Hands(1 << 30, tell=told.append).run(job(7, folders[0]))
    assert outcome.status == "done" and outcome.frames == 12 and outcome.peak_rss_bytes > 0
    assert {item.stage for item in told} >= {"propagate", "inpaint", "encode"} and {item.number for item in told} == {7}


def test_the_pool_leaves_no_process(folders: list[Path]) -> None:
    with Pool(1, Kit(1 << 30, prepare=slow)) as pool:
        pool.give(Task("run", job(1, folders[0])))
        assert any(isinstance(event, Told) for _ in range(100) for event in pool.events(1.0))
        number = pool.processes()[0]
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    assert done([job(1, folders[0])]).exit_status == 0

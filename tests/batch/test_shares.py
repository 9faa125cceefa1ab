"""One edit divided: which pieces are shared out in which wave, and that the bytes are those of an undivided run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tam_edit import Edit
from tam_edit.batch.orders import carry_out
from tam_edit.batch.ray_driver import wants_gpu
from tam_edit.batch.shares import Answer, Order, Piece, chains, course, divide, whole
from tam_edit.batch.work import Hands, Outcome
from tam_edit.engine.store import Store
from tests.batch.support import job, project
from tests.scenes import centre


def pieces(stage: str, variant: str, stops: list[int], ready: str) -> list[Piece]:
    """Adjoining pieces up to each stop; ready: y or n for each."""
    starts = [0, *stops]
    return [
        Piece(stage, variant, start, stop, answer == "y")
        for start, stop, answer in zip(starts, stops, ready, strict=False)
    ]


FORWARD = pieces("propagate", "forward", [8, 16, 24, 32, 40, 48], "ynnynn")
FUSED = pieces("propagate", "fused", [8, 16, 24, 32, 40, 48], "nnnnnn")
WINDOWS = pieces("inpaint", "", [16, 32, 48], "nnn")


def test_chunks_of_a_pass_go_together() -> None:
    found = chains([*FORWARD, *FUSED, *WINDOWS])
    assert found == [FORWARD[:3], FORWARD[3:]]
    assert chains(pieces("encode", "", [48, 96, 144], "yny")) == [
        pieces("encode", "", [48, 96], "yn"),
        [Piece("encode", "", 96, 144, True)],
    ]


def test_shares_are_alike_and_hold_what_waits_inside() -> None:
    two = divide([*FORWARD, *FUSED, *WINDOWS], 2)
    assert [share[0] for share in two] == [FORWARD[0], FORWARD[3]]
    assert set(two[0]) == {*FORWARD[:3], *FUSED[:3], WINDOWS[0]}
    assert set(two[1]) == {*FORWARD[3:], *FUSED[3:], WINDOWS[2]}, "the window across the border is for the next wave"
    many = divide([*FORWARD, *FUSED, *WINDOWS], 3)
    assert many == [tuple(FORWARD[:3]), tuple(FORWARD[3:])], "with idle hands nobody takes what others could do soon"
    windows = pieces("inpaint", "", list(range(32, 32 * 41, 32)), "y" * 40)
    sizes = [len(share) for share in divide(windows, 4)]
    assert sum(sizes) == 40 and len(sizes) == 8 and max(sizes) - min(sizes) <= 1
    assert divide([], 4) == [] and divide(FUSED, 4) == []


@pytest.mark.usefixtures("quick_engines")
@pytest.mark.parametrize("effect", ["remove", "export"])
def test_a_divided_edit_has_the_same_bytes_and_nothing_runs_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    others = {"options": {"format": "coco"}} if effect == "export" else {}
    outputs, written = {}, {}
    put = Store.put
    keys: list[str] = []

    def noted(store: Store, key: str, *given: object, **named: object) -> object:
        keys.append(key)
        return put(store, key, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "put", noted)
    for name, hands in (("alone", 0), ("divided", 3)):
        folder = tmp_path / name
        folder.mkdir()
        edit = Edit.open(project(folder, "x", frames=72, cuts=(40,)))
        for frame in (20, 44):
            edit.mark("ball", frame=frame, points=[centre(frame)])
        output = folder / "out" / ("x.json" if effect == "export" else "x.mp4")
        one = job(1, folder / "x.edit", effect=effect, output=str(output), **others)
        steps = course(one, hands, divided=hands > 0)
        orders = next(steps)
        waves: list[list[Order]] = []
        keys.clear()
        try:
            while True:
                waves.append(orders)
                orders = steps.send([carry_out(Hands(1 << 30), order) for order in reversed(orders)][::-1])
        except StopIteration as end:
            assert end.value.status == "done", end.value.error
        outputs[name], written[name] = output.read_bytes(), list(keys)
    assert outputs["divided"] == outputs["alone"]
    assert waves[0][0].kind == "survey" and waves[-1][0].kind == "run"
    assert max(map(len, waves)) >= 3, "spans were done beside each other"
    last = [Edit.open(folder / "x.edit").project.folder / "reports"][0]  # type: ignore[union-attr]
    newest = sorted(last.iterdir())[-1].read_text()
    assert '"frames_run": 0' in newest
    stages = [key for key in written["divided"] if written["divided"].count(key) > 1]
    assert not stages, "no unit was stored twice"
    assert effect == "export" or len(written["divided"]) >= len(written["alone"])


def test_a_share_that_fails_ends_the_job(tmp_path: Path) -> None:
    steps = course(job(1, tmp_path / "x.edit"), 2, divided=True)
    assert next(steps)[0].kind == "survey"
    orders = steps.send([Answer(Outcome(1, "done"), (*FORWARD, *FUSED))])
    assert [order.kind for order in orders] == ["share", "share"]
    with pytest.raises(StopIteration) as end:
        steps.send([Answer(Outcome(1, "done")), Answer(Outcome(1, "failed", "no"))])
    assert end.value.value.error == "no"


def test_waves_end_when_nothing_comes_of_them(tmp_path: Path) -> None:
    steps = course(job(1, tmp_path / "x.edit"), 2, divided=True)
    next(steps)
    missing = (*FORWARD, *FUSED)
    steps.send([Answer(Outcome(1, "done"), missing)])
    steps.send([Answer(Outcome(1, "done"))] * 2)
    assert steps.send([Answer(Outcome(1, "done"), missing)])[0].kind == "run"
    alone = whole(job(1, tmp_path / "x.edit"), "plan")
    assert next(alone)[0].kind == "plan"


def test_gpus_are_asked_for_by_engine(tmp_path: Path) -> None:
    one = job(1, tmp_path / "x.edit", settings={"tracker": "xmem", "inpainter": "classic", "segmenter": "classic"})
    windows, passes = tuple(pieces("inpaint", "", [16], "y")), tuple(FORWARD[:1])
    assert wants_gpu(Order("run", one), {}) and not wants_gpu(Order("survey", one), {})
    assert wants_gpu(Order("share", one, passes), {}) and not wants_gpu(Order("share", one, windows), {})
    open_job = job(1, tmp_path / "x.edit")
    assert wants_gpu(Order("share", open_job, windows), {}), "auto may become a network"
    assert not wants_gpu(Order("share", open_job, windows), {"inpainter": "classic"})
    on_cpu = job(1, tmp_path / "x.edit", engine={"device": "cpu"})
    assert not wants_gpu(Order("run", on_cpu), {})

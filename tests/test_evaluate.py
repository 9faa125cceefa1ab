"""The measuring itself: against vos-benchmark on the same folders, and what is asked of engines, with simple ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tam_edit.cli.evaluate import evaluate
from tam_edit.errors import EngineError, MaskEmpty, MaskError, MaskSizeMismatch, SourceMissing, UsageError
from tam_edit.pipelines.evaluate import Selection, evaluate_folders, evaluate_inpainting, evaluate_tracking
from tam_edit.pipelines.evaluate_dataset import read_davis
from tam_edit.pipelines.evaluate_engines import filling_engine, segmenting_engine, tracking_engine
from tam_edit.pipelines.evaluate_inpainting import FillingEngine, holes, telea, untouched
from tam_edit.pipelines.evaluate_report import Evaluation, Plot, Table, draw
from tam_edit.pipelines.evaluate_scores import Scorer
from tam_edit.pipelines.evaluate_tracking import (
    SegmentingEngine,
    TrackingEngine,
    next_click,
    propose,
    simulate_clicks,
    track,
)
from tam_edit.pipelines.export.palette import davis_palette, read_label_png, write_label_png
from tests.support import FOOTAGE, needs_footage

SIZE = (80, 60)
FRAMES = 12


def truth(index: int, seed: int = 0) -> np.ndarray:
    """Two squares that pass each other; the second comes in at frame 4."""
    label_map = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    label_map[10 + seed : 30, 5 + 3 * index : 25 + 3 * index] = 1
    if index >= 4:
        label_map[35:50, 50 - 2 * index : 66 - 2 * index] = 2
    return label_map


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    root = tmp_path / "DAVIS"
    rng = np.random.default_rng(1)
    scene = np.kron(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))
    for seed, name in enumerate(("alpha", "beta")):
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / "480p" / name).mkdir(parents=True)
        for index in range(FRAMES):
            Image.fromarray(np.roll(scene, index, axis=1)).save(root / "JPEGImages/480p" / name / f"{index:05}.jpg")
            write_label_png(root / "Annotations/480p" / name / f"{index:05}.png", truth(index, seed))
    return root


class Still:
    """A tracker that lets every object stay where it was last seen, and doubts more from step to step."""

    asked: list[tuple[bool, tuple[int, ...]]]

    def __init__(self) -> None:
        self.masks: dict[int, np.ndarray] = {}
        self.age = 0

    def step(
        self, frame: np.ndarray, masks: Mapping[int, np.ndarray] | None = None, *, last: bool = False
    ) -> np.ndarray:
        assert frame.shape == (SIZE[1], SIZE[0], 3) and isinstance(last, bool)
        self.masks.update(masks or {})
        self.age = 0 if masks else self.age + 1
        planes = np.stack([np.float32(0.9) * self.masks[label] for label in sorted(self.masks)])
        return np.concatenate([1 - planes.sum(axis=0, keepdims=True), planes]).astype(np.float32)

    def trust(self) -> dict[int, float]:
        return {1: 1.0, 2: 1 / (1 + self.age)}


STILL = TrackingEngine("still", "1", Still)


def benchmark(pred: Path, annotations: Path) -> dict[str, tuple[dict[int, float], dict[int, float]]]:
    """What vos-benchmark says of the folders: name -> (J, F) by object, in per cent."""
    module = pytest.importorskip("vos_benchmark.benchmark")
    found: dict[str, tuple[dict[int, float], dict[int, float]]]
    *_, (found,) = module.benchmark([str(annotations)], [str(pred)], strict=False, num_processes=1, verbose=False)
    return found


def agree(scores: dict[str, tuple[dict[int, float], dict[int, float]]], result: Evaluation) -> int:
    """Every object's J and F in the evaluation equal the benchmark's to 1e-4; returns how many there were."""
    table = next(table for table in result.tables if table.title == "Each object")
    for row in table.rows:
        j, f = scores[row["sequence"]]
        assert row["J"] == pytest.approx(j[row["object"]] / 100, abs=1e-4)
        assert row["F"] == pytest.approx(f[row["object"]] / 100, abs=1e-4)
    assert len(table.rows) == sum(len(j) for j, _ in scores.values())
    overall = next(table for table in result.tables if table.title == "Each sequence").mean
    assert overall["J"] == pytest.approx(np.mean([v for j, _ in scores.values() for v in j.values()]) / 100, abs=1e-4)
    return len(table.rows)


def test_a_tracker_is_scored_as_vos_benchmark_scores_the_masks_it_wrote(davis: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    result = evaluate_tracking(STILL, Selection(davis), save=masks)
    scores = benchmark(masks, davis / "Annotations" / "480p")
    assert agree(scores, result) == 4, "the second object of each sequence is never found, and counts"
    again = evaluate_folders(masks, davis / "Annotations" / "480p")
    assert agree(scores, again) == 4
    j = result.tables[0].mean["J"]
    assert 0.05 < j < 0.5
    assert again.tables[0].mean["J"] == j


@needs_footage
def test_real_masks_with_two_objects_are_scored_as_by_vos_benchmark(tmp_path: Path) -> None:
    annotations = FOOTAGE / "davis" / "Annotations" / "objects"
    paths = sorted((annotations / "bmx-trees").glob("*.png"))
    (tmp_path / "bmx-trees").mkdir()
    for later, path in zip(paths[3:] + paths[-3:], paths, strict=True):  # the truth of three frames later
        write_label_png(tmp_path / "bmx-trees" / path.name, read_label_png(later))
    result = evaluate_folders(tmp_path, annotations)
    assert agree(benchmark(tmp_path, annotations), result) == 2
    assert 0.1 < result.tables[0].mean["J"] < 0.9


def test_objects_that_only_the_prediction_has_do_not_count() -> None:
    scorer = Scorer()
    extra = truth(1)
    extra[0, 0] = 9
    scorer.feed(1, extra, truth(1))
    scorer.feed(5, truth(5), truth(5))
    assert [(o.label, o.frames, o.j.mean) for o in scorer.objects()] == [(1, (1, 5), 1.0), (2, (5,), 1.0)]


def test_corrections_come_where_the_engine_doubts_and_join_both_directions(davis: Path) -> None:
    result = evaluate_tracking(STILL, Selection(davis, ("alpha",)), corrections=3)
    table = result.tables[0]
    assert table.title.startswith("J with corrections")
    after = [table.rows[0][f"J after {n}"] for n in range(4)]
    assert after == sorted(after) and after[3] > after[0] + 0.2
    (row,) = next(table for table in result.tables if table.title == "Each sequence").rows
    assert len(row["keyframes"]) == 4 and row["keyframes"][0] == 0
    assert row["seconds_per_frame"] > 0
    # Trust falls with every step away from frame 0: the first correction lies late in the clip.
    assert max(row["keyframes"]) > FRAMES // 2


def test_tracking_between_keyframes_goes_both_ways_and_keeps_them_exact() -> None:
    steps: list[tuple[int, bool, bool]] = []

    class Noting(Still):
        def step(self, frame: np.ndarray, masks: object = None, *, last: bool = False) -> np.ndarray:
            steps.append((int(frame[0, 0, 0]), masks is not None, last))
            return super().step(frame, masks, last=last)  # type: ignore[arg-type]

    def picture(index: int) -> np.ndarray:
        return np.full((SIZE[1], SIZE[0], 3), index, np.uint8)

    keyframes = {2: truth(2), 7: truth(7)}
    tracked = track(TrackingEngine("noting", "1", Noting), picture, 10, keyframes)
    assert [i for i, given, _ in steps if given] == [2, 2, 7, 7], "each keyframe: once backwards, once forwards"
    assert [i for i, given, _ in steps if not given] == [1, 0, 6, 5, 4, 3, 3, 4, 5, 6, 8, 9]
    for index, label_map in keyframes.items():
        assert np.array_equal(tracked.label_maps[index], label_map)
        assert tracked.trust[index] == 1
    assert np.array_equal(tracked.label_maps[0], truth(2)), "backwards only"
    assert np.array_equal(tracked.label_maps[9], truth(7)), "forwards only"
    assert np.array_equal(tracked.label_maps[3] == 1, truth(2) == 1), "near the first"
    assert np.array_equal(tracked.label_maps[6] == 1, truth(7) == 1), "near the second"
    with pytest.raises(UsageError):
        track(STILL, picture, 3, {})
    with pytest.raises(MaskEmpty):
        track(STILL, picture, 3, {0: np.zeros_like(truth(0))})


def test_the_classic_engine_is_measured_as_it_propagates() -> None:
    """The protocol's own way from keyframe to keyframe gives what classic.propagate gives."""
    from tam_edit.models import classic

    rng = np.random.default_rng(4)
    scene = cv2.GaussianBlur(rng.integers(0, 255, (64, 160, 3), dtype=np.uint8), (0, 0), 2)
    thing = cv2.GaussianBlur(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8), (0, 0), 1)[:, :, ::-1]
    maps, pictures = [], []
    for index in range(7):
        picture, label_map = scene[:, 2 * index : 2 * index + 96].copy(), np.zeros((64, 96), np.uint8)
        picture[20:44, 10 + 6 * index : 34 + 6 * index] = thing // 2 + 100
        label_map[20:44, 10 + 6 * index : 34 + 6 * index] = 1
        maps.append(label_map)
        pictures.append(picture)
    keyframes = {1: maps[1], 5: maps[5]}
    own = track(tracking_engine("classic"), pictures.__getitem__, 7, keyframes).label_maps
    theirs = list(classic.propagate(pictures, keyframes))
    for index, (one, other) in enumerate(zip(own, theirs, strict=True)):
        assert (one != other).mean() < 0.002, index
        assert (one & maps[index]).sum() / (one | maps[index]).sum() > 0.6


def test_an_engine_that_loses_count_is_found_out() -> None:
    class Short(Still):
        def step(self, *args: object, **kinds: object) -> np.ndarray:
            return super().step(*args, **kinds)[:1]  # type: ignore[arg-type]

    with pytest.raises(EngineError, match="1 planes for 1 objects at frame 0"):
        track(TrackingEngine("short", "1", Short), lambda _: np.zeros((60, 80, 3), np.uint8), 2, {0: truth(0)})


def test_the_next_correction_is_where_doubt_gathers() -> None:
    trust = [1.0] + [0.9] * 10 + [0.2] * 9 + [0.9] * 10
    chosen = propose(trust, [0])
    assert chosen is not None and 12 <= chosen <= 22
    assert propose([1.0, 0.5], [0, 1]) is None
    assert propose([1.0, 0.5, 0.1], [0, 2]) == 1


def disks(
    picture: np.ndarray,
    points: Sequence[tuple[int, int]],
    labels: Sequence[int],
    box: object,
    next_frame: np.ndarray | None = None,
) -> np.ndarray:
    mask = np.zeros(picture.shape[:2], bool)
    if box is not None:
        x0, y0, x1, y1 = box  # type: ignore[misc]
        mask[y0:y1, x0:x1] = True
    for (x, y), label in zip(points, labels, strict=True):
        mask[max(0, y - 6) : y + 6, max(0, x - 6) : x + 6] = label == 1
    return mask


def test_clicks_go_to_the_middle_of_the_largest_error(davis: Path) -> None:
    wanted = truth(6) == 1
    assert next_click(np.zeros_like(wanted), wanted) == ((32, 19), 1)
    too_much = wanted.copy()
    too_much[40:58, 60:79] = True
    click = next_click(too_much, wanted)
    assert click is not None and click[1] == 0 and 65 < click[0][0] < 75
    assert next_click(wanted, wanted) is None
    engine = SegmentingEngine("disks", "1", disks)
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    label_map, ious, _ = simulate_clicks(engine, picture, truth(6), 4)
    assert set(np.unique(label_map)) == {0, 1, 2}
    assert [len(curve) for curve in ious] == [4, 4]
    assert ious[0] == sorted(ious[0]) and ious[0][-1] > ious[0][0] + 0.1
    boxed, ious, _ = simulate_clicks(engine, picture, truth(6), 1, with_box=True)
    assert ious[0] == [1.0, 1.0] and np.array_equal(boxed, truth(6))
    result = evaluate_tracking(STILL, Selection(davis), clicks=2, segmenter=engine)
    assert result.tables[0].columns()[:3] == ["sequence", "IoU 1 click", "IoU 2 clicks"]
    assert result.engine["segmenter"] == "disks 1"
    with pytest.raises(UsageError, match="segmenter"):
        evaluate_tracking(STILL, Selection(davis), clicks=2)


def average(frames: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    for frame, mask in zip(frames, masks, strict=True):
        filled = frame.copy()
        filled[mask] = frame[~mask].mean(axis=0).astype(np.uint8)
        yield filled


def test_fillers_are_compared_on_the_same_holes_and_never_see_the_truth(davis: Path) -> None:
    def peeping(frames: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        for frame, mask in zip(frames, masks, strict=True):
            assert not frame[mask].any()
            yield frame

    engines = [FillingEngine("average", "1", average), telea(), untouched(), FillingEngine("peeping", "1", peeping)]
    result = evaluate_inpainting(engines, Selection(davis), size_wh=SIZE)
    means = {(row["holes"], row["engine"]): row for row in result.tables[0].rows}
    for hole in ("moving", "fixed"):
        assert means[hole, "telea"]["hole PSNR"] > means[hole, "peeping"]["hole PSNR"] + 3
        assert means[hole, "truth"]["warp"] < means[hole, "telea"]["warp"]
        gain = means[hole, "average"]["PSNR"] - means[hole, "telea"]["PSNR"]
        assert means[hole, "average"]["dB over telea"] == pytest.approx(gain)
    fixed = next(table for table in result.tables if table.title.endswith("fixed holes"))
    assert [row["engine"] for row in fixed.rows] == ["average", "telea", "peeping"] * 2
    assert len(result.plots) == 4
    with pytest.raises(EngineError, match="gave 0 frames for 12 of alpha"):
        evaluate_inpainting([FillingEngine("idle", "1", lambda *_: iter(()))], Selection(davis), size_wh=SIZE)


def test_holes_of_a_short_donor_go_back_and_forth(davis: Path) -> None:
    donor = read_davis(davis)[0].head(3)
    masks = holes("moving", donor, 6, SIZE)
    order = [next(i for i in range(3) if np.array_equal(mask, truth(i) > 0)) for mask in masks]
    assert order == [0, 1, 2, 1, 0, 1]
    (still,) = {mask.tobytes() for mask in holes("fixed", donor, 4, (432, 240))}
    assert np.frombuffer(still, bool).sum() == 108 * 60
    with pytest.raises(UsageError):
        holes("square", donor, 1, SIZE)


def test_the_layout_of_davis_is_read_whatever_the_list_looks_like(davis: Path) -> None:
    assert [s.name for s in read_davis(davis)] == ["alpha", "beta"]
    lists = davis / "ImageSets" / "2016"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("/JPEGImages/480p/beta/00000.jpg /Annotations/480p/beta/00000.png\n" * 3)
    assert [s.name for s in read_davis(davis)] == ["beta"]
    (lists / "dev.txt").write_text("alpha\n\nbeta\ngone\n")
    assert [s.name for s in read_davis(davis)] == ["alpha", "beta"]
    assert [s.name for s in read_davis(davis, split="2016/val")] == ["beta"]
    assert [len(s) for s in Selection(davis, ("beta",), frames=5).read()] == [5]
    with pytest.raises(UsageError, match=r"no sequence gamma .* alpha, beta"):
        read_davis(davis, ("gamma",))
    for wrong in (davis / "JPEGImages", davis / "nowhere"):
        with pytest.raises(SourceMissing):
            read_davis(wrong)
    with pytest.raises(SourceMissing):
        read_davis(davis, split="2017/test")
    with pytest.raises(UsageError):
        Selection(davis, frames=2)


def test_masks_are_read_in_every_common_form(tmp_path: Path) -> None:
    mask = truth(5)
    write_label_png(tmp_path / "palette.png", mask)
    assert Image.open(tmp_path / "palette.png").getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # type: ignore[index]
    assert len(davis_palette()) == 768 and davis_palette()[-3:] == bytes([224, 224, 192])
    plain = ((mask == 1) * 255).astype(np.uint8)
    Image.fromarray(plain).save(tmp_path / "grey.png")
    Image.fromarray(plain).save(tmp_path / "lossy.jpg", quality=60)
    Image.fromarray(plain > 0).save(tmp_path / "bits.png")
    Image.fromarray(np.dstack([plain] * 3)).save(tmp_path / "colour.png")
    assert np.array_equal(read_label_png(tmp_path / "palette.png"), mask)
    for name in ("grey.png", "lossy.jpg", "bits.png", "colour.png"):
        assert np.array_equal(read_label_png(tmp_path / name), mask == 1), name
    with pytest.raises(MaskError, match=r"absent\.png"):
        read_label_png(tmp_path / "absent.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(MaskError, match="cannot be read"):
        read_label_png(tmp_path / "text.png")


def test_folders_that_do_not_fit_are_named(davis: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    evaluate_tracking(STILL, Selection(davis), save=masks)
    (masks / "beta" / "00003.png").unlink()
    with pytest.raises(SourceMissing, match=r"00003\.png of beta"):
        evaluate_folders(masks, davis)
    write_label_png(masks / "beta" / "00003.png", truth(3)[:, :-1])
    with pytest.raises(MaskSizeMismatch, match=r"masks/beta/00003\.png is 79x60"):
        evaluate_folders(masks, davis)
    (tmp_path / "others" / "gamma").mkdir(parents=True)
    write_label_png(tmp_path / "others" / "gamma" / "00000.png", truth(0))
    with pytest.raises(SourceMissing, match="same name"):
        evaluate_folders(masks, tmp_path / "others")
    with pytest.raises(SourceMissing, match="no PNG masks"):
        evaluate_folders(masks, davis / "JPEGImages")
    plain = evaluate_folders(masks / "alpha", davis / "Annotations" / "480p" / "beta")
    assert plain.tables[0].rows[0]["sequence"] == "beta" and not plain.notes
    shutil.rmtree(masks / "beta")
    (note,) = evaluate_folders(masks, davis).notes
    assert note.endswith("beta.") and "alpha" not in note


def test_the_command_writes_tables_json_and_plots(davis: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    evaluate_tracking(STILL, Selection(davis), save=masks)
    run = CliRunner().invoke
    page = tmp_path / "page.md"
    arguments = ["--pred", str(masks), "--truth", str(davis), "--plots", str(tmp_path / "plots")]
    result = run(evaluate, [*arguments, "-o", str(page), "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["tables"][0]["mean"]["J"] == pytest.approx(evaluate_folders(masks, davis).tables[0].mean["J"])
    assert found["machine"]["cores"] >= 1
    assert (found["command"], found["exit"], len(found["outputs"])) == ("evaluate", 0, 3)
    lines = page.read_text().splitlines()
    assert lines[0] == "# Masks of masks"
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")][:4] == [
        "sequence", "---", "alpha", "beta",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["alpha.png", "beta.png"]
    for wrong in ([], ["--pred", str(masks)], [*arguments, "--dataset", str(davis)]):
        with pytest.raises(UsageError):
            run(evaluate, wrong, catch_exceptions=False)


def test_unknown_engines_are_named() -> None:
    with pytest.raises(EngineError, match="no tracker called 'magic': there are classic, xmem"):
        tracking_engine("magic")


def test_a_device_that_is_none_is_refused_by_every_engine() -> None:
    for engine in (tracking_engine, segmenting_engine, filling_engine):
        with pytest.raises(UsageError, match="abacus"):
            engine("classic", device="abacus")


def test_tables_say_what_cannot_be_said_and_plots_show_their_curves() -> None:
    table = Table("t", ({"sequence": "a", "J": 0.5, "PSNR": float("inf")},), {"J": float("nan")})
    assert table.markdown().splitlines()[-2:] == ["| a | 0.500 | inf |", "| **mean** | **–** |  |"]
    page = Evaluation("t", {}, "p", {}, (table,))
    assert json.loads(page.json_text())["tables"][0] == {
        "title": "t", "rows": [{"sequence": "a", "J": 0.5, "PSNR": "inf"}], "mean": {"J": None},
    }  # fmt: skip
    picture = np.asarray(draw(Plot("name", {"J": (range(5), [1, 0.5, 0.5, 0.2, 0.1])}, (0, 3))))
    assert picture.shape == (300, 720, 3)
    blue = (np.abs(picture.astype(int) - [0, 0x72, 0xB2]).sum(axis=2) < 30).sum()
    assert blue > 500

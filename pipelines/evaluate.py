"""Measure engines and masks: the questions that `tam-edit evaluate` asks, each answered with an Evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tam_edit.errors import UsageError
from tam_edit.pipelines.evaluate_clock import machine
from tam_edit.pipelines.evaluate_dataset import AnnotatedSequence, mask_folders, read_davis
from tam_edit.pipelines.evaluate_inpainting import HOLES, FillingEngine, FillScore, donor_of, evaluate_fill
from tam_edit.pipelines.evaluate_report import Evaluation, Plot, Table
from tam_edit.pipelines.evaluate_scores import SequenceScore, score_folders, sequence_row, summary
from tam_edit.pipelines.evaluate_tracking import SegmentingEngine, TrackingEngine, evaluate_sequence, simulate_clicks

Told = Callable[[str, int, int], None]  # name of the sequence, how many are done, how many there are

_ENDS = "The first and the last frame do not count, as in DAVIS."
_ALL = "All frames count."


def _silent(_name: str, _done: int, _all: int) -> None:
    """Progress for those who do not ask."""


@dataclass(frozen=True)
class Selection:
    """Which sequences of a DAVIS copy, and how much of each.

    root: folder with JPEGImages and Annotations; names: only these; split: a list such as "2017/val"; frames: only
    the first so many; objects: another folder of annotations, for example several objects.
    """

    root: Path
    names: tuple[str, ...] = ()
    split: str | None = None
    frames: int | None = None
    objects: Path | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 3:
            raise UsageError(f"{self.frames} frames: give 3 or more, the first and the last do not count")

    def read(self) -> list[AnnotatedSequence]:
        """The sequences; raises SourceMissing and UsageError."""
        found = read_davis(self.root, self.names, self.split, self.objects)
        return [sequence.head(self.frames) for sequence in found]


def evaluate_folders(pred: Path, truth: Path, include_ends: bool = False) -> Evaluation:
    """J, F and J&F of masks in folders against the truth's; agrees with vos-benchmark to 1e-4 and better.

    pred, truth: one folder a video (or a DAVIS root, or a plain folder of PNGs); see `score_folders` for the rules.
    """
    scores = score_folders(pred, truth, include_ends)
    return Evaluation(
        f"Masks of {pred.name}",
        {},
        f"Masks in `{pred}` against `{truth}`. {_ALL if include_ends else _ENDS}",
        machine(),
        _tables(scores),
        _plots(scores),
        _left_out(pred, truth, scores),
    )


def _left_out(pred: Path, truth: Path, scores: Sequence[SequenceScore]) -> tuple[str, ...]:
    """Which videos of the truth have no prediction."""
    names = sorted(mask_folders(truth).keys() - {score.name for score in scores})
    return (f"Not scored, because `{pred}` has no masks of theirs: {', '.join(names)}.",) if names else ()


def evaluate_tracking(
    engine: TrackingEngine,
    selection: Selection,
    *,
    corrections: int = 0,
    clicks: int = 0,
    box: bool = False,
    segmenter: SegmentingEngine | None = None,
    include_ends: bool = False,
    save: Path | None = None,
    told: Told = _silent,
) -> Evaluation:
    """Track every sequence from frame 0's true masks, or from simulated prompts, and score the masks.

    corrections: so many true masks are given one after the other at frames that the engine's trust proposes;
    clicks, box: frame 0's masks come from the segmenter with so many ideal clicks (after the true box); save: a
    folder for the masks in DAVIS layout. Raises UsageError for prompts without a segmenter.
    """
    prompted = clicks > 0 or box
    if prompted and segmenter is None:
        raise UsageError("clicks need a segmenter: give --segmenter NAME")
    sequences = selection.read()
    scores: list[SequenceScore] = []
    prompts: list[dict[str, object]] = []
    for done, sequence in enumerate(sequences):
        told(sequence.name, done, len(sequences))
        start = None
        if prompted and segmenter is not None:
            picture, truth = sequence.picture(0), sequence.truth(0)
            following = sequence.picture(1) if len(sequence) > 1 else None
            start, ious, clock = simulate_clicks(segmenter, picture, truth, clicks, box, following)
            means = np.mean(ious, axis=0) if ious else np.zeros(0)
            row: dict[str, object] = {"sequence": sequence.name}
            row |= {f"IoU {name}": float(value) for name, value in zip(_prompts(clicks, box), means, strict=True)}
            prompts.append(row | {"seconds a prompt": clock.seconds / max(len(means) * len(ious), 1)})
            if not start.any():
                start = None
                prompts[-1]["note"] = "nothing found: tracked from the truth"
        scores.append(
            evaluate_sequence(
                engine, sequence, start=start, corrections=corrections, include_ends=include_ends, save=save
            )
        )
    tables = _tables(scores)
    if corrections:
        tables = (_corrections(scores, corrections), *tables)
    if prompts:
        tables = (Table("Masks of frame 0 from prompts", tuple(prompts), _means(prompts)), *tables)
    engines = {"tracker": f"{engine.name} {engine.version}"}
    if prompted and segmenter is not None:
        engines["segmenter"] = f"{segmenter.name} {segmenter.version}"
    return Evaluation(
        f"Tracking with {engine.name}",
        engines,
        f"`{selection.root}`, {len(sequences)} sequences"
        f"{f', first {selection.frames} frames' if selection.frames else ''}. {_origin(clicks, box)}."
        f" {_ALL if include_ends else _ENDS} J, F and their means are over objects. Seconds are of the engine alone.",
        machine(),
        tables,
        _plots(scores),
    )


def evaluate_inpainting(
    engines: Sequence[FillingEngine],
    selection: Selection,
    *,
    size_wh: tuple[int, int] = (432, 240),
    holes: Sequence[str] = HOLES,
    told: Told = _silent,
) -> Evaluation:
    """Fill holes behind which nothing is hidden, and compare with the truth; the first engine is the one asked about.

    Put `telea()` and `untouched()` after it for the yardstick and the ceiling. Moving holes are the masks of the
    next sequence of the data set, fixed ones a rectangle of a sixteenth of the picture; 50 frames unless the
    selection says otherwise.
    """
    sequences = selection.read()
    donors = read_davis(selection.root, (), selection.split, selection.objects)
    donors = donors if len(donors) > 1 else sequences
    frames = selection.frames or 50
    scores: list[FillScore] = []
    for done, sequence in enumerate(sequences):
        for hole in holes:
            told(f"{sequence.name}, {hole} holes", done, len(sequences))
            donor = donor_of(sequence, donors)
            scores += evaluate_fill(engines, sequence, donor, hole=hole, size_wh=size_wh, frames=frames)
    tables = [_fill_means(scores, engines, holes)]
    for hole in holes:
        rows = tuple(score.row() for score in scores if score.hole == hole and score.engine != "truth")
        tables.append(Table(f"Each sequence, {hole} holes", rows))
    return Evaluation(
        f"Filling with {engines[0].name}",
        {"inpainter": f"{engines[0].name} {engines[0].version}"},
        f"`{selection.root}`, {len(sequences)} sequences, first {frames} frames at {size_wh[0]}x{size_wh[1]}."
        " Moving holes: masks of the next sequence by name. Fixed: a rectangle of 1/16 of the picture in the middle."
        " PSNR and SSIM of whole frames, PSNR in the hole (dB, means over frames); warp: grey levels by which the hole"
        " changes against the truth's optical flow.",
        machine(),
        tuple(tables),
        tuple(_fill_plot(sequence.name, hole, scores) for sequence in sequences for hole in holes),
    )


def _tables(scores: Sequence[SequenceScore]) -> tuple[Table, ...]:
    rows = tuple({k: v for k, v in sequence_row(score).items() if k != "J after"} for score in scores)
    tables = [Table("Each sequence", rows, summary(scores))]
    if any(len(score.objects) > 1 for score in scores):
        each = tuple(
            {"sequence": score.name, "object": o.label, "J&F": o.j_and_f, "J": o.j.mean, "F": o.f.mean}
            for score in scores
            for o in score.objects
        )
        tables.append(Table("Each object", each))
    return tuple(tables)


def _corrections(scores: Sequence[SequenceScore], corrections: int) -> Table:
    rows = []
    for score in scores:
        after = score.extra["J after"]
        values = list(after) if isinstance(after, list) else [after]
        values += values[-1:] * (corrections + 1 - len(values))  # a clip shorter than its corrections
        rows.append({"sequence": score.name, **{f"J after {n}": value for n, value in enumerate(values)}})
    return Table("J with corrections at the frames that the engine proposes", tuple(rows), _means(rows))


def _means(rows: Sequence[dict[str, object]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, float))
    return {name: float(np.mean([v for row in rows if isinstance(v := row.get(name), float)])) for name in names}


def _prompts(clicks: int, box: bool) -> list[str]:
    names = ["box"] if box else []
    counts = [f"{n} click{'s' if n > 1 else ''}" for n in range(1, clicks + 1)]
    return names + [f"box, {count}" if box else count for count in counts]


def _origin(clicks: int, box: bool) -> str:
    if not clicks and not box:
        return "One pass from frame 0's true masks"
    return f"From frame 0's masks as the segmenter gives them after: {_prompts(clicks, box)[-1]}"


def _plots(scores: Sequence[SequenceScore]) -> tuple[Plot, ...]:
    plots = []
    for score in scores:
        curves: dict[str, tuple[Sequence[int], Sequence[float]]] = {}
        for o in score.objects:
            suffix = f" of {o.label}" if len(score.objects) > 1 else ""
            curves |= {f"J{suffix}": (o.frames, o.j.values), f"F{suffix}": (o.frames, o.f.values)}
        if score.trust:
            curves["trust"] = (range(len(score.trust)), score.trust)
        plots.append(Plot(score.name, curves, score.keyframes))
    return tuple(plots)


def _fill_means(scores: Sequence[FillScore], engines: Sequence[FillingEngine], holes: Sequence[str]) -> Table:
    rows = []
    for hole in holes:
        for engine in engines:
            own = [score for score in scores if score.hole == hole and score.engine == engine.name]
            row: dict[str, object] = {"holes": hole, "engine": engine.name}
            columns = ("warp",) if engine.name == "truth" else tuple(own[0].row())[3:]
            row |= {name: float(np.mean([score.row()[name] for score in own])) for name in columns}
            rivals = [score for score in scores if score.hole == hole and score.engine == "telea"]
            if rivals and engine.name not in ("telea", "truth"):
                gains = [mine.psnr - theirs.psnr for mine, theirs in zip(own, rivals, strict=True)]
                row |= {"dB over telea": float(np.mean(gains)), "least dB over telea": float(min(gains))}
            rows.append(row)
    return Table("Means over the sequences", tuple(rows))


def _fill_plot(name: str, hole: str, scores: Sequence[FillScore]) -> Plot:
    own = [s for s in scores if (s.sequence, s.hole) == (name, hole) and s.engine != "truth"]
    curves = {s.engine: (range(len(s.hole_psnr_by_frame)), s.hole_psnr_by_frame) for s in own}
    finite = [value for _, values in curves.values() for value in values if np.isfinite(value)]
    top = 10.0 * (max(finite, default=0) // 10 + 1)
    return Plot(f"{name}-{hole}", curves, top=top, unit="dB in the hole")

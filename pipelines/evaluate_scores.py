"""Scores of masks, object by object: collected frame by frame, kept as values, summed up as DAVIS does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tam_edit.errors import SourceMissing
from tam_edit.masks import LabelMap
from tam_edit.pipelines.evaluate_dataset import mask_folders, read_pair
from tam_edit.pipelines.metrics import Curve, boundary_f, jaccard


@dataclass(frozen=True)
class ObjectScore:
    """J and F of one object over the scored frames of one sequence."""

    label: int
    frames: tuple[int, ...]
    j: Curve
    f: Curve

    @property
    def j_and_f(self) -> float:
        return (self.j.mean + self.f.mean) / 2


@dataclass(frozen=True)
class SequenceScore:
    """What one sequence came to; seconds are of the engine alone, reading and scoring are not in it."""

    name: str
    objects: tuple[ObjectScore, ...]
    frames_run: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    keyframes: tuple[int, ...] = ()
    extra: Mapping[str, float | list[float]] = field(default_factory=dict)
    trust: tuple[float, ...] = ()

    @property
    def seconds_per_frame(self) -> float:
        return self.seconds / self.frames_run if self.frames_run else 0.0

    def with_extra(self, extra: Mapping[str, float | list[float]]) -> SequenceScore:
        """The same score with more columns."""
        return replace(self, extra={**self.extra, **extra})


class Scorer:
    """Takes pairs of label maps in order and gives each object's curves.

    An object is scored from the first frame where the truth or the prediction has it, and only if the truth ever
    does: the rule of vos-benchmark (and of DAVIS 2017, whose objects are all there from the start).
    """

    def __init__(self) -> None:
        self._in_truth: set[int] = set()
        self._seen: dict[int, list[tuple[int, float, float]]] = {}

    def feed(self, index: int, pred: LabelMap, truth: LabelMap) -> None:
        """Score one frame of two label maps of the same size; raises MaskSizeMismatch."""
        present = np.bincount(truth.reshape(-1), minlength=256) > 0
        claimed = np.bincount(pred.reshape(-1), minlength=256) > 0
        self._in_truth.update(int(label) for label in np.flatnonzero(present) if label)
        for found in np.flatnonzero(present | claimed):
            if found:
                self._seen.setdefault(int(found), [])
        for label, rows in self._seen.items():
            wanted = truth == label
            got = pred == label
            rows.append((index, jaccard(got, wanted), boundary_f(got, wanted)))

    def objects(self) -> tuple[ObjectScore, ...]:
        """The scores of all objects of the truth, by label."""
        return tuple(
            ObjectScore(
                label,
                tuple(row[0] for row in self._seen[label]),
                Curve(tuple(row[1] for row in self._seen[label])),
                Curve(tuple(row[2] for row in self._seen[label])),
            )
            for label in sorted(self._in_truth)
        )


def scored_frames(count: int, include_ends: bool = False) -> range:
    """Which frames count: all but the first (it is given) and the last, as DAVIS has it for semi-supervised runs."""
    return range(count) if include_ends else range(1, count - 1)


def score_folders(pred: Path, truth: Path, include_ends: bool = False) -> list[SequenceScore]:
    """J and F of masks in folders against the truth's, agreeing with the package vos-benchmark.

    pred, truth: folders of one folder a video, or folders of PNGs; only videos that are in both count, so
    predictions of one split may be held against a whole data set. Every frame of the truth must be predicted.
    Raises SourceMissing and MaskSizeMismatch.
    """
    predictions, truths = mask_folders(pred), mask_folders(truth)
    if len(predictions) == len(truths) == 1 and not set(predictions) & set(truths):
        predictions = dict(zip(truths, predictions.values(), strict=True))  # two plain folders of PNGs
    shared = sorted(set(predictions) & set(truths))
    if not shared:
        raise SourceMissing(f"{pred} and {truth} have no video of the same name: give folders named alike")
    return [_score_folder(name, predictions[name], truths[name], include_ends) for name in shared]


def _score_folder(name: str, pred: Sequence[Path], truth: Sequence[Path], include_ends: bool) -> SequenceScore:
    by_name = {path.name: path for path in pred}
    scorer = Scorer()
    for index in scored_frames(len(truth), include_ends):
        path = truth[index]
        if path.name not in by_name:
            raise SourceMissing(f"no prediction {path.name} of {name} in {pred[0].parent}: write every frame's mask")
        scorer.feed(index, *read_pair(by_name[path.name], path))
    return SequenceScore(name, scorer.objects())


def summary(scores: Sequence[SequenceScore]) -> dict[str, float]:
    """Means over all objects of all sequences (the benchmark's way: not over sequences first)."""
    objects = [score for sequence in scores for score in sequence.objects]
    means = {name: _mean([measure(o) for o in objects]) for name, measure in MEASURES.items()}
    frames = sum(sequence.frames_run for sequence in scores)
    if frames:
        means["seconds_per_frame"] = sum(sequence.seconds for sequence in scores) / frames
        means["cpu_seconds_per_frame"] = sum(sequence.cpu_seconds for sequence in scores) / frames
    return means


def sequence_row(score: SequenceScore) -> dict[str, Any]:
    """One sequence as a flat row: the means of its objects."""
    row: dict[str, Any] = {"sequence": score.name, "objects": len(score.objects)}
    row |= {name: _mean([measure(o) for o in score.objects]) for name, measure in MEASURES.items()}
    if score.frames_run:
        row["seconds_per_frame"] = score.seconds_per_frame
        row["cpu_seconds_per_frame"] = score.cpu_seconds / score.frames_run
    if score.keyframes:
        row["keyframes"] = list(score.keyframes)
    return row | dict(score.extra)


MEASURES: dict[str, Callable[[ObjectScore], float]] = {
    "J&F": lambda score: score.j_and_f,
    "J": lambda score: score.j.mean,
    "J recall": lambda score: score.j.recall,
    "J decay": lambda score: score.j.decay,
    "F": lambda score: score.f.mean,
    "F recall": lambda score: score.f.recall,
    "F decay": lambda score: score.f.decay,
}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")

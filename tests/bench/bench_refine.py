"""What refining doubtful masks gains: J with `--refine never` and `always`, sequence by sequence, classic engines."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from tam_edit import Edit
from tam_edit.masks import MaskTube
from tam_edit.models.probes import surest_points
from tam_edit.pipelines.evaluate_dataset import AnnotatedSequence, read_davis
from tam_edit.pipelines.keyframes import propose
from tam_edit.pipelines.metrics import jaccard
from tam_edit.pipelines.passes import PROBES
from tam_edit.pipelines.recipes import tubes
from tam_edit.script import Prompt, StoredMask

DAVIS = Path(__file__).resolve().parents[3] / "shared/footage/davis"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="sequences; all ten without any (ten minutes)")
    parser.add_argument("--objects", type=Path, help="annotations of several objects, in place of DAVIS-2016's")
    parser.add_argument("--work", type=Path, help="keep the projects here, so that a second run is quick")
    chosen = parser.parse_args()
    if not DAVIS.is_dir():
        sys.exit(f"no footage at {DAVIS}: nothing to measure")
    with tempfile.TemporaryDirectory() as folder:
        sequences = read_davis(DAVIS, chosen.names, objects=chosen.objects)
        measure(sequences, chosen.work or Path(folder))
        ask(sequences, chosen.work or Path(folder))


def measure(sequences: list[AnnotatedSequence], work: Path) -> None:
    print("| sequence | J, never | J, always | gain | asked | kept | IoU there before | after |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for sequence in sequences:
        edit = opened(sequence, work)
        edit.override(refine="never")
        plain = edit.track()
        edit.override(refine="always")
        better = edit.track()
        told = edit.report.stage("refine") if any(stage.name == "refine" for stage in edit.report.stages) else None
        asked = told.frames_run + told.frames_reused if told else 0
        kept = refined_frames(edit)
        before, after = scores(plain, sequence), scores(better, sequence)
        rows.append((float(np.mean(before[1:-1])), float(np.mean(after[1:-1]))))
        there = [f"{np.mean([values[at] for at in kept]):.3f}" if kept else "" for values in (before, after)]
        shown = [f"{rows[-1][0]:.3f}", f"{rows[-1][1]:.3f}", f"{rows[-1][1] - rows[-1][0]:+.3f}"]
        print("| " + " | ".join([sequence.name, *shown, str(asked), str(len(kept)), *there]) + " |", flush=True)
    means = np.mean(rows, axis=0)
    print(f"| mean | {means[0]:.3f} | {means[1]:.3f} | {means[1] - means[0]:+.3f} | | | | |")


def ask(sequences: list[AnnotatedSequence], work: Path, most: int = 5, apart: int = 7) -> None:
    """The segmenter's answers on the least trusted frames of each sequence, whatever their trust."""
    print("\n| sequence | frames asked | IoU, tracked | IoU, answered | better answers | of these found by its score |")
    print("|---|---|---|---|---|---|")
    rows = []
    for sequence in sequences:
        edit = opened(sequence, work)
        edit.override(refine="never")
        edit.track()
        with edit.pictures() as context:
            engines = edit.bench.engines()
            found = tubes(context, edit.bench.effective, engines)
            trust = {frame: parts[1]["combined"] for frame, parts in found.trust.items() if frame and 1 in parts}
            chosen: list[int] = []
            for frame in sorted(trust, key=lambda at: (trust[at], at)):
                if len(chosen) < most and all(abs(frame - other) >= apart for other in chosen):
                    chosen.append(frame)
            for frame in sorted(chosen):
                tracked, wanted = found.maps.load(frame) == 1, sequence.truth(frame) == sequence.truth(0).max()
                inside, outside = surest_points(tracked, *2 * [tracked.astype(np.float32) * 0.8 + 0.1], PROBES)
                points, negative = (tuple((float(x), float(y)) for x, y in near.tolist()) for near in (inside, outside))
                if not points:
                    continue
                prompt = Prompt(points=points, negative=negative, prior=StoredMask.of(tracked))
                answer = propose(context, frame, prompt, engines.segmenter)[0]
                sure = answer.score >= engines.segmenter.rules.score_from
                rows.append((sequence.name, jaccard(tracked, wanted), jaccard(answer.mask, wanted), sure))
        print(_row(sequence.name, [row[1:] for row in rows if row[0] == sequence.name]), flush=True)
    print(_row("all", [row[1:] for row in rows]))


def _row(name: str, rows: list[tuple[float, float, bool]]) -> str:
    tracked, answered = (np.mean([row[at] for row in rows]) for at in (0, 1))
    better = [row for row in rows if row[1] > row[0]]
    return (
        f"| {name} | {len(rows)} | {tracked:.3f} | {answered:.3f} | {len(better)} | {sum(row[2] for row in better)} |"
    )


def opened(sequence: AnnotatedSequence, work: Path) -> Edit:
    """A project of the sequence's pictures with the truth of frame 0 marked; one from before is used again."""
    folder = work / f"{sequence.name}.edit"
    made = not folder.exists()
    edit = Edit.create(sequence.pictures[0].parent, folder, frame_rate=24) if made else Edit.open(folder)
    edit.override(segmenter="classic", tracker="classic", inpainter="classic")
    if made:
        first = sequence.truth(0)
        for label in sorted(set(np.unique(first).tolist()) - {0}):
            edit.mark(f"object {label}", frame=0, mask=first == label)
    return edit


def refined_frames(edit: Edit) -> list[int]:
    """The frames on which a mask was refined, as their trust tells."""
    bench = edit.bench
    with bench.context(bench.runner(dry=True)) as context:
        trust = tubes(context, bench.effective, bench.engines()).trust
    return [frame for frame, known in sorted(trust.items()) if any("overlap" in parts for parts in known.values())]


def scores(tube: MaskTube, sequence: AnnotatedSequence) -> list[float]:
    """J of each frame, the mean of its objects."""
    found = []
    for index in range(len(sequence)):
        truth, label_map = sequence.truth(index), tube.label_map(index)
        labels = sorted(set(np.unique(sequence.truth(0)).tolist()) - {0})
        found.append(float(np.mean([jaccard(label_map == k, truth == k) for k in labels])))
    return found


if __name__ == "__main__":
    main()

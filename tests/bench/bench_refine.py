"""What refining doubtful masks gains: J with `--refine never` and `always`, sequence by sequence, classic engines."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from tam_edit import Edit
from tam_edit.masks import MaskTube
from tam_edit.pipelines.evaluate_dataset import AnnotatedSequence, read_davis
from tam_edit.pipelines.metrics import jaccard

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
        measure(read_davis(DAVIS, chosen.names, objects=chosen.objects), chosen.work or Path(folder))


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
    from tam_edit.pipelines.recipes import tubes

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

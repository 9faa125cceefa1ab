"""What refining doubtful masks gains: J with `--refine never` and `always`, sequence by sequence, classic engines."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tam_edit import Edit
from tam_edit.digest import digest_bytes
from tam_edit.masks import MaskTube
from tam_edit.models.probes import surest_points
from tam_edit.pipelines.context import Rgb
from tam_edit.pipelines.evaluate_dataset import AnnotatedSequence, read_davis
from tam_edit.pipelines.keyframes import Candidate, propose
from tam_edit.pipelines.metrics import jaccard
from tam_edit.pipelines.passes import PROBES
from tam_edit.pipelines.recipes import tubes
from tam_edit.pipelines.refine import Rules
from tam_edit.script import Prompt, StoredMask

DAVIS = Path(__file__).resolve().parents[3] / "shared/footage/davis"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="sequences; all ten without any (ten minutes)")
    parser.add_argument("--work", type=Path, help="keep the projects here, so that a second run is quick")
    chosen = parser.parse_args()
    if not DAVIS.is_dir():
        sys.exit(f"no footage at {DAVIS}: nothing to measure")
    with tempfile.TemporaryDirectory() as folder:
        sequences = read_davis(DAVIS, chosen.names)
        measure(sequences, chosen.work or Path(folder))
        ask(sequences, chosen.work or Path(folder))


def measure(sequences: list[AnnotatedSequence], work: Path) -> None:
    """J without refining, with the classic segmenter's answers, and with the truth as an ideal segmenter's."""
    print("| sequence | J, never | always | gain | kept of asked | IoU there, before and after | ideal | gain | kept |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    for sequence in sequences:
        edit = opened(sequence, work)
        plain, _ = tracked(edit, sequence, "never")
        better, told = tracked(edit, sequence, "always")
        kept = [item["frame"] for item in told if item["accepted"]]
        there = [f"{np.mean([values[at] for at in kept]):.3f}" for values in (plain, better)] if kept else []
        ideal = dataclasses.replace(edit.bench.engines(), segmenter=Ideal(edit, sequence))
        edit.bench.engines = lambda ideal=ideal: ideal  # type: ignore[method-assign]
        best, answered = tracked(edit, sequence, "always")
        rows.append([float(np.mean(values[1:-1])) for values in (plain, better, best)])
        counts = f"{len(kept)} of {len(told)}", f"{sum(item['accepted'] for item in answered)} of {len(answered)}"
        print(_line(sequence.name, rows[-1], counts, ", ".join(there)), flush=True)
    print(_line("mean", np.mean(rows, axis=0).tolist(), ("", ""), ""))


def _line(name: str, means: list[float], counts: tuple[str, str], there: str) -> str:
    plain, better, best = means
    first = f"| {name} | {plain:.3f} | {better:.3f} | {better - plain:+.3f} | {counts[0]} | {there} "
    return first + f"| {best:.3f} | {best - plain:+.3f} | {counts[1]} |"


def tracked(edit: Edit, sequence: AnnotatedSequence, refine: str) -> tuple[list[float], list[dict[str, Any]]]:
    """J frame by frame, and what was asked."""
    edit.override(refine=refine)
    found = scores(edit.track(), sequence)
    return found, list(edit.report.to_json().get("refined", []))


class Ideal:
    """Answers with the truth of the frame that it is shown: what the loop gains if only the segmenter is good."""

    identity = "ideal/1"
    looks_ahead = False
    rules = Rules(score_from=0.5, stability_from=0.5, overlap_from=0.5, by_itself=True)

    def __init__(self, edit: Edit, sequence: AnnotatedSequence) -> None:
        with edit.pictures() as context:
            pictures = context.rgb_span(context.source.span)
            self._frames = {digest_bytes(rgb.tobytes()): index for index, rgb in enumerate(pictures)}
        self._sequence = sequence

    def candidates(self, rgb: Rgb, prompt: Prompt, next_rgb: Rgb | None) -> tuple[Candidate, ...]:
        truth = self._sequence.truth(self._frames[digest_bytes(np.ascontiguousarray(rgb).tobytes())])
        return (Candidate(truth > 0, 1.0, "truth", 1.0),)


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

"""How well trust finds the frames that are wrong, and what correcting them gains, on clips with truth.

python -m tests.bench.bench_review [trust] [--plot PNG]      trust against true J, frame by frame, of one pass
python -m tests.bench.bench_review corrections [--most 5]    J after corrections at frames chosen in several ways
Both take --dataset DIR, --sequence NAME (repeatable), --tracker ENGINE and -o FILE.json; corrections also --half.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import spearmanr

from tam_edit import Edit
from tam_edit.pipelines.evaluate_dataset import AnnotatedSequence, read_davis
from tam_edit.pipelines.metrics import jaccard
from tam_edit.pipelines.review import propose
from tam_edit.settings import Settings
from tests.support import SHARED

BAD = 0.7  # true J below which a frame is worth a correction
COUNTS = (0, 1, 2, 3, 5)


@dataclass(frozen=True)
class Pass:
    """One sequence as tracked now: J and trust of every frame, and the frames that were given."""

    j: NDArray[np.float64]
    trust: NDArray[np.float64]
    parts: Sequence[Mapping[str, float]]
    given: tuple[int, ...]

    @property
    def mean(self) -> float:
        """J as DAVIS counts it: without the first and the last frame."""
        return float(self.j[1:-1].mean())


class Corrected:
    """A project for one sequence whose first object is known on frame 0, and true masks to correct it with."""

    def __init__(self, sequence: AnnotatedSequence, folder: Path, tracker: str, half: bool = False) -> None:
        self.sequence = sequence = halved(sequence, folder / "half") if half else sequence
        settings = Settings(segmenter="classic", tracker=tracker, refine="never")
        self.edit = Edit.create(sequence.pictures[0].parent, folder / sequence.name, settings=settings)
        self.mark(0)

    def mark(self, frame: int) -> None:
        mask = self.sequence.truth(frame) == 1
        self.edit.mark("object", frame, mask=mask if mask.any() else None, absent=not mask.any())

    def track(self) -> Pass:
        masks = self.edit.track()["object"]
        trust = self.edit.trust()["object"]
        count = len(self.sequence)
        return Pass(
            np.array([jaccard(masks[frame], self.sequence.truth(frame) == 1) for frame in range(count)]),
            np.array([trust[frame]["combined"] for frame in range(count)]),
            [trust[frame] for frame in range(count)],
            tuple(sorted(self.edit.script.objects[0].prompts)),
        )


def halved(sequence: AnnotatedSequence, folder: Path) -> AnnotatedSequence:
    """The sequence at half its width and height, as files in a folder."""
    pictures, truths = [], []
    for kind in ("pictures", "truth"):
        (folder / kind).mkdir(parents=True)
    for index in range(len(sequence)):
        picture = Image.fromarray(sequence.picture(index))
        size = (picture.width // 2, picture.height // 2)
        pictures.append(folder / f"pictures/{sequence.stem(index)}.png")
        picture.resize(size, Image.Resampling.BOX).save(pictures[-1])
        truths.append(folder / f"truth/{sequence.stem(index)}.png")
        Image.fromarray(sequence.truth(index)).resize(size, Image.Resampling.NEAREST).save(truths[-1])
    return AnnotatedSequence(sequence.name, tuple(pictures), tuple(truths))


def doubted(found: Pass) -> int:
    """The least trusted frame."""
    return _first(np.argsort(found.trust, kind="stable"), found)


def promising(found: Pass) -> int:
    """The frame with most doubt around it."""
    chosen = propose([*found.trust], found.given)
    assert chosen is not None
    return chosen


def worst(found: Pass) -> int:
    """The truly worst frame, which only the truth knows."""
    return _first(np.argsort(found.j, kind="stable"), found)


def evenly(found: Pass) -> int:
    """The middle of the longest stretch without a given frame."""
    edges = [*found.given, len(found.j)]
    gaps = [(right - left, left) for left, right in itertools.pairwise(edges)]
    length, left = max(gaps, key=lambda gap: gap[0])
    return left + length // 2


def _first(order: NDArray[np.intp], found: Pass) -> int:
    return next(int(frame) for frame in order if frame not in found.given)


WAYS: dict[str, Callable[[Pass], int]] = {
    "the least trusted frame": doubted,
    "most doubt around it": promising,
    "the truly worst frame": worst,
    "evenly spaced": evenly,
}


def corrections(chosen: Sequence[AnnotatedSequence], most: int, tracker: str, half: bool) -> dict[str, Any]:
    """J of every sequence after 0, 1, .. corrections, one after the other, by each way of choosing frames."""
    found: dict[str, Any] = {}
    for sequence in chosen:
        found[sequence.name] = {}
        with tempfile.TemporaryDirectory() as folder:
            project = Corrected(sequence, Path(folder), tracker, half)
            for name, way in WAYS.items():
                curve, frames = [], []
                while True:
                    now = project.track()
                    curve.append(now.mean)
                    if len(frames) == most:
                        break
                    frames.append(way(now))
                    project.mark(frames[-1])
                for frame in frames:
                    project.edit.unmark("object", frame)
                found[sequence.name][name] = {"J": curve, "frames": frames}
                print(sequence.name, name, [round(value, 3) for value in curve], frames, file=sys.stderr, flush=True)
    return found


def corrections_table(found: Mapping[str, Any]) -> str:
    counts = [count for count in COUNTS if count < len(next(iter(next(iter(found.values())).values()))["J"])]
    lines = ["| corrected frame | " + " | ".join(map(str, counts)) + " |", "|---" * (len(counts) + 1) + "|"]
    for name in WAYS:
        means = [np.mean([each[name]["J"][count] for each in found.values()]) for count in counts]
        lines.append(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    return "\n".join(lines)


def passes(chosen: Sequence[AnnotatedSequence], tracker: str) -> dict[str, Pass]:
    found = {}
    for sequence in chosen:
        with tempfile.TemporaryDirectory() as folder:
            found[sequence.name] = Corrected(sequence, Path(folder), tracker).track()
        print(sequence.name, file=sys.stderr, flush=True)
    return found


def trust_table(found: Mapping[str, Pass], threshold: float) -> str:
    """Rank correlation and what the threshold finds, for each sequence and over all frames."""
    lines = [
        f"| sequence | J | frames below {BAD} | Spearman | of those, doubted | doubted and right all the same |",
        "|---|---|---|---|---|---|",
    ]
    each = []
    for name, one in found.items():
        j, trust = one.j[1:], one.trust[1:]
        bad, doubted = j < BAD, trust < threshold
        each.append(float(spearmanr(j, trust).statistic))
        lines.append(
            f"| {name} | {one.mean:.3f} | {bad.sum()} of {len(j)} | {each[-1]:.2f} | "
            f"{(bad & doubted).sum()} | {(doubted & ~bad).sum()} |"
        )
    j, trust = (np.concatenate([getattr(one, what)[1:] for one in found.values()]) for what in ("j", "trust"))
    bad, doubted = j < BAD, trust < threshold
    lines.append(
        f"| all frames | {np.mean([one.mean for one in found.values()]):.3f} | {bad.sum()} of {len(j)} | "
        f"{np.mean(each):.2f} on average, {spearmanr(j, trust).statistic:.2f} across | {(bad & doubted).sum()} | "
        f"{(doubted & ~bad).sum()} |"
    )
    return "\n".join(lines)


def plot(found: Mapping[str, Pass], threshold: float, path: Path) -> None:
    """Trust against J, a dot a frame, a colour a sequence."""
    scale, left, top, right, bottom = 2, 60, 10, 560, 400
    picture = Image.new("RGB", (720 * scale, 450 * scale), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12 * scale)

    def at(trust: float, j: float) -> tuple[float, float]:
        return (left + trust * (right - left)) * scale, (bottom - j * (bottom - top)) * scale

    for step in range(6):
        value = step / 5
        pen.line([at(value, 0), at(value, 1)], "#dddddd")
        pen.line([at(0, value), at(1, value)], "#dddddd")
        pen.text((at(value, 0)[0], (bottom + 6) * scale), f"{value:.1f}", "#444444", font, anchor="mt")
        pen.text(((left - 6) * scale, at(0, value)[1]), f"{value:.1f}", "#444444", font, anchor="rm")
    pen.line([at(threshold, 0), at(threshold, 1)], "#444444", 2 * scale)
    words = "trust (frames left of the line are listed by review); upwards: true J"
    pen.text((left * scale, 428 * scale), words, "#444444", font)
    for index, (name, one) in enumerate(found.items()):
        colour = f"hsl({360 * index // len(found)}, 75%, 42%)"
        for trust, j in zip(one.trust[1:], one.j[1:], strict=True):
            x, y = at(float(trust), float(j))
            pen.ellipse([x - 2 * scale, y - 2 * scale, x + 2 * scale, y + 2 * scale], fill=colour)
        row = (20 + 18 * index) * scale
        pen.ellipse([575 * scale, row - 4 * scale, 583 * scale, row + 4 * scale], fill=colour)
        pen.text((590 * scale, row), name, "#222222", font, anchor="lm")
    picture.resize((720, 450), Image.Resampling.LANCZOS).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("trust", "corrections"), default="trust")
    parser.add_argument("--dataset", type=Path, default=SHARED / "footage/davis")
    parser.add_argument("--sequence", action="append")
    parser.add_argument("--tracker", default="classic")
    parser.add_argument("--most", type=int, default=max(COUNTS))
    parser.add_argument("--half", action="store_true", help="corrections at half size, in half the time")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    chosen = read_davis(asked.dataset, asked.sequence or ())
    if asked.what == "corrections":
        curves = corrections(chosen, asked.most, asked.tracker, asked.half)
        print(corrections_table(curves))
        kept: Any = curves
    else:
        from tam_edit.pipelines.review import USUAL_THRESHOLD

        found = passes(chosen, asked.tracker)
        print(trust_table(found, USUAL_THRESHOLD))
        if asked.plot is not None:
            plot(found, USUAL_THRESHOLD, asked.plot)
        kept = {name: {"J": one.j.tolist(), "trust": list(one.parts)} for name, one in found.items()}
    if asked.output is not None:
        asked.output.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()

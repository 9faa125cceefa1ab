"""`tam-edit evaluate`: figures for engines and masks, as tables, JSON and plots."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tam_edit.pipelines.evaluate_report import Evaluation

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("evaluate", short_help="Score masks (J, F) and fillings (PSNR, SSIM, flicker).")
@click.option("--dataset", type=FOLDER, help="Root of a DAVIS copy: JPEGImages and Annotations.")
@click.option("--pred", type=FOLDER, help="Masks to score: one folder of PNGs a video.")
@click.option("--truth", type=FOLDER, help="True masks of the same names.")
@click.option("--inpainting", is_flag=True, help="Fill holes with the inpainter, beside Telea's method.")
@click.option("--corrections", type=click.IntRange(0), default=0, metavar="N", help="Give N true masks on the way.")
@click.option("--clicks", type=click.IntRange(0), default=0, metavar="N", help="Begin with N clicks, not the truth.")
@click.option("--box", is_flag=True, help="Begin with the true box (before the clicks, if any).")
@click.option("--sequence", "sequences", multiple=True, metavar="NAME", help="Only this one (repeatable).")
@click.option("--split", metavar="LIST", help="A list under ImageSets, for example 2017/val.")
@click.option("--annotations", type=FOLDER, help="True masks from this folder instead (for example several objects).")
@click.option("--frames", type=click.IntRange(3), metavar="N", help="Only the first N frames (inpainting: 50).")
@click.option("--size", default="432x240", metavar="WxH", show_default=True, help="Of the frames for inpainting.")
@click.option("--holes", type=click.Choice(["moving", "fixed", "both"]), default="both", show_default=True)
@click.option("--include-ends", is_flag=True, help="Count the first and the last frame too.")
@click.option("--tracker", default="classic", show_default=True, metavar="ENGINE")
@click.option("--segmenter", default="classic", show_default=True, metavar="ENGINE")
@click.option("--inpainter", default="classic", show_default=True, metavar="ENGINE")
@click.option("--weights", multiple=True, metavar="ENGINE=FILE", help="Weights of an engine (repeatable).")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu or cuda, for neural engines.")
@click.option("--save-masks", type=click.Path(path_type=Path), help="Write the masks here, in DAVIS layout.")
@click.option("--plots", type=click.Path(path_type=Path), help="Write a plot per sequence into this folder.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write .md or .json here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not Markdown.")
def evaluate(
    dataset: Path | None,
    pred: Path | None,
    truth: Path | None,
    inpainting: bool,
    corrections: int,
    clicks: int,
    box: bool,
    sequences: tuple[str, ...],
    split: str | None,
    annotations: Path | None,
    frames: int | None,
    size: str,
    holes: str,
    include_ends: bool,
    tracker: str,
    segmenter: str,
    inpainter: str,
    weights: tuple[str, ...],
    device: str,
    save_masks: Path | None,
    plots: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure masks or engines.

    \b
    tam-edit evaluate --pred MASKS --truth DAVIS/Annotations/480p     J, F, J&F of masks in folders
    tam-edit evaluate --dataset DAVIS                                 the tracker from frame 0's true masks
    tam-edit evaluate --dataset DAVIS --clicks 2 --corrections 3      the whole way a person goes
    tam-edit evaluate --dataset DAVIS --inpainting                    the inpainter, beside Telea's method
    """
    from tam_edit.errors import UsageError
    from tam_edit.models.weights import parse_named
    from tam_edit.pipelines import evaluate as evaluating
    from tam_edit.pipelines import evaluate_engines as engines

    if (pred is None) != (truth is None) or (pred is None) == (dataset is None):
        raise UsageError("give either --dataset DAVIS_ROOT, or --pred DIR with --truth DIR")
    if pred is not None and truth is not None:
        result = evaluating.evaluate_folders(pred, truth, include_ends)
    else:
        assert dataset is not None
        selection = evaluating.Selection(dataset, sequences, split, frames, annotations)
        named = parse_named(weights)
        if inpainting:
            fillers = [engines.filling_engine(inpainter, named, device)]
            fillers += [engines.telea(), engines.untouched()] if inpainter != "telea" else [engines.untouched()]
            kinds = ("moving", "fixed") if holes == "both" else (holes,)
            result = evaluating.evaluate_inpainting(fillers, selection, size_wh=_size(size), holes=kinds, told=_told)
        else:
            result = evaluating.evaluate_tracking(
                engines.tracking_engine(tracker, named, device),
                selection,
                corrections=corrections,
                clicks=clicks,
                box=box,
                segmenter=engines.segmenting_engine(segmenter, named, device) if clicks or box else None,
                include_ends=include_ends,
                save=save_masks,
                told=_told,
            )
    _give(result, output, plots, as_json)


def _give(result: Evaluation, output: Path | None, plots: Path | None, as_json: bool) -> None:
    from tam_edit.errors import OutputUnwritable

    written: list[Path] = []
    try:
        if plots is not None:
            written += result.write_plots(plots)
        if output is not None:
            text = result.json_text() if output.suffix == ".json" else result.markdown()
            part = output.with_name(f".{output.name}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(output)
            written.append(output)
    except OSError as error:
        raise OutputUnwritable(f"cannot write the result ({error}): choose another place") from error
    for path in written:
        click.echo(f"wrote {path}", err=True)
    if as_json:
        outputs = [str(path) for path in written]
        found = {"command": "evaluate", "exit": 0, "outputs": outputs, **result.to_json()}
        click.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
    elif output is None:
        click.echo(result.markdown(), nl=False)


def _told(name: str, done: int, count: int) -> None:
    ending = "\r" if sys.stderr.isatty() else "\n"
    click.echo(f"{done + 1}/{count} {name:<40}", err=True, nl=False)
    click.echo(ending, err=True, nl=False)


def _size(text: str) -> tuple[int, int]:
    from tam_edit.errors import UsageError

    width, times, height = text.partition("x")
    if not times or not width.isdigit() or not height.isdigit() or int(width) < 16 or int(height) < 16:
        raise UsageError(f"--size {text}: write WIDTHxHEIGHT in pixels, for example 432x240")
    return int(width), int(height)

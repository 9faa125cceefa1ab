"""Folders in the layout of DAVIS, 2016 and 2017: sequences of pictures beside sequences of label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_edit.errors import MaskSizeMismatch, SourceMissing, SourceUnreadable, UsageError
from tam_edit.masks import LabelMap
from tam_edit.pipelines.export.palette import read_label_png

_PICTURES = (".jpg", ".jpeg", ".png")
# Where a split may be named, best first, when none is asked for.
_SPLITS = ("2016/dev", "2016/val", "2017/val")


@dataclass(frozen=True)
class AnnotatedSequence:
    """One sequence: its pictures in order and, by file name, the label maps that exist."""

    name: str
    pictures: tuple[Path, ...]
    truths: tuple[Path | None, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, uint8 RGB [H, W, 3]; raises SourceUnreadable."""
        import cv2

        picture = cv2.imread(str(self.pictures[index]), cv2.IMREAD_COLOR)
        if picture is None:
            raise SourceUnreadable(f"{self.pictures[index]} cannot be read as a picture: fetch the data set again")
        return np.ascontiguousarray(picture[:, :, ::-1])

    def truth(self, index: int) -> LabelMap:
        """Frame `index`'s label map, uint8 [H, W]; raises MaskError where there is none."""
        path = self.truths[index]
        if path is None:
            raise SourceMissing(f"{self.name} has no annotation of frame {index}: annotate it, or leave it out")
        return read_label_png(path)

    def stem(self, index: int) -> str:
        """The frame's file name without its ending: that of its masks."""
        return self.pictures[index].stem

    def head(self, frames: int | None) -> AnnotatedSequence:
        """The first frames only; all for None."""
        return AnnotatedSequence(self.name, self.pictures[:frames], self.truths[:frames])


def read_davis(
    root: Path, names: Sequence[str] = (), split: str | None = None, objects: Path | None = None
) -> list[AnnotatedSequence]:
    """The sequences under a DAVIS root, sorted by name.

    root: holds JPEGImages/480p and Annotations/480p (or one other resolution); names: only these; split: a list
    under ImageSets such as "2017/val" (by default the first of 2016/dev, 2016/val, 2017/val that exists, else all);
    objects: take the annotations from this folder instead. Raises SourceMissing and UsageError.
    """
    pictures, annotations = _resolution(root / "JPEGImages"), objects or _resolution(root / "Annotations")
    if names:
        missing = [name for name in names if not (pictures / name).is_dir()]
        if missing:
            raise UsageError(
                f"no sequence {', '.join(missing)} in {pictures}: there are {', '.join(_folders(pictures))}"
            )
        chosen = list(dict.fromkeys(names))
    else:
        chosen = _listed(root, split) or [name for name in _folders(pictures) if (annotations / name).is_dir()]
        chosen = [name for name in chosen if (pictures / name).is_dir() and (annotations / name).is_dir()]
    if not chosen:
        raise SourceMissing(f"no sequence with pictures and annotations under {root}: give the root of a DAVIS copy")
    return [_sequence(name, pictures / name, annotations / name) for name in sorted(chosen)]


def mask_folders(root: Path) -> dict[str, list[Path]]:
    """Videos of label maps in a folder: name -> PNG files in order; a folder of PNGs is one video itself.

    A DAVIS root is understood too (its Annotations are taken). Raises SourceMissing.
    """
    if not root.is_dir():
        raise SourceMissing(f"{root} is no folder: give a folder of mask folders, one a video")
    if (root / "Annotations").is_dir():
        root = _resolution(root / "Annotations")
    own = sorted(path for path in root.iterdir() if path.suffix.lower() == ".png")
    if own:
        return {root.resolve().name: own}
    found = {folder: sorted((root / folder).glob("*.png")) for folder in _folders(root)}
    found = {name: paths for name, paths in found.items() if paths}
    if not found:
        raise SourceMissing(f"no PNG masks in {root} nor in its folders: give a folder of mask folders, one a video")
    return found


def read_pair(pred: Path, truth: Path) -> tuple[LabelMap, LabelMap]:
    """Two label maps of one frame; raises MaskSizeMismatch naming both files when their sizes differ."""
    pred_map, truth_map = read_label_png(pred), read_label_png(truth)
    if pred_map.shape != truth_map.shape:
        raise MaskSizeMismatch(
            f"{pred} is {pred_map.shape[1]}x{pred_map.shape[0]},"
            f" {truth} {truth_map.shape[1]}x{truth_map.shape[0]}: write the masks at the size of the truth"
        )
    return pred_map, truth_map


def _resolution(folder: Path) -> Path:
    if not folder.is_dir():
        raise SourceMissing(f"no folder {folder}: give the root of a DAVIS copy, with JPEGImages and Annotations")
    if (folder / "480p").is_dir():
        return folder / "480p"
    inner = [folder / name for name in _folders(folder)]
    only_folders = [path for path in inner if not any(child.suffix.lower() in _PICTURES for child in path.iterdir())]
    return only_folders[0] if len(only_folders) == 1 and len(inner) == 1 else folder


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _listed(root: Path, split: str | None) -> list[str]:
    for candidate in (split,) if split else _SPLITS:
        path = root / "ImageSets" / f"{candidate}.txt"
        if path.is_file():
            return _names(path.read_text(encoding="utf-8").splitlines())
    if split:
        raise SourceMissing(f"no list {root / 'ImageSets' / split}.txt: name another split")
    return []


def _names(lines: Sequence[str]) -> list[str]:
    """Sequence names from bare names or from DAVIS-2016's pairs of file names."""
    firsts = [line.split()[0] for line in lines if line.strip()]
    return list(dict.fromkeys(Path(first).parent.name if "/" in first else first for first in firsts))


def _sequence(name: str, pictures: Path, annotations: Path) -> AnnotatedSequence:
    paths = sorted(path for path in pictures.iterdir() if path.suffix.lower() in _PICTURES)
    if not paths:
        raise SourceMissing(f"no pictures in {pictures}: fetch the data set again")
    truths = [annotations / f"{path.stem}.png" for path in paths]
    return AnnotatedSequence(name, tuple(paths), tuple(path if path.is_file() else None for path in truths))

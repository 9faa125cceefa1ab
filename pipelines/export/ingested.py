"""What an import finds: names, and label maps by frame, whatever the file called and numbered them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tam_edit.errors import MaskError, SourceMissing
from tam_edit.masks import LabelMap, Mask, check_label_map, fitted


@dataclass(frozen=True)
class Ingested:
    """Objects in label order (names[0] has label 1), and what is said of them: frame -> uint8 label map [H, W].

    A frame that is there speaks for all objects: one that it does not show is absent on it.
    """

    names: tuple[str, ...]
    keyframes: Mapping[int, LabelMap]
    warnings: tuple[str, ...] = ()


class LabelBook:
    """Collects masks by name and frame; later masks lie over earlier ones."""

    def __init__(self, size_wh: tuple[int, int], frames: int) -> None:
        self._size_wh, self._frames = size_wh, frames
        self._labels: dict[str, int] = {}
        self._maps: dict[int, LabelMap] = {}
        self.warnings: list[str] = []

    def name(self, name: str) -> int:
        """The label of a name, a new one if need be; raises MaskError beyond 255."""
        label = self._labels.setdefault(name, len(self._labels) + 1)
        if label > 255:
            raise MaskError(f"more than 255 objects, {name!r} is one too many: import a part of them")
        return label

    def open(self, index: int, where: str) -> LabelMap:
        """The frame's label map, empty at first; raises MaskError for a frame that the clip does not have."""
        if not 0 <= index < self._frames:
            raise MaskError(
                f"{where} speaks of frame {index}, the clip has frames 0 to {self._frames - 1}: is it of this clip?"
            )
        return self._maps.setdefault(index, np.zeros((self._size_wh[1], self._size_wh[0]), np.uint8))

    def add(self, index: int, name: str, mask: Mask, where: str) -> None:
        """Lay an object's mask, bool [H, W], over what the frame has; raises MaskSizeMismatch."""
        found = check_label_map(mask, self._size_wh, f"the mask of {name!r} at frame {index} in {where}") > 0
        self.open(index, where)[found] = self.name(name)

    def add_map(self, index: int, label_map: LabelMap, names: Mapping[int, str], where: Path) -> None:
        """Take a whole label map, its labels named by `names` (else by number); raises MaskSizeMismatch."""
        same = fitted(label_map, self._size_wh)
        if same is not None and same.shape != label_map.shape:
            height, width = label_map.shape
            self.warnings.append(f"{where} is {width}x{height}, one pixel off the clip's size: its edge was fitted")
        found = check_label_map(label_map if same is None else same, self._size_wh, str(where))
        lookup = np.zeros(256, np.uint8)
        for label in np.flatnonzero(np.bincount(found.reshape(-1), minlength=256)):
            if label:
                lookup[label] = self.name(names.get(int(label), f"object {label}"))
        self.open(index, str(where))[...] = lookup[found]

    def done(self) -> Ingested:
        """Everything; raises MaskError when no object was found."""
        if not self._labels:
            raise MaskError("no mask was found: is this the right format?")
        return Ingested(tuple(self._labels), dict(sorted(self._maps.items())), tuple(self.warnings))


def numbered(folder: Path, suffixes: Sequence[str], frames: int) -> dict[int, Path]:
    """Files by frame: the last number in the name, or their order when numbers do not fit and there are enough.

    Raises SourceMissing for no files, MaskError when they cannot belong to the clip.
    """
    if not folder.is_dir():
        raise SourceMissing(f"{folder} is no folder: give the folder with the masks")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not files:
        raise SourceMissing(f"no {' or '.join(suffixes)} files in {folder}: is this the right folder?")
    found = [re.findall(r"\d+", path.stem) for path in files]
    numbers = [int(digits[-1]) for digits in found if digits]
    if len(numbers) == len(files) == len(set(numbers)) and max(numbers) < frames:
        return dict(zip(numbers, files, strict=True))
    if len(files) == frames:
        return dict(enumerate(files))
    raise MaskError(
        f"{folder} has {len(files)} masks up to {files[-1].name}, the clip {frames} frames:"
        " number them by frame from 0, or give one for every frame"
    )

"""What an export is asked for and what it answers; the same for every format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_edit.clip import ClipSource
from tam_edit.errors import ContainerUnknown, MaskError, MaskSizeMismatch, OutputUnwritable
from tam_edit.masks import LabelMap, MaskTube

Rgb = NDArray[np.uint8]
Alpha = NDArray[np.float32]

# Colour is kept so far beyond the soft edge: enough for a scaler's taps, too little to give away the background.
_BLEED_PX = 8


@dataclass(frozen=True)
class ExportResult:
    """What lies on disk now, and what a person should know of it."""

    paths: tuple[Path, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """Which masks of which clip go where.

    tube: the masks; pictures: frame number -> uint8 RGB [H, W, 3], upright; clip: times and size; matte: frame number
    -> soft alpha, float32 [H, W] in 0..1, of the chosen objects together (their hard masks when None); objects: the
    names that take part, in order: their labels in the result are 1, 2, ..
    Raises MaskError and MaskSizeMismatch when tube and clip do not fit, UsageError for an unknown object.
    """

    tube: MaskTube
    pictures: Callable[[int], Rgb]
    clip: ClipSource
    destination: Path
    matte: Callable[[int], Alpha] | None
    objects: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.tube) != self.clip.frames:
            raise MaskError(
                f"masks of {len(self.tube)} frames for a clip of {self.clip.frames}: track the whole clip first"
            )
        if self.tube.size_wh != self.clip.size_wh:
            raise MaskSizeMismatch(
                f"masks of {self.tube.size_wh} for a clip of {self.clip.size_wh} pixels: track again"
            )
        if not self.objects:
            raise MaskError("no object to export: mark and track one first")
        for name in self.objects:
            self.tube.label_of(name)

    def __len__(self) -> int:
        return self.clip.frames

    def label_map(self, index: int) -> LabelMap:
        """The chosen objects of a frame as labels 1, 2, .. in the order of `objects`, uint8 [H, W]."""
        lookup = np.zeros(256, np.uint8)
        for label, name in enumerate(self.objects, start=1):
            lookup[self.tube.label_of(name)] = label
        relabelled: LabelMap = lookup[self.tube.label_map(index)]
        return relabelled

    def alpha(self, index: int) -> Alpha:
        """Soft alpha of a frame, float32 [H, W] in 0..1."""
        if self.matte is None:
            return self.tube.mask(index, self.objects).astype(np.float32)
        alpha = self.matte(index)
        if alpha.shape != (self.clip.size_wh[1], self.clip.size_wh[0]):
            raise MaskSizeMismatch(f"the matte of frame {index} is {alpha.shape[1]}x{alpha.shape[0]}: build it again")
        clipped: Alpha = np.clip(alpha, 0, 1).astype(np.float32, copy=False)
        return clipped

    def cutouts(self) -> Iterator[tuple[Rgb, Alpha]]:
        """Straight colour and alpha of every frame; colour is black farther than 8 px from where alpha is not zero."""
        import cv2

        kernel = np.ones((2 * _BLEED_PX + 1, 2 * _BLEED_PX + 1), np.uint8)
        for index in range(len(self)):
            alpha = self.alpha(index)
            near = cv2.dilate((alpha > 0).astype(np.uint8), kernel)
            yield self.pictures(index) * near[:, :, None], alpha


def need_suffix(destination: Path, *suffixes: str) -> None:
    """Refuse a file name with another ending; raises ContainerUnknown."""
    if destination.suffix.lower() not in suffixes:
        raise ContainerUnknown(f"{destination}: the name must end in {' or '.join(suffixes)} for this format")


def check_folder(destination: Path, ours: str) -> None:
    """Refuse a folder that holds other things than an earlier export (names that fit the pattern `ours`)."""
    if not destination.exists():
        return
    if not destination.is_dir():
        raise OutputUnwritable(f"{destination} is a file: name a folder for this format")
    for entry in sorted(destination.iterdir()):
        if not re.fullmatch(ours, entry.name):
            raise OutputUnwritable(
                f"{destination} holds other things ({entry.name}), which would be lost: name a new or an empty folder"
            )

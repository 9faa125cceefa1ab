"""The default procedure: one shot, filled chunk by chunk from long windows around the holes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tam_edit.errors import UsageError
from tam_edit.models.e2fgvi.features import FeatureStore
from tam_edit.models.e2fgvi.network import E2FGVI, MULTIPLE_HW
from tam_edit.models.e2fgvi.pictures import (
    Colours,
    Frame,
    Mask,
    checked,
    masked_colours,
    mirrored,
    round_up,
    scaled_input,
)
from tam_edit.models.e2fgvi.regions import Region, find_regions
from tam_edit.models.e2fgvi.windows import End, FillSettings, Window, weights, window, windows_of

_WHOLE = "the whole picture is masked"
_HIDDEN = (
    "most of the hole is masked in every frame that was read for it; where the camera stands still, "
    "what is put there is invented"
)
_SMALLER = "the region around the hole is larger than max_pixels and was filled at a smaller size"


Shares = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class _Painted:
    """What one window says of some frames: the colours of their masked pixels, and what a person should know."""

    colours: dict[int, Colours]
    notes: dict[int, set[str]]


class Filler:
    """Fills the holes of one shot, a chunk at a time and in any order.

    `read(index)` gives (uint8 RGB [H, W, 3], bool mask [H, W]) of a frame of the shot; `frame_count` is its length,
    or a function of a limit that gives min(length, limit), for streams. `first_frame` numbers the shot's first frame
    in warnings. A chunk's result depends on the frames of `reads` only and not on what was filled before.
    """

    def __init__(
        self,
        network: E2FGVI,
        read: Callable[[int], tuple[Frame, Mask]],
        frame_count: int | End,
        settings: FillSettings | None = None,
        *,
        first_frame: int = 0,
    ) -> None:
        self.settings = settings or FillSettings()
        self.chunk = self.settings.chunk
        #: What a person should know of the chunks filled so far, and of which frames; only ever added to.
        self.notes: list[tuple[str, list[int]]] = []
        #: The windows on which the network ran, in order: what tests ask.
        self.windows_run: list[int] = []
        self._network = network
        self._read = read
        self._first_frame = first_frame
        self._end: End = (lambda limit: min(frame_count, limit)) if isinstance(frame_count, int) else frame_count
        self._store = FeatureStore(network, self._picture, self.settings.cache_bytes)
        self._frames: OrderedDict[int, tuple[Frame, Mask]] = OrderedDict()
        self._size_hw: tuple[int, int] | None = None
        # What windows said of frames that belong to the next chunk.
        self._tails: OrderedDict[int, _Painted] = OrderedDict()

    def looks(self, start: int, stop: int) -> range:  # noqa: ARG002 - asked by name, answered for all
        """The frames whose masks `reads` looks at: none, it follows from the numbers alone."""
        return range(0)

    def reads(self, start: int, stop: int) -> tuple[int, ...]:
        """The frames that decide the result of the chunk [start, stop), in order."""
        number = self._number(start, stop)
        needed = set(range(start, stop))
        for _, seen in windows_of(number, self._end, self.settings):
            needed.update(seen.frames)
        return tuple(sorted(needed))

    def fill(self, start: int, stop: int) -> Iterator[Frame]:
        """The frames of the chunk [start, stop), which must lie on the grid; pixels outside the masks are untouched.

        A chunk without masked pixels runs nothing. Raises UsageError off the grid, and EngineError, MaskError or
        MaskSizeMismatch for frames and masks that do not fit.
        """
        number = self._number(start, stop)
        shares = {
            index: weights(index, number, self._end, self.settings)
            for index in range(start, stop)
            if self._frame(index)[1].any()
        }
        painted: dict[int, _Painted] = {}
        for n in sorted({n for parts in shares.values() for n, _ in parts}):
            painted[n] = self._painted(n, [index for index, parts in shares.items() if n in dict(parts)], stop)
        self._tell(shares, painted)
        for index in range(start, stop):
            frame, mask = self._frame(index)
            if index not in shares:
                yield frame
                continue
            blended = np.zeros((int(mask.sum()), 3), np.float32)
            for n, share in shares[index]:
                blended += np.float32(share) * painted[n].colours.pop(index)
            filled = frame.copy()
            filled[mask] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
            yield filled

    def _painted(self, number: int, wanted: list[int], stop: int) -> _Painted:
        """What window `number` says of the wanted frames of the chunk that ends at `stop`."""
        tail = self._tails.pop(number, None)
        if tail is not None and all(index in tail.colours for index in wanted):
            return tail
        seen = window(number, self._end, self.settings)
        if seen is None:
            raise UsageError(f"window {number} lies outside the shot")
        later = [index for index in seen.neighbours if index >= stop and self._frame(index)[1].any()]
        painted = self._run(number, seen, wanted + later)
        if later:
            self._tails[number] = _Painted({index: painted.colours.pop(index) for index in later}, painted.notes)
            if len(self._tails) > 2:
                self._tails.popitem(last=False)
        return painted

    @torch.inference_mode()
    def _run(self, number: int, seen: Window, wanted: list[int]) -> _Painted:
        """Run the network on one window for the wanted frames."""
        self.windows_run.append(number)
        masks = [self._frame(index)[1] for index in seen.neighbours]
        regions = find_regions(masks, seen.neighbours.start, self._network.variant, self.settings)
        colours = {index: np.zeros((int(self._frame(index)[1].sum()), 3), np.float32) for index in wanted}
        notes: dict[int, set[str]] = {index: set() for index in wanted}
        for region in regions:
            present = [index for index in wanted if _part(self._frame(index)[1], region).any()]
            if not present:
                continue
            self._look(region, seen, present, notes)
            count = len(seen.neighbours)
            keys = [(index, region.crop(index)) for index in seen.frames]
            features = self._store.features(keys)
            gathered = self._network.propagate(features[:count], self._store.flows(keys[:count]))
            filled = self._network.transform(torch.cat((gathered, features[count:])), count)
            for index in present:
                mask = self._frame(index)[1]
                # Only this region's part of the mask; all of them in the order of the whole mask.
                part = np.zeros_like(mask)
                rows = slice(region.hole.top, region.hole.bottom), slice(region.hole.left, region.hole.right)
                part[rows] = mask[rows]
                crop = region.crop(index)
                one = filled[index - seen.neighbours.start][None]
                colours[index][part[mask]] = masked_colours(
                    self._network.decode, one, part[crop.slices], crop.scaled_hw
                )
        return _Painted(colours, notes)

    def _picture(self, key: Hashable) -> Tensor:
        """The network's input for a frame and its crop: masked, scaled where needed, mirrored to fit."""
        assert isinstance(key, tuple)
        index, crop = key
        frame, mask = (part[crop.slices] for part in self._frame(index))
        size_hw = (round_up(crop.scaled_hw[0], MULTIPLE_HW[0]), round_up(crop.scaled_hw[1], MULTIPLE_HW[1]))
        return mirrored(scaled_input(frame, mask, crop.scaled_hw, self._network.device), size_hw)

    def _look(self, region: Region, seen: Window, present: Sequence[int], notes: dict[int, set[str]]) -> None:
        """Note what cannot come out well."""
        never = np.logical_and.reduce([_part(self._frame(index)[1], region) for index in seen.frames])
        for index in present:
            mask = _part(self._frame(index)[1], region)
            if 2 * int((mask & never).sum()) > int(mask.sum()):
                notes[index].add(_HIDDEN)
            crop = region.crop(index)
            if crop.scaled_hw != (crop.height, crop.width) and self._network.variant == "hq":
                notes[index].add(_SMALLER)

    def _tell(self, shares: Mapping[int, Shares], painted: Mapping[int, _Painted]) -> None:
        """Note each thing worth knowing of a chunk's frames."""
        noted: dict[str, list[int]] = {}
        for index, parts in shares.items():
            words = set().union(*(painted[n].notes[index] for n, _ in parts))
            if self._frame(index)[1].all():
                words = {_WHOLE}
            for word in words:
                noted.setdefault(word, []).append(self._first_frame + index)
        self.notes += sorted(noted.items())

    def _frame(self, index: int) -> tuple[Frame, Mask]:
        """A frame and its mask, checked; the last ones are kept."""
        held = self._frames.get(index)
        if held is None:
            frame, mask = self._read(index)
            held = checked(np.asarray(frame), np.asarray(mask), self._first_frame + index, self._size_hw)
            self._size_hw = (held[0].shape[0], held[0].shape[1])
            self._frames[index] = held
            most = max(self.settings.cache_bytes // (held[0].nbytes + held[1].nbytes), 1)
            while len(self._frames) > most:
                self._frames.popitem(last=False)
        else:
            self._frames.move_to_end(index)
        return held

    def _number(self, start: int, stop: int) -> int:
        if start < 0 or start % self.chunk or stop != self._end(start + self.chunk) or start >= stop:
            raise UsageError(f"frames {start}:{stop} are no chunk: chunks begin at multiples of {self.chunk}")
        return start // self.chunk


def _part(mask: Mask, region: Region) -> Mask:
    return mask[region.hole.top : region.hole.bottom, region.hole.left : region.hole.right]


def told(words: str, frames: Sequence[int]) -> str:
    """A note as a sentence: "frames 3-5, 9: ..."."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    spans = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"frames {spans}: {words}"

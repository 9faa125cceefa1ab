"""The memory bank: frames that working memory holds whole, and long-term elements that stand for many.

All elements lie in rows of preallocated tables: long-term elements first, then whole frames. One table says how an
element is found, and each object has its own tables of what is read there. Objects that entered at different times
differ only in which rows are valid for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tam_edit.models.xmem.reading import look_up, pack, similarity
from tam_edit.models.xmem.settings import MemorySettings

# Upstream starts the count of reads lived through here, so that usage can be divided by it at once.
_NEWBORN = 1e-7


@dataclass
class FrameInMemory:
    """One frame that is kept whole: how its elements are found again when they are consolidated."""

    key: Tensor  # [n, 64]
    shrinkage: Tensor  # [n]
    selection: Tensor  # [n, 64]
    members: set[int]  # the labels that this frame is valid for
    permanent: bool = False


@dataclass
class Readout:
    """What memory answers to the pixels of a frame."""

    value: Tensor  # [K, 512, n], or [K, 0, n] if memory holds nothing
    own: Tensor  # float32 [K, n]: the share of the affinity that fell on the object itself


@dataclass
class ObjectMemory:
    """What is read for one object: its value at each row, and how much of the row was the object."""

    value: Tensor  # [rows, 512]
    plane: Tensor  # [rows]
    valid: NDArray[np.bool_] = field(repr=False)  # [rows]


class MemoryBank:
    """Working and long-term memory of XMem (sections 3.3 to 3.5), for objects that may enter at any time.

    Differs from the authors' program only where that one fails: each element keeps the objects it is valid for.
    """

    def __init__(self, settings: MemorySettings, elements: int, device: torch.device, dtype: torch.dtype) -> None:
        self.settings = settings
        self.elements = elements  # of one frame
        self.device = device
        self.dtype = dtype
        self.long = 0
        self.frames: list[FrameInMemory] = []
        self.objects: dict[int, ObjectMemory] = {}
        self.founder: int | None = None
        self._start = settings.max_long_term_elements if settings.enable_long_term else 0
        whole = settings.max_mid_term_frames if settings.enable_long_term else 2
        self._capacity = self._start + whole * elements
        self.packed = self._table(2 * 64 + 1)
        self.usage = self._table()
        self.life = self._table()

    # -- writing ---------------------------------------------------------------------------------------------------

    def add(
        self,
        key: Tensor,
        shrinkage: Tensor,
        selection: Tensor,
        values: dict[int, Tensor],
        planes: dict[int, Tensor],
        *,
        permanent: bool = False,
    ) -> None:
        """Take in one frame: values [512, n] and planes [n] by label; then consolidate what is full."""
        for label in values:
            if label not in self.objects:
                self.enter(label)
        if self.founder is None and values:
            self.founder = min(values)
        self.make_room(len(self.frames) + 1)
        rows = self.rows_of(len(self.frames))
        self.packed[rows] = pack(key, shrinkage)
        self.usage[rows] = 0
        self.life[rows] = _NEWBORN
        for label, value in values.items():
            memory = self.objects[label]
            memory.value[rows] = value.T.to(self.dtype)
            memory.plane[rows] = planes[label]
        for label, memory in self.objects.items():
            memory.valid[rows] = label in values
        self.frames.append(FrameInMemory(key, shrinkage, selection, set(values), permanent))
        if self.settings.enable_long_term and len(self._frames_of(self.founder)) >= self.settings.max_mid_term_frames:
            self._consolidate()

    def enter(self, label: int) -> None:
        self.objects[label] = ObjectMemory(
            self._table(512, dtype=self.dtype), self._table(), np.zeros(self._capacity, dtype=bool)
        )

    def _table(self, *width: int, dtype: torch.dtype = torch.float32) -> Tensor:
        # Not cleared: the system hands out pages when they are first written, so room that is not used costs nothing.
        return torch.empty((self._capacity, *width), dtype=dtype, device=self.device)

    def make_room(self, frames: int) -> None:
        needed = self._start + frames * self.elements
        if needed <= self._capacity:
            return
        used = self._used()
        self._capacity = max(needed, self._start + (frames + frames // 2) * self.elements)

        def moved(table: Tensor) -> Tensor:
            larger = self._table(*table.shape[1:], dtype=table.dtype)
            for rows in used:
                larger[rows] = table[rows]
            return larger

        self.packed, self.usage, self.life = moved(self.packed), moved(self.usage), moved(self.life)
        for memory in self.objects.values():
            memory.value, memory.plane = moved(memory.value), moved(memory.plane)
            memory.valid = np.concatenate([memory.valid, np.zeros(self._capacity - len(memory.valid), dtype=bool)])

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, key: Tensor, selection: Tensor, labels: Sequence[int]) -> Readout:
        """Look up the pixels of a frame: key and selection [n, 64]; answers in the order of `labels`."""
        count = len(key)
        value = torch.zeros((len(labels), count, 512), dtype=self.dtype, device=self.device)
        own = torch.zeros((len(labels), count), device=self.device)
        rows = self.occupied()
        for first, members in self._classes(labels):
            valid = self.objects[first].valid[rows]
            if not valid.any():
                continue
            found = look_up(self.packed, self._used(), valid, key, selection, self.settings.top_k)
            if self.founder in members and self.settings.enable_long_term:
                self._count_usage(found.rows, found.weights)
            weights = found.weights.to(self.dtype)
            for label in members:
                memory, place = self.objects[label], labels.index(label)
                value[place] = F.embedding_bag(found.rows, memory.value, per_sample_weights=weights, mode="sum")
                own[place] = (memory.plane[found.rows] * found.weights).sum(1)
        return Readout(value.transpose(1, 2), own)

    def _classes(self, labels: Sequence[int]) -> Iterable[tuple[int, list[int]]]:
        """Labels that read the same rows, together."""
        rows = self.occupied()
        classes: dict[bytes, list[int]] = {}
        for label in labels:
            if label in self.objects:
                classes.setdefault(np.packbits(self.objects[label].valid[rows]).tobytes(), []).append(label)
        return [(members[0], members) for members in classes.values()]

    def _count_usage(self, rows: Tensor, weights: Tensor) -> None:
        self.usage.index_add_(0, rows.flatten(), weights.flatten())
        for used in self._used():
            self.life[used] += 1

    # -- consolidation ---------------------------------------------------------------------------------------------

    def _consolidate(self) -> None:
        """Turn the middle of working memory into prototypes (XMem, section 3.4: selection and potentiation)."""
        middle = self._middle_of(self.founder)
        rows = torch.cat([torch.arange(s.start, s.stop) for s in map(self.rows_of, middle)]).to(self.device)
        count = min(self.settings.num_prototypes, len(rows))
        self._forget(self.settings.max_long_term_elements - self.settings.num_prototypes)
        usage = self.usage[rows] / self.life[rows]
        chosen = torch.topk(usage, count).indices
        frames_chosen = np.asarray(middle)[(chosen // self.elements).cpu().numpy()]
        key, shrinkage, selection = self._gathered(middle)
        prototype, selection = key[chosen], selection[chosen]

        new = slice(self.long, self.long + count)
        potentiation = similarity(pack(key, shrinkage), prototype, selection).softmax(1)
        self.packed[new] = pack(prototype, potentiation @ shrinkage)
        self.usage[new] = 0
        self.life[new] = _NEWBORN
        leaving = {}
        for label, memory in self.objects.items():
            middle_of = self._leaving(label, frames_chosen)
            leaving[label] = middle_of
            memory.valid[new] = np.isin(frames_chosen, middle_of)
            if not middle_of:
                continue
            if middle_of == middle:
                weights = potentiation
            else:
                key, shrinkage, _ = self._gathered(middle_of)
                weights = similarity(pack(key, shrinkage), prototype, selection).softmax(1)
            candidates = torch.cat([memory.value[self.rows_of(index)] for index in middle_of])
            memory.value[new] = (weights @ candidates.float()).to(self.dtype)
            planes = torch.cat([memory.plane[self.rows_of(index)] for index in middle_of])
            memory.plane[new] = weights @ planes
        self.long += count
        for label, indices in leaving.items():
            for index in indices:
                self.frames[index].members.discard(label)
        self._close_gaps()

    def _frames_of(self, label: int | None) -> list[int]:
        """Frames of working memory that hold this object, oldest first; permanent ones do not count."""
        return [i for i, frame in enumerate(self.frames) if label in frame.members and not frame.permanent]

    def _middle_of(self, label: int | None) -> list[int]:
        frames = self._frames_of(label)
        return frames[1 : len(frames) - (self.settings.min_mid_term_frames - 1)]

    def _leaving(self, label: int, frames_chosen: NDArray[np.int64]) -> list[int]:
        """Frames that this object gives up for prototypes: none while it is young or no prototype is valid for it."""
        middle, frames = self._middle_of(label), self._frames_of(label)
        if frames == self._frames_of(self.founder):
            return middle
        if len(frames) <= self.settings.min_mid_term_frames + 1:
            return []
        if len(frames) < self.settings.max_mid_term_frames and not np.isin(frames_chosen, middle).any():
            return []
        return middle

    def _gathered(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        frames = [self.frames[index] for index in indices]
        return (
            torch.cat([frame.key for frame in frames]),
            torch.cat([frame.shrinkage for frame in frames]),
            torch.cat([frame.selection for frame in frames]),
        )

    def _forget(self, room_for: int) -> None:
        """Drop long-term elements, least used first (oldest first where that is not counted), until so many remain."""
        surplus = self.long - room_for
        if surplus <= 0:
            return
        if self.settings.enable_long_term_count_usage:
            usage = self.usage[: self.long] / self.life[: self.long]
            kept = torch.sort(usage, stable=True).indices[surplus:].sort().values
        else:
            kept = torch.arange(surplus, self.long, device=self.device)
        for table in (self.packed, self.usage, self.life, *self._object_tables()):
            table[:room_for] = table[kept]
        for memory in self.objects.values():
            memory.valid[:room_for] = memory.valid[kept.cpu().numpy()]
        self.long = room_for

    def _close_gaps(self) -> None:
        """Take out the frames that no object needs, and move the others up."""
        kept = [index for index, frame in enumerate(self.frames) if frame.members]
        for place, index in enumerate(kept):
            if place == index:
                continue
            for table in (self.packed, self.usage, self.life, *self._object_tables()):
                table[self.rows_of(place)] = table[self.rows_of(index)]
        self.frames = [self.frames[index] for index in kept]
        for label, memory in self.objects.items():
            memory.valid[self._start :] = False
            for index, frame in enumerate(self.frames):
                memory.valid[self.rows_of(index)] = label in frame.members

    # -- rows ------------------------------------------------------------------------------------------------------

    def _object_tables(self) -> list[Tensor]:
        return [table for memory in self.objects.values() for table in (memory.value, memory.plane)]

    def rows_of(self, frame: int) -> slice:
        start = self._start + frame * self.elements
        return slice(start, start + self.elements)

    def _used(self) -> list[slice]:
        whole = slice(self._start, self._start + len(self.frames) * self.elements)
        return [part for part in (slice(0, self.long), whole) if part.stop > part.start]

    def occupied(self) -> NDArray[np.int64]:
        return np.concatenate([np.arange(part.start, part.stop) for part in self._used()] or [np.arange(0)])

"""The tracker: frame by frame, what is segmented, what is remembered, and when the sensory memory is renewed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tam_edit.errors import EngineError, UsageError
from tam_edit.models.xmem.bank import MemoryBank
from tam_edit.models.xmem.focus import decode_near, seen_in
from tam_edit.models.xmem.frames import Geometry, aggregate, checked_frame, checked_masks
from tam_edit.models.xmem.network import HIDDEN, STRIDE, Features, Network
from tam_edit.models.xmem.settings import MemorySettings
from tam_edit.models.xmem.snapshot import Arrays, bank_arrays, bank_from, check_conditions, conditions, fetch, store
from tam_edit.models.xmem.trust import XMemTrust, assess, probe_points


@dataclass(frozen=True)
class _Given:
    """The masks that a step was given, at source size and as the network sees them: [K', H, W]."""

    labels: list[int]
    source: Tensor
    inner: Tensor


@dataclass
class _Last:
    """What the last step found, for trust and probes."""

    probability: Tensor  # [1 + K, H, W] as the network sees it
    own: Tensor | None  # [K, h, w], the affinity that fell on each object; None if the frame was not segmented
    labels: list[int]  # all labels of `probability`
    segmented: list[int]  # the labels of `own`
    given: list[int]


class Tracker:
    """Propagates the masks of any number of objects through a clip, one frame at a time (XMem, ECCV 2022).

    Feed the frames in order, forward or backward in time. short_side: frames are scaled down to it for the network
    (None: as given); masks come back at source size. fast: decode only around where an object can be.
    """

    def __init__(
        self,
        network: Network,
        settings: MemorySettings | None = None,
        *,
        short_side: int | None = 480,
        fast: bool = False,
    ) -> None:
        whole = isinstance(short_side, int) and not isinstance(short_side, bool)
        if short_side is not None and (not whole or short_side < 1):
            raise UsageError(f"short_side is {short_side!r}: give pixels, or None for the frame's own size")
        self.network = network
        self.settings = settings or MemorySettings()
        self.short_side = short_side
        self.fast = fast
        self.labels: list[int] = []  # ascending
        self._geometry: Geometry | None = None
        self._bank: MemoryBank | None = None
        self._hidden: Tensor | None = None  # float32 [K, 64, h, w], in the order of `labels`
        self._time = 0
        self._last_memory = 0
        self._last_deep = -self.settings.deep_update_every
        self._last: _Last | None = None
        self._seen: Tensor | None = None  # [K, h, w], where objects were; kept in the fast mode only

    @torch.inference_mode()
    def step(
        self, frame: NDArray[np.uint8], masks: Mapping[int, Any] | None = None, *, last: bool = False, cut: bool = False
    ) -> NDArray[np.float32]:
        """Probabilities of one frame: float32 [1 + K, H, W], background first, then `labels` in ascending order.

        frame: uint8 RGB [H, W, 3]. masks: bool [H, W] for the labels they speak for, known or new; an empty one says
        that the object is absent. last: nothing will follow, so nothing is remembered. cut: the frame begins a new
        shot; memory is kept, the sensory memory is not.
        Raises UsageError, MaskError, MaskSizeMismatch, before anything is changed.
        """
        frame = checked_frame(frame, self._geometry.source_hw if self._geometry else None)
        planes = checked_masks(masks, frame.shape[:2])
        geometry = self._geometry or Geometry((frame.shape[0], frame.shape[1]), self.short_side)
        labels = sorted({*self.labels, *planes})
        if not labels:
            self._time += 1
            return np.ones((1, *frame.shape[:2]), dtype=np.float32)
        bank = self._bank or self._new_bank(geometry)
        given = self._given(planes, geometry)
        hidden = None if cut else self._hidden

        segmented = set(labels) != set(given.labels)
        due = bool(given.labels) or self._time - self._last_memory >= self.settings.mem_every
        remembered = (due and not last) or not bank.frames
        every = self.settings.deep_update_every
        deep = remembered and (every < 0 or self._time - self._last_deep >= every) and not last
        image = geometry.padded(self.network.normalised(geometry.inward(self._on_device(frame))))
        features = self.network.encode_frame(image, len(labels)) if segmented or remembered else None

        found: Tensor | None = None
        own: Tensor | None = None
        if segmented and features is not None:
            update = not last and (every > 0 or not deep)
            found, own, hidden = self._segment(features, bank, hidden, update)
        probability = self._joined(found, given, labels)
        hidden = self._grown(hidden, labels, geometry)
        if remembered and features is not None:
            objects = probability[1:]
            value, renewed = self.network.encode_value(image, features, objects, hidden if deep else None)
            hidden = hidden if renewed is None else renewed
            self._remember(bank, features, value, objects, labels)

        self._last = _Last(probability, own, labels, list(self.labels) if segmented else [], given.labels)
        self._geometry, self._bank, self._hidden, self.labels = geometry, bank, hidden, labels
        self._seen = seen_in(probability[1:]) if self.fast else None
        self._last_memory = self._time if remembered else self._last_memory
        self._last_deep = self._time if deep else self._last_deep
        self._time += 1
        return self._at_source(probability, given, labels, geometry)

    @torch.inference_mode()
    def memorise(self, frame: NDArray[np.uint8], masks: Mapping[int, Any]) -> None:
        """Keep a frame in memory for good, for the labels that the masks speak for; time does not move on.

        For masks that are known to be right, of any frame of the clip: far keyframes, masks that SAM refined.
        Such frames are never consolidated or dropped: each costs memory and a little time on every later frame.
        Raises as `step` does.
        """
        frame = checked_frame(frame, self._geometry.source_hw if self._geometry else None)
        planes = checked_masks(masks, frame.shape[:2])
        if not planes:
            return
        geometry = self._geometry or Geometry((frame.shape[0], frame.shape[1]), self.short_side)
        labels = sorted({*self.labels, *planes})
        bank = self._bank or self._new_bank(geometry)
        given = self._given(planes, geometry)
        image = geometry.padded(self.network.normalised(geometry.inward(self._on_device(frame))))
        features = self.network.encode_frame(image, len(labels))
        objects = aggregate(given.inner)[1:]
        value, _ = self.network.encode_value(image, features, objects, None)
        self._remember(bank, features, value, objects, given.labels, permanent=True)
        if self._seen is not None and labels != self.labels:
            seen = self._seen.new_zeros((len(labels), *geometry.grid_hw))
            seen[[labels.index(label) for label in self.labels]] = self._seen
            self._seen = seen
        self._hidden = self._grown(self._hidden, labels, geometry)
        self._geometry, self._bank, self.labels = geometry, bank, labels

    def trust(self) -> dict[int, XMemTrust]:
        """What the last step knows of its own masks, by label; a mask that was given is trusted wholly."""
        last, geometry = self._looked_back()
        probability = geometry.cropped(last.probability)
        return {
            label: XMemTrust(1.0, 1.0, 1.0)
            if label in last.given
            else assess(probability, geometry.cropped(self._own(label)), 1 + last.labels.index(label))
            for label in last.labels
        }

    def affinity(self, label: int) -> NDArray[np.float32]:
        """How much of each pixel's affinity fell on memory of this object in the last step: float32 [H, W], 0..1."""
        _, geometry = self._looked_back(label)
        result: NDArray[np.float32] = geometry.outward(self._own(label)[None])[0].cpu().numpy()
        return result

    def probes(self, label: int, count: int = 3) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Up to `count` points inside the object and as many just outside, where the affinity is surest.

        Two int64 arrays [n, 2] of (x, y) at source size, surest first; empty for an absent object (TAM, step 3).
        """
        last, geometry = self._looked_back(label)
        own = geometry.cropped(self._own(label))
        found = probe_points(geometry.cropped(last.probability), own, 1 + last.labels.index(label), count)
        inner, source = geometry.inner_hw[::-1], geometry.source_hw[::-1]
        inside, outside = (
            np.minimum(((points + 0.5) * np.divide(source, inner)).astype(np.int64), np.subtract(source, 1))
            for points in found
        )
        return inside, outside

    def snapshot(self) -> Arrays:
        """The whole state between two steps, as a flat mapping of arrays; bounded as memory itself is."""
        arrays: Arrays = {
            "conditions": self._conditions(),
            "labels": np.array(self.labels, dtype=np.int64),
            "times": np.array([self._time, self._last_memory, self._last_deep], dtype=np.int64),
            "source_hw": np.array(self._geometry.source_hw if self._geometry else (0, 0), dtype=np.int64),
        }
        for name, tensor in (("hidden", self._hidden), ("seen", self._seen)):
            if tensor is not None:
                store(arrays, name, tensor)
        if self._bank is not None:
            arrays.update(bank_arrays(self._bank))
        return arrays

    @torch.inference_mode()
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a snapshot, bit for bit on a CPU; raises EngineError if it was taken under other conditions."""
        check_conditions(state, self._conditions())
        device = self.network.device
        try:
            source_hw = tuple(int(n) for n in state["source_hw"])
            time, last_memory, last_deep = (int(n) for n in state["times"])
            labels = [int(n) for n in state["labels"]]
            hidden, seen = (fetch(state, name, device) if name in state else None for name in ("hidden", "seen"))
            bank = bank_from(state, self.settings, device) if "bank.long" in state else None
        except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
            raise EngineError(f"the snapshot is damaged ({error}): take it again, or start from a keyframe") from error
        self._geometry = Geometry((source_hw[0], source_hw[1]), self.short_side) if any(source_hw) else None
        self._time, self._last_memory, self._last_deep = time, last_memory, last_deep
        self.labels, self._hidden, self._bank, self._seen, self._last = labels, hidden, bank, seen, None

    def _conditions(self) -> NDArray[Any]:
        return conditions(
            settings=asdict(self.settings), short_side=self.short_side, fast=self.fast, precision=self.network.precision
        )

    def _looked_back(self, label: int | None = None) -> tuple[_Last, Geometry]:
        if self._last is None or self._geometry is None:
            raise UsageError("nothing has been tracked yet: call step() first")
        if label is not None and label not in self._last.labels:
            raise UsageError(f"label {label!r} is not known: the labels of the last step are {self._last.labels}")
        return self._last, self._geometry

    def _own(self, label: int) -> Tensor:
        """[H, W] as the network sees it; for a mask that was only given, the mask itself."""
        last, _ = self._looked_back(label)
        if last.own is None or label not in last.segmented:
            return last.probability[1 + last.labels.index(label)]
        plane = last.own[last.segmented.index(label)]
        size = last.probability.shape[-2:]
        return F.interpolate(plane[None, None], size, mode="bilinear", align_corners=False)[0, 0]

    def _segment(
        self, features: Features, bank: MemoryBank, hidden: Tensor | None, update: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Probabilities [1 + K, H, W] of the labels known so far, their own affinity, and their hidden state."""
        grid = features.f16.shape[-2:]
        read = bank.read(features.key, features.selection, self.labels)
        if hidden is None:
            hidden = torch.zeros((len(self.labels), HIDDEN, *grid), device=self.network.device)
        value, own = read.value.reshape(*read.value.shape[:2], *grid), read.own.reshape(-1, *grid)
        if self.fast and self._seen is not None:
            logits, updated = decode_near(self.network, features, value, hidden, own, self._seen, update)
        else:
            logits, updated = self.network.decode(features, value, hidden, update)
        return aggregate(torch.sigmoid(logits)), own, hidden if updated is None else updated

    def _joined(self, found: Tensor | None, given: _Given, labels: list[int]) -> Tensor:
        """What was found and what was given, as probabilities of all labels."""
        if not given.labels and found is not None:
            return found
        return self._overruled(found, given.inner, given.labels, labels)

    def _overruled(self, found: Tensor | None, masks: Tensor, spoken: list[int], labels: list[int]) -> Tensor:
        """Given masks [K', H, W] take their pixels; labels they do not speak for keep what was found elsewhere."""
        planes = masks.new_zeros((len(labels), *masks.shape[1:]))
        for label, mask in zip(spoken, masks, strict=True):
            planes[labels.index(label)] = mask
        if found is not None:
            taken = (masks > 0.5).any(0)
            for label, plane in zip(self.labels, found[1:], strict=True):
                if label not in spoken:
                    planes[labels.index(label)] = plane.masked_fill(taken, 0)
        return aggregate(planes)

    def _grown(self, hidden: Tensor | None, labels: list[int], geometry: Geometry) -> Tensor:
        """The hidden state in the order of `labels`, zero for new ones."""
        if hidden is not None and labels == self.labels:
            return hidden
        grown = torch.zeros((len(labels), HIDDEN, *geometry.grid_hw), device=self.network.device)
        if hidden is not None:
            grown[[labels.index(label) for label in self.labels]] = hidden
        return grown

    def _remember(
        self,
        bank: MemoryBank,
        features: Features,
        value: Tensor,
        objects: Tensor,
        labels: list[int],
        permanent: bool = False,
    ) -> None:
        planes = F.avg_pool2d(objects[None], STRIDE)[0].flatten(1)
        bank.add(
            features.key,
            features.shrinkage,
            features.selection,
            dict(zip(labels, value.flatten(2), strict=True)),
            dict(zip(labels, planes, strict=True)),
            permanent=permanent,
        )

    def _at_source(
        self, probability: Tensor, given: _Given, labels: list[int], geometry: Geometry
    ) -> NDArray[np.float32]:
        """At source size; where the network saw less than that, given masks keep their own edges."""
        result = geometry.outward(probability)
        if given.labels and geometry.scaled:
            found = result[[0, *(1 + labels.index(label) for label in self.labels)]]
            result = self._overruled(found, given.source, given.labels, labels)
        array: NDArray[np.float32] = result.float().cpu().numpy()
        return np.ascontiguousarray(array)

    def _given(self, planes: dict[int, NDArray[np.float32]], geometry: Geometry) -> _Given:
        if not planes:
            nothing = torch.zeros((0, *geometry.source_hw), device=self.network.device)
            return _Given([], nothing, nothing)
        source = torch.from_numpy(np.stack(list(planes.values()))).to(self.network.device)
        inner = torch.stack([geometry.mask_inward(mask) for mask in source])
        return _Given(list(planes), source, geometry.padded(inner))

    def _new_bank(self, geometry: Geometry) -> MemoryBank:
        rows, columns = geometry.grid_hw
        return MemoryBank(self.settings, rows * columns, self.network.device, self.network.dtype)

    def _on_device(self, frame: NDArray[np.uint8]) -> Tensor:
        # A copy: torch warns of arrays that it could not write to.
        return torch.tensor(np.ascontiguousarray(frame), device=self.network.device).permute(2, 0, 1).float()

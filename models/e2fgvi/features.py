"""What a clip's windows share: encoder features of each frame and flows of each pair, computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from tam_edit.models.e2fgvi.network import E2FGVI, Flows

#: Gives the network's input [1, 3, H, W] under a key: a frame number, or a frame and its crop.
Picture = Callable[[Hashable], Tensor]


class FeatureStore:
    """Encoder features and flows by key, least recently used first out. What is kept never changes a result."""

    def __init__(self, network: E2FGVI, picture: Picture, budget_bytes: int) -> None:
        self._network = network
        self._picture = picture
        self._budget = budget_bytes
        self._held: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()
        self._bytes = 0
        #: How often each part of the network ran: what tests and benchmarks ask.
        self.encoded = 0
        self.flowed = 0

    def features(self, keys: Sequence[Hashable]) -> Tensor:
        """Encoder features [len(keys), 128, h, w]."""
        return torch.cat([self._seen(key)[0] for key in keys])

    def flows(self, keys: Sequence[Hashable]) -> Flows:
        """Flows between neighbours in the order given: (forward, backward), [len(keys) - 1, 2, h, w] each."""
        pairs = [self._flow(a, b) for a, b in pairwise(keys)]
        return self._network.join_flows(pairs, self._seen(keys[0])[0])

    def _seen(self, key: Hashable) -> tuple[Tensor, ...]:
        """Features and shrunk picture of one frame."""
        held = self._get(key)
        if held is None:
            picture = self._picture(key)
            held = (self._network.encode(picture), self._network.shrink(picture))
            self.encoded += 1
            self._put(key, held)
        return held

    def _flow(self, first: Hashable, second: Hashable) -> Flows:
        key = ("flow", first, second)
        held = self._get(key)
        if held is None:
            # Read in order: with a small budget the second must not push the first out before it is used.
            small = [self._seen(first)[1], self._seen(second)[1]]
            held = self._network.flow_pair(small[0], small[1])
            self.flowed += 1
            self._put(key, held)
        return held[0], held[1]

    def _get(self, key: Hashable) -> tuple[Tensor, ...] | None:
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
        return held

    def _put(self, key: Hashable, held: tuple[Tensor, ...]) -> None:
        self._held[key] = held
        self._bytes += _size(held)
        while self._bytes > self._budget and len(self._held) > 1:
            self._bytes -= _size(self._held.popitem(last=False)[1])


def _size(held: tuple[Tensor, ...]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in held)

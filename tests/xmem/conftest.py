"""One network for all tests of XMem, and one thread: at these sizes a second one only waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tam_edit.models.xmem import Network, load
from tests.xmem.reference import State, random_state


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def state() -> State:
    return random_state()


@pytest.fixture(scope="package")
def network(state: State) -> Network:
    return load(state)

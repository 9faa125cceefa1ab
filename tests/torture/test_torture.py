"""All of it (marked torture: `make torture`), and a little of each topic by default."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.topics import TOPICS, count, materials, run, scale_given
from tests.torture.verdict import in_words

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: forks, limits and mounts")

# By default: which attempts of which topic. Small, and of each kind of ending at least one.
SMOKE = {
    "videos": range(4),
    "scripts": range(4),
    "jobs": range(2),
    "names": (1, 60),
    "rights": range(2),
    "disk": range(1),
    "quota": range(1),
    "clock": range(1),
    "memory": range(1),
    "kills": range(1),
    "signals": range(1),
    "cache": range(2),
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with materials(0) as place:
        yield place


def told(name: str, folder: Path, numbers: list[int]) -> None:
    row = run(name, folder, numbers, seed=0)
    print(row.details())
    assert not row.broken, in_words(row.broken)
    assert len(row.verdicts) == len(numbers)
    if all(verdict.kind == "skipped" for verdict in row.verdicts):
        pytest.skip(row.verdicts[0].words)


@pytest.mark.torture
@pytest.mark.parametrize("name", TOPICS)
def test_all_of_it(name: str, folder: Path) -> None:
    told(name, folder, list(range(count(TOPICS[name], scale_given()))))


@pytest.mark.parametrize("name", SMOKE)
def test_a_little_of_it(name: str, folder: Path, request: pytest.FixtureRequest) -> None:
    place = folder / "smoke"  # the numbers are those of the full run, whose folders may be there
    if not place.exists():
        place.mkdir(mode=0o755)
        (place / "material-0").symlink_to(folder / "material-0")
    told(name, place, list(SMOKE[name]))

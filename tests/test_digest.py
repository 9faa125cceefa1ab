"""Digests name values exactly: equal values give equal names everywhere, and nothing unlike gives the same."""

from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tam_edit.digest import digest_bytes, digest_of

VALUE = (
    '("stage", 3, 2.5, None, True, b"x", {"b": [1, 2], "a": Fraction(1, 3)}, np.arange(6, dtype="<i4").reshape(2, 3))'
)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    size_px: int = 3
    name: str = "a"


def test_the_digest_is_the_same_in_every_process() -> None:
    here = digest_of(eval(VALUE))
    names = "import numpy as np\nfrom fractions import Fraction\nfrom tam_edit.digest import digest_of\n"
    code = f"{names}print(digest_of({VALUE}))"
    for seed in ("0", "4242"):
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed})
        assert result.stdout.strip() == here


def test_digests_of_earlier_versions_stay_valid() -> None:
    # Known answers: where one changes, every cache on every disk is worth nothing.
    assert digest_bytes(b"") == "cae66941d9efbd404e4d88758ea67670"
    assert digest_of(("a", 1)) == KNOWN["tuple"]
    assert digest_of({"a": 1.5, "b": None}) == KNOWN["mapping"]
    assert digest_of(np.arange(3, dtype="<u2")) == KNOWN["array"]
    assert digest_of(Fraction(30000, 1001)) == KNOWN["fraction"]


KNOWN = {
    "tuple": "35db00bc918652f5a67cb89d5ece3680",
    "mapping": "7a01310daa2f006243c106c3ce23a385",
    "array": "61c855c4a55ce3e496a15fd3491ab814",
    "fraction": "6ed4f6d5cac9a2b76495a475c71c6d8b",
}

UNLIKE: list[tuple[Any, Any]] = [
    (("ab", "c"), ("a", "bc")),
    (("a", "b"), ("ab",)),
    (("a", ("b",)), (("a", "b"),)),
    ((), None),
    ((), ((),)),
    ((), {}),
    ("", b""),
    ("", ()),
    (1, True),
    (0, False),
    (1, 1.0),
    (1, "1"),
    (1, Fraction(1)),
    (0.5, Fraction(1, 2)),
    (None, "None"),
    ("a", b"a"),
    (Colour.RED, Colour.BLUE),
    (Colour.RED, "RED"),
    (Level.LOW, 1),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, ("a", 1)),
    ({1: "a"}, {"1": "a"}),
    ({"a": {}}, {"a": None}),
    (Settings(), Settings(4)),
    (Settings(), {"size_px": 3, "name": "a"}),
    (np.zeros(4, np.uint8), np.zeros(4, np.int8)),
    (np.zeros(4, np.uint8), np.zeros((2, 2), np.uint8)),
    (np.zeros(4, np.uint8), np.zeros(1, np.uint32)),
    (np.zeros(4, np.uint8), bytes(4)),
    (np.array(1), np.array([1])),
    (np.array([1]), [1]),
    (np.arange(4).reshape(2, 2), np.arange(4).reshape(2, 2).T),
    (1e-320, 0.0),
    (0.1, 0.1 + 1e-17 + 2e-17),
]


@pytest.mark.parametrize(("one", "other"), UNLIKE, ids=str)
def test_unlike_values_have_unlike_digests(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)
    assert digest_of((one, other)) != digest_of((other, one))
    assert digest_of(one) == digest_of(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ((1, 2), [1, 2]),
        (Settings(), Settings(3, "a")),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.arange(12).reshape(3, 4)[:, ::2], np.arange(12).reshape(3, 4)[:, ::2].copy()),
        (np.asfortranarray(np.arange(12).reshape(3, 4)), np.arange(12).reshape(3, 4)),
    ],
    ids=str,
)
def test_the_same_value_in_another_dress_has_the_same_digest(one: Any, other: Any) -> None:
    assert digest_of(one) == digest_of(other)


def test_a_new_field_or_another_class_changes_the_digest() -> None:
    grown = dataclasses.make_dataclass(
        "Settings", [("size_px", int, 3), ("name", str, "a"), ("new", int, 0)], frozen=True
    )
    same = dataclasses.make_dataclass("Settings", [("size_px", int, 3), ("name", str, "a")], frozen=True)
    renamed = dataclasses.make_dataclass("Other", [("size_px", int, 3), ("name", str, "a")], frozen=True)
    assert digest_of(same()) == digest_of(Settings())
    assert len({digest_of(kind()) for kind in (Settings, grown, renamed)}) == 3


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset(),
        object(),
        Path("a"),
        1j,
        Settings,
        len,
        iter(()),
        bytearray(b"a"),
        np.array([object()]),
        np.longdouble(1),
        np.datetime64("2020-01-01"),
    ],
    ids=repr,
)
def test_what_cannot_be_named_exactly_is_refused(value: Any) -> None:
    for held in (value, [value], {"a": value}):
        with pytest.raises(TypeError, match="cannot be part of a key"):
            digest_of(held)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(plain, plain)
def test_two_values_share_a_digest_only_if_they_are_written_alike(one: Any, other: Any) -> None:
    def canonical(value: Any) -> str:
        if isinstance(value, dict):
            return f"{{{','.join(sorted(f'{name!r}:{canonical(inner)}' for name, inner in value.items()))}}}"
        return f"[{','.join(map(canonical, value))}]" if isinstance(value, list) else repr(value)

    assert (digest_of(one) == digest_of(other)) == (canonical(one) == canonical(other))

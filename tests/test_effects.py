"""Effects as values and as they stand in edit.json: there and back, every mistake named, and a schema that agrees."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tam_edit.effects import (
    Alter,
    Blurred,
    Choice,
    Effect,
    EffectMistake,
    Look,
    Pictured,
    Pixelated,
    Recolour,
    Remove,
    Replace,
    exact,
    located,
    renamed,
    settled,
    without,
)
from tam_edit.errors import UsageError
from tam_edit.script import EditScript, Prompt, ScriptObject, ScriptSource
from tests.test_script import ORIGIN, at, check_mistake, parse, validator

NAMES = ("dog", "cat", "bird")
GOOD: dict[str, Any] = {
    "format": "tam-edit",
    "version": 1,
    "source": {"path": "../clip.mp4", "digest": "ab12"},
    "objects": [{"name": name, "prompts": [{"frame": 0, "points": [[1, 2]]}]} for name in NAMES],
    "settings": {},
    "effects": [
        {"do": "remove", "objects": ["dog"]},
        {
            "do": "replace",
            "background": "beach.mp4",
            "fit": "tile",
            "scale": 1.5,
            "offset_px": [10, -4.5],
            "at_end": "hold",
            "start_s": 1.5,
            "stop_s": "7/3",
            "speed": "24000/1001",
            "match_colour": "foreground",
            "grain": "auto",
            "follow": "camera",
        },
        {"do": "alter", "objects": ["cat"], "recolour": "#C02020"},
        {"do": "alter", "objects": ["cat", "bird"], "blur": "auto"},
        {"do": "alter", "blur": 4.5},
        {"do": "alter", "objects": ["dog"], "invert": True, "pixelate": 6},
        {"do": "alter", "objects": ["bird"], "picture": "smile.png"},
    ],
}

choices = st.builds(
    Choice, st.none() | st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple), st.booleans()
)
times = st.fractions(0, 1000, max_denominator=1001)
looks = st.builds(
    Look,
    fit=st.sampled_from(["fill", "fit", "stretch", "tile"]),
    scale=st.floats(0.01, 100),
    offset_px=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    at_end=st.sampled_from(["loop", "hold"]),
    start_s=times,
    stop_s=st.none() | times.map(lambda time: time + 1001),
    speed=st.fractions(Fraction(1, 100), 100, max_denominator=1001),
    match_colour=st.sampled_from(["none", "background", "foreground"]),
    grain=st.just("auto") | st.floats(0, 64),
    follow=st.sampled_from(["none", "camera"]),
)
alterations = st.one_of(
    st.just(Recolour("#12aBcD")),
    st.builds(Blurred, st.none() | st.floats(0.1, 1000)),
    st.builds(Pixelated, st.integers(1, 64)),
    st.just(Pictured("a.png")),
)
kept_effects = st.builds(Replace, st.sampled_from(["#102030", "blur", "blur:3.5", "a b.jpg"]), choices, looks)
lists = st.lists(kept_effects | st.builds(Alter, alterations, choices), max_size=4).map(tuple)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lists)
def test_what_is_written_is_read_back_and_written_alike(effects: tuple[Effect, ...]) -> None:
    objects = tuple(ScriptObject(name, {0: Prompt(absent=True)}) for name in NAMES)
    script = EditScript(ScriptSource("a.mp4", "d"), objects, effects=effects)
    text = script.text()
    again = EditScript.parse(text, ORIGIN)
    assert again == script
    assert again.text() == text
    validator().validate(json.loads(text))


def test_the_good_list_reads_as_written() -> None:
    script = parse(GOOD)
    assert json.loads(script.text()) == GOOD
    validator().validate(GOOD)
    assert script.effects[0] == Remove(Choice(("dog",)))
    replace = script.effects[1]
    assert isinstance(replace, Replace)
    assert (replace.look.start_s, replace.look.stop_s) == (Fraction(3, 2), Fraction(7, 3))
    assert replace.look.speed == Fraction(24000, 1001)
    assert script.effects[3] == Alter(Blurred(None), Choice(("cat", "bird")))
    plain = {name: value for name, value in GOOD.items() if name != "effects"}
    assert "effects" not in json.loads(parse(plain).text()), "scripts without effects read as they always did"


# (change, what the message names, whether the schema can know it too)
BAD: list[tuple[Callable[[dict[str, Any]], None], str, bool]] = [
    (at("effects", {}), "effects: {}: a list", True),
    (at("effects.0", "remove"), r"effects\[0\]: 'remove'", True),
    (at("effects.0.do", ...), r"effects\[0\].do: is missing", True),
    (at("effects.0.do", "remov"), r"effects\[0\].do: 'remov': remove, replace, alter", True),
    (at("effects.0.objects", ["dgo"]), r"effects\[0\].objects\[0\]: no object 'dgo' \(there are: 'dog'", False),
    (at("effects.0.objects", []), r"effects\[0\].objects: no object is named", True),
    (at("effects.0.objects", "dog"), r"effects\[0\].objects: 'dog': a list", True),
    (at("effects.0.objects", [3]), r"effects\[0\].objects\[0\]: 3: text", True),
    (at("effects.0.invert", 1), r"effects\[0\].invert: 1: true or false", True),
    (at("effects.0.fit", "fit"), r"effects\[0\].fit: is unknown", True),
    (at("effects.1.background", ...), r"effects\[1\].background: is missing", True),
    (at("effects.1.background", ""), r"effects\[1\].background: ''", True),
    (at("effects.1.background", "transparent"), r"effects\[1\].background: transparency cannot", True),
    (at("effects.1.fit", "cover"), r"effects\[1\]: fit 'cover': fill, fit, stretch, tile", True),
    (at("effects.1.fit", 3), r"effects\[1\].fit: 3", True),
    (at("effects.1.fits", "fill"), r"effects\[1\].fits: is unknown: do you mean 'fit'", True),
    (at("effects.1.scale", 0), r"effects\[1\]: scale 0", True),
    (at("effects.1.scale", "2"), r"effects\[1\].scale: '2'", True),
    (at("effects.1.offset_px", [1]), r"effects\[1\].offset_px: \[1\]: an offset is", True),
    (at("effects.1.offset_px", [1, 1e6]), r"effects\[1\]: offset", True),
    (at("effects.1.at_end", "stop"), r"effects\[1\]: at_end 'stop'", True),
    (at("effects.1.start_s", -1), r"effects\[1\].start_s: '-1'", True),
    (at("effects.1.start_s", 9), r"effects\[1\]: from 9 s to 2.33333 s: a part", False),
    (at("effects.1.start_s", True), r"effects\[1\].start_s: True", True),
    (at("effects.1.start_s", 1e-12), r"effects\[1\].start_s: '1e-12'", False),
    (at("effects.1.stop_s", "1/0"), r"effects\[1\].stop_s: '1/0'", True),
    (at("effects.1.speed", 0), r"effects\[1\]: speed 0", False),
    (at("effects.1.match_colour", True), r"effects\[1\].match_colour: True", True),
    (at("effects.1.grain", "much"), r"effects\[1\].grain: 'much'", True),
    (at("effects.1.grain", 65), r"effects\[1\]: grain 65", True),
    (at("effects.1.follow", "dog"), r"effects\[1\]: follow 'dog'", True),
    (at("effects.1.objects", ["dog"]), r"effects\[1\].objects: 'dog' is removed by another", False),
    (at("effects.2.recolour", ...), r"effects\[2\]: exactly one of recolour, blur", True),
    (at("effects.2.blur", 3), r"effects\[2\]: exactly one of", True),
    (at("effects.2.recolour", "red"), r"effects\[2\]: colour 'red'", True),
    (at("effects.3.blur", 0), r"effects\[3\]: blur 0", True),
    (at("effects.3.blur", None), r"effects\[3\].blur: None", True),
    (at("effects.5.pixelate", 65), r"effects\[5\]: pixelate 65", True),
    (at("effects.5.pixelate", 6.5), r"effects\[5\].pixelate: 6.5", True),
    (at("effects.6.picture", 4), r"effects\[6\].picture: 4", True),
    (at("effects.7", {"do": "remove", "objects": ["cat"]}), r"effects\[7\]: removes after .*put removals first", False),
    (
        at("effects", [{"do": "remove"}, {"do": "replace", "background": "#000000"}]),
        r"effects\[1\]: every object",
        False,
    ),
    (at("effects", [{"do": "remove"}] * 65), "effects.64.: at most 64", True),
]


@pytest.mark.parametrize(("change", "words", "by_schema"), BAD, ids=[words for _, words, _ in BAD])
def test_every_mistake_is_named_with_its_place(
    change: Callable[[dict[str, Any]], None], words: str, by_schema: bool
) -> None:
    check_mistake(GOOD, change, words, by_schema)


def test_all_means_all_that_are_not_removed() -> None:
    effects = settled([Remove(Choice(("dog",))), Replace("#000000"), Alter(Pixelated())], NAMES)
    assert [effect.choice.objects for effect in effects] == [("dog",), ("cat", "bird"), ("cat", "bird")]
    inverted = settled([Remove(Choice(("cat",), invert=True)), Replace("#000000")], NAMES)
    assert [effect.choice.objects for effect in inverted] == [("cat",), ("cat",)]
    outside = settled([Remove(Choice(("dog",))), Alter(Pixelated(), Choice(None, invert=True))], NAMES)
    assert outside[1].choice.objects == NAMES, "what lies outside all objects is outside the removed one too"
    with pytest.raises(EffectMistake, match="no object"):
        settled([Remove(Choice(("cow",)))], NAMES)


def test_objects_that_get_another_name_or_go_take_their_effects_along() -> None:
    effects = [Remove(Choice(("dog", "cat"))), Alter(Pixelated(), Choice(("cat",))), Replace("#000000")]
    assert [effect.choice.objects for effect in renamed(effects, "cat", "lion")] == [("dog", "lion"), ("lion",), None]
    assert [effect.choice.objects for effect in without(effects, "cat")] == [("dog",), None]


def test_files_count_from_the_projects_folder() -> None:
    folder = Path("/edits/ball.edit")
    assert located(Replace("beach.jpg"), folder) == Replace("/edits/ball.edit/beach.jpg")
    assert located(Alter(Pictured("../a.png")), folder) == Alter(Pictured("/edits/ball.edit/../a.png"))
    for background in ("#102030", "blur", "blur:2", "transparent", "/abs/beach.jpg"):
        assert located(Replace(background), folder) == Replace(background)


def test_numbers_are_exact() -> None:
    assert exact("30000/1001") == Fraction(30000, 1001) and exact(1.1) == Fraction(11, 10)
    assert Look(speed=2, scale=2, start_s=1.5, grain=2) == Look(  # type: ignore[arg-type]
        speed=Fraction(2), scale=2.0, start_s=Fraction(3, 2), grain=2.0
    )
    assert isinstance(Look(scale=2).scale, float) and isinstance(Blurred(2).sigma_px, float), "one key for 2 and 2.0"
    for wrong in ("-1", "1e3", "nan", "1/0", "", "one"):
        with pytest.raises(UsageError, match="a number is needed"):
            exact(wrong)

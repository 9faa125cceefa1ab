"""The edit script: the same bytes again, every mistake named with its place, and a JSON Schema that agrees."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tam_edit.errors import MaskError, PromptError, ScriptError, UsageError
from tam_edit.masks import counts_from_text, mask_from_counts
from tam_edit.script import (
    EditScript,
    Prompt,
    ScriptObject,
    ScriptSource,
    StoredMask,
    mask_from_picture,
)
from tam_edit.settings import Settings
from tests.support import ROOT

ORIGIN = "ball.edit/edit.json"
MASK = StoredMask.of(np.array([[0, 1, 1], [0, 1, 0]], dtype=bool))

GOOD: dict[str, Any] = {
    "format": "tam-edit",
    "version": 1,
    "source": {"path": "../clip.mp4", "digest": "ab12", "frame_rate": "30000/1001", "allow_truncated": True},
    "objects": [
        {
            "name": "ball",
            "prompts": [
                {"frame": 0, "points": [[320, 200], [1.5, 2]], "negative": [[3, 4]], "candidate": 1},
                {"frame": 7, "absent": True},
                {"frame": 9, "box": [1, 2, 3.25, 4], "prior": {"size_wh": [3, 2], "counts": MASK.counts}},
                {"frame": 11, "scribbles": [[[1, 2], [3, 4.5]]], "box": [1, 2, 3, 4], "boxes": [[2, 2, 3, 4]]},
                {"frame": 12, "box": [1, 2, 3, 4], "negative_scribbles": [[[1, 2], [3, 4.5]], [[2, 2]]]},
            ],
        },
        {
            "name": "Käse & dog",
            "prompts": [{"frame": 3, "mask": {"size_wh": [3, 2], "counts": MASK.counts}, "polish": True}],
        },
    ],
    "settings": {"tracker": "classic", "dilate_px": 4, "feather_px": 2.5},
}


@cache
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads((ROOT / "docs" / "edit.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def parse(tree: Any) -> EditScript:
    return EditScript.parse(json.dumps(tree), ORIGIN)


def check_mistake(good: Any, change: Callable[[dict[str, Any]], None], words: str, by_schema: bool) -> None:
    """A script that was good until the change is refused in these words, and by the schema where it can tell."""
    tree = copy.deepcopy(good)
    change(tree)
    with pytest.raises(ScriptError, match=words) as caught:
        parse(tree)
    assert str(caught.value).startswith(f"{ORIGIN}: ")
    assert len(str(caught.value)) < 400, "a message is read by a person"
    assert validator().is_valid(tree) != by_schema


# There and back

pixels = st.floats(-1e9, 1e9, allow_nan=False) | st.integers(0, 4000).map(float)
points = st.lists(st.tuples(pixels, pixels), max_size=3).map(tuple)
boxes = st.tuples(pixels, pixels, pixels, pixels).filter(lambda box: box[0] < box[2] and box[1] < box[3])
masks = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**36 - 1)).map(
    lambda drawn: StoredMask.of(
        np.array([drawn[2] >> bit & 1 for bit in range(drawn[0] * drawn[1])], dtype=bool).reshape(drawn[1], drawn[0])
    )
)
priors = st.none() | masks
prompts = (
    st.just(Prompt(absent=True))
    | st.builds(Prompt, mask=masks, polish=st.booleans())
    | st.builds(Prompt, scribbles=st.lists(points.filter(len), min_size=1, max_size=2).map(tuple), negative=points)
    | st.builds(Prompt, box=boxes, negative_scribbles=st.lists(points.filter(len), max_size=2).map(tuple))
    | st.builds(Prompt, box=boxes, boxes=st.lists(boxes, max_size=2).map(tuple), points=points)
    | st.builds(Prompt, points=points.filter(len), negative=points, prior=priors, candidate=st.integers(0, 9))
    | st.builds(Prompt, negative=points, box=boxes, prior=priors)
    | st.builds(Prompt, negative=points.filter(len), prior=masks)
)
names = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters=","), min_size=1, max_size=100)
objects = st.builds(ScriptObject, names, st.dictionaries(st.integers(0, 2**31 - 1), prompts, max_size=3))
rates = st.none() | st.fractions(Fraction(1, 1000), 100000, max_denominator=1001)
scripts = st.builds(
    EditScript,
    st.builds(
        ScriptSource,
        st.text(min_size=1, max_size=20).filter(lambda path: "\0" not in path),
        st.text(),
        rates,
        st.booleans(),
    )
    | st.builds(
        ScriptSource, st.just("source.mkv"), st.text(), result_of=st.just("../a.edit"), result_digest=st.text()
    ),
    st.lists(objects, max_size=3, unique_by=lambda item: item.name).map(tuple),
    st.builds(
        Settings,
        segmenter=st.text(max_size=5),
        refine=st.sampled_from(["auto", "never", "always"]),
        dilate_px=st.none() | st.integers(0, 500),
        erode_px=st.none() | st.integers(0, 500),
        feather_px=st.none() | st.floats(0, 500),
        matte=st.sampled_from(["auto", "contour", "hard"]),
        smooth=st.booleans(),
        mend=st.booleans(),
        shadow=st.sampled_from(["auto", "none"]),
    ),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scripts)
def test_what_is_written_is_read_back_and_written_alike(script: EditScript) -> None:
    text = script.text()
    again = EditScript.parse(text, ORIGIN)
    assert again == script
    assert again.text().encode() == text.encode()
    validator().validate(json.loads(text))


def test_text_is_small_ordered_and_reads_as_lines() -> None:
    text = parse(GOOD).text()
    assert json.loads(text) == GOOD, "nothing is lost, and what is default is not written"
    assert text.endswith("}\n") and "\t" not in text
    assert '          "points": [[320, 200], [1.5, 2]],\n' in text
    assert "Käse" in text, "letters stay letters"
    shuffled = {name: GOOD[name] for name in reversed(GOOD)}
    shuffled["objects"] = copy.deepcopy(GOOD["objects"])
    shuffled["objects"][0]["prompts"].reverse()
    assert parse(shuffled).text() == text, "however the hand ordered it"
    assert list(parse(shuffled).objects[0].prompts) == [0, 7, 9, 11, 12]


def test_file_names_that_are_no_text_survive() -> None:
    script = EditScript(ScriptSource("../caf\udce9.mp4", "d"))
    assert EditScript.parse(script.text().encode().decode(), ORIGIN) == script


def test_the_page_about_the_file_shows_one() -> None:
    page = (ROOT / "docs" / "edit.md").read_text(encoding="utf-8")
    shown = page.split("```json\n")[1].split("```")[0]
    assert EditScript.parse(shown, ORIGIN).text() == shown
    validator().validate(json.loads(shown))
    wrong = json.loads(shown)
    wrong["objects"][0]["prompts"][1]["box"] = [1, 2, 3]
    with pytest.raises(ScriptError) as caught:
        EditScript.parse(json.dumps(wrong), ORIGIN)
    assert str(caught.value) in page


def test_every_property_of_the_schema_is_described() -> None:
    def undescribed(tree: Any, at: str) -> list[str]:
        if not isinstance(tree, dict):
            return []
        found = [
            f"{at}.{name}"
            for name, item in tree.get("properties", {}).items()
            if "description" not in item and "$ref" not in item and "const" not in item
        ]
        return found + [
            words
            for name, item in {**tree.get("properties", {}), **tree.get("$defs", {})}.items()
            if not name.startswith("says_")
            for words in undescribed(item, f"{at}.{name}")
        ]

    assert not undescribed(validator().schema, "")
    fields = {"points", "negative", "scribbles", "box", "boxes", "mask", "polish", "absent", "prior", "candidate"}
    fields |= {"frame", "negative_scribbles"}
    assert set(validator().schema["$defs"]["prompt"]["properties"]) == fields


# Mistakes


def at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of GOOD: set what lies at a path such as objects.0.name; `...` takes it away."""

    def change(tree: Any) -> None:
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            tree = tree[part]
        if value is ...:
            del tree[last]
        elif isinstance(tree, list) and last == len(tree):
            tree.append(value)
        else:
            tree[last] = value

    return change


# (change, what the message names, whether the schema can know it too)
BAD: list[tuple[Callable[[dict[str, Any]], None], str, bool]] = [
    (at("format", "other"), "format: 'other' is not an edit script", True),
    (at("format", ...), "format: is missing", True),
    (at("source", ...), "source: is missing", True),
    (at("version", 2), "version: 2 is unknown here", True),
    (at("version", True), "version: True", True),
    (at("version", "1"), "version: '1'", True),
    (at("object", []), "object: is unknown: do you mean 'objects'?", True),
    (at("source", []), "source: .*is needed", True),
    (at("source.path", ...), "source.path: is missing", True),
    (at("source.path", ""), "source.path: ''", True),
    (at("source.path", 3), "source.path: 3", True),
    (at("source.path", "a\0b"), "source.path", True),
    (at("source.digest", 3), "source.digest: 3", True),
    (at("source.frame_rate", 0), "source.frame_rate: 0", True),
    (at("source.frame_rate", -25), "source.frame_rate: -25", True),
    (at("source.frame_rate", "25/0"), "source.frame_rate: '25/0': write", True),
    (at("source.frame_rate", "fast"), "source.frame_rate: 'fast'", True),
    (at("source.frame_rate", "1e999999999"), "source.frame_rate", True),
    (at("source.frame_rate", 1e300), "source.frame_rate", True),
    (at("source.frame_rate", True), "source.frame_rate: True", True),
    (at("source.frame_rate", [25]), "source.frame_rate", True),
    (at("source.allow_truncated", 1), "source.allow_truncated: 1", True),
    (at("source.result_of", "../a.edit"), "source: result_of and result_digest: only together", True),
    (at("source.result_digest", "d"), "source: result_of and result_digest: only together", True),
    (at("source.result_of", ""), "source.result_of: '': the path of a project", True),
    (at("source.result_of", None), "source.result_of: None", True),
    (at("source.result_digest", 3), "source.result_digest: 3", True),
    (at("source.speed", 1), "source.speed: is unknown", True),
    (at("objects", {}), "objects: {}: a list is needed", True),
    (at("objects", None), "objects: None: a list", True),
    (at("objects.1", "dog"), r"objects\[1\]: 'dog'", True),
    (at("objects.1.name", ...), r"objects\[1\].name: is missing", True),
    (at("objects.1.name", 7), r"objects\[1\].name: 7", True),
    (at("objects.1.name", ""), r"objects\[1\].name", True),
    (at("objects.1.name", "a,b"), r"objects\[1\].name: .*commas", True),
    (at("objects.1.name", " a"), r"objects\[1\].name", True),
    (at("objects.1.name", "a\nb"), r"objects\[1\].name", True),
    (at("objects.1.name", "a" * 101), r"objects\[1\].name: 101 signs", True),
    (at("objects.1.name", "\ud800"), r"objects\[1\].name", False),
    (at("objects.1.name", "ball"), r"objects\[1\].name: 'ball' is there twice", False),
    (at("objects", [{"name": str(index)} for index in range(256)]), "objects: 256 objects", True),
    (at("objects.0.prompt", []), r"objects\[0\].prompt: is unknown: do you mean 'prompts'", True),
    (at("objects.0.prompts", {}), r"objects\[0\].prompts: ", True),
    (at("objects.0.prompts.1", 7), r"objects\[0\].prompts\[1\]: 7", True),
    (at("objects.0.prompts.1.frame", ...), r"objects\[0\].prompts\[1\].frame: is missing", True),
    (at("objects.0.prompts.1.frame", -1), r"prompts\[1\].frame: -1: a whole number", True),
    (at("objects.0.prompts.1.frame", 1.5), r"prompts\[1\].frame: 1.5", True),
    (at("objects.0.prompts.1.frame", "7"), r"prompts\[1\].frame: '7'", True),
    (at("objects.0.prompts.1.frame", True), r"prompts\[1\].frame: True", True),
    (at("objects.0.prompts.1.frame", 2**31), r"prompts\[1\].frame", True),
    (at("objects.0.prompts.1.frame", 10**400), r"prompts\[1\].frame", True),
    (at("objects.0.prompts.1.frame", 0), r"prompts\[1\].frame: frame 0 is there twice", False),
    (at("objects.0.prompts.1.absent", False), r"prompts\[1\]: say one thing", True),
    (at("objects.0.prompts.1.absent", "yes"), r"prompts\[1\].absent: 'yes': true or false", True),
    (at("objects.0.prompts.1.points", [[1, 2]]), r"prompts\[1\]: say one thing", True),
    (at("objects.0.prompts.0.mask", GOOD["objects"][1]["prompts"][0]["mask"]), r"prompts\[0\]: say one thing", True),
    (at("objects.0.prompts.0.points", []), r"prompts\[0\]: only what the object is not", True),
    (at("objects.0.prompts.0.points", [1, 2]), r"prompts\[0\].points\[0\]: 1: a list", True),
    (at("objects.0.prompts.0.points", [[1]]), r"prompts\[0\].points\[0\]: \[1\]: a point is", True),
    (at("objects.0.prompts.0.points", [["a", 1]]), r"prompts\[0\].points\[0\]: 'a': a number", True),
    (at("objects.0.prompts.0.points", [[float("nan"), 1]]), r"prompts\[0\].points\[0\]: nan", False),
    (at("objects.0.prompts.0.points", [[float("inf"), 1]]), r"prompts\[0\].points\[0\]: inf", True),
    (at("objects.0.prompts.0.points", [[10**400, 1]]), r"prompts\[0\].points\[0\]", True),
    (at("objects.0.prompts.0.point", [[1, 1]]), r"prompts\[0\].point: is unknown: do you mean 'points'", True),
    (at("objects.0.prompts.0.candidate", -1), r"prompts\[0\].candidate: -1", True),
    (at("objects.0.prompts.2.box", [1, 2, 3]), r"prompts\[2\].box: \[1, 2, 3\]: a box is", True),
    (at("objects.0.prompts.2.box", [3, 2, 1, 4]), r"prompts\[2\]: box .*X0 < X1", False),
    (at("objects.0.prompts.2.box", "1,2,3,4"), r"prompts\[2\].box: '1,2,3,4'", True),
    (at("objects.0.prompts.2.box", None), r"prompts\[2\]: say one thing", True),
    (at("objects.0.prompts.2.prior.counts", "!"), r"prompts\[2\].prior.counts: the sign '!'", True),
    (at("objects.0.prompts.2.prior.counts", "o"), r"prompts\[2\].prior.counts: .*break off", False),
    (at("objects.0.prompts.2.prior.counts", "5"), r"prompts\[2\].prior.counts: .*add up to 5", False),
    (at("objects.0.prompts.2.prior.counts", "oooooooooooooooooooo0"), r"prior.counts: .*64 bits", False),
    (at("objects.0.prompts.2.prior.counts", 6), r"prompts\[2\].prior: a mask is", True),
    (at("objects.0.prompts.2.prior.size_wh", [3]), r"prompts\[2\].prior: a mask is", True),
    (at("objects.0.prompts.2.prior.size_wh", [0, 2]), r"prompts\[2\].prior.size_wh: 0x2", True),
    (at("objects.0.prompts.2.prior.size_wh", [3, 10**9]), r"prompts\[2\].prior.size_wh", True),
    (at("objects.0.prompts.2.prior.size_wh", 3), r"prompts\[2\].prior.size_wh: 3", True),
    (at("objects.0.prompts.2.prior", ["x"]), r"prompts\[2\].prior: \['x'\]", True),
    (at("objects.0.prompts.3.boxes", [[1, 2, 3]]), r"prompts\[3\].boxes\[0\]: \[1, 2, 3\]: a box is", True),
    (at("objects.0.prompts.3.boxes", [3, 2, 1, 4]), r"prompts\[3\].boxes\[0\]: 3: a list", True),
    (at("objects.0.prompts.3.boxes", [[3, 2, 1, 4]]), r"prompts\[3\]: box .*X0 < X1", False),
    (at("objects.0.prompts.3.box", ...), r"prompts\[3\]: boxes without a box", True),
    (at("objects.0.prompts.3.scribbles", [[1, 2]]), r"prompts\[3\].scribbles\[0\]\[0\]: 1: a list", True),
    (at("objects.0.prompts.3.scribbles", [[]]), r"prompts\[3\]: a scribble without a point", True),
    (at("objects.0.prompts.3.scribbles", 5), r"prompts\[3\].scribbles: 5: a list", True),
    (at("objects.0.prompts.4.negative_scribbles", [[]]), r"prompts\[4\]: a scribble without a point", True),
    (at("objects.0.prompts.4.negative_scribbles", [[1]]), r"negative_scribbles\[0\]\[0\]: 1: a list", True),
    (at("objects.0.prompts.4.box", ...), r"prompts\[4\]: only what the object is not", True),
    (at("objects.0.prompts.3.polish", True), r"prompts\[3\]: polish without a mask", True),
    (at("objects.1.prompts.0.polish", 1), r"prompts\[0\].polish: 1: true or false", True),
    (at("settings", 5), "settings: 5", True),
    (at("settings.refine", "sometimes"), "settings: refine 'sometimes': auto, never, always", True),
    (at("settings.refine", None), "settings: refine None", True),
    (at("settings.tracker", None), "settings.tracker: None", True),
    (at("settings.dilate_px", 501), "settings: dilate 501", True),
    (at("settings.dilate_px", 2.5), "settings.dilate_px: 2.5", True),
    (at("settings.dilate_px", True), "settings.dilate_px: True", True),
    (at("settings.erode_px", -1), "settings.erode_px: -1", True),
    (at("settings.erode_px", 501), "settings: erode 501", True),
    (at("settings.matte", "soft"), "settings: matte 'soft': auto, contour, hard", True),
    (at("settings.matte", None), "settings: matte None", True),
    (at("settings.smooth", 1), "settings.smooth: 1: true or false", True),
    (at("settings.mend", "no"), "settings.mend: 'no'", True),
    (at("settings.shadow", True), "settings: shadow True", True),
    (at("settings.feather_px", -1), "settings: feather -1", True),
    (at("settings.feather_px", "2"), "settings.feather_px: '2'", True),
    (at("settings.feather", 2), "settings.feather: is unknown: do you mean 'feather_px'", True),
]


@pytest.mark.parametrize(("change", "words", "by_schema"), BAD, ids=[words for _, words, _ in BAD])
def test_every_mistake_is_named_with_its_place(
    change: Callable[[dict[str, Any]], None], words: str, by_schema: bool
) -> None:
    check_mistake(GOOD, change, words, by_schema)


def test_the_good_one_is_good_for_both() -> None:
    parse(GOOD)
    validator().validate(GOOD)
    least = {"format": "tam-edit", "source": {"path": "a.mp4", "digest": ""}}
    assert parse(least).settings == Settings()
    validator().validate(least)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "format": "tam-edit",\n  "source": }', "line 3, column 13"),
        ("", "line 1, column 1"),
        ("{" * 100_000, "edit.json, line 1|nested too deeply"),
        ('{"source":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"version":' + "9" * 5000 + "}", "too many digits"),
        ('{"format": "tam-edit", "format": "tam-edit"}', "format: is there twice"),
        ('{"format":"tam-edit","source":{"path":"a","digest":"b","path":"c"}}', "source.path: is there twice"),
        ("[]", "the top: "),
        ("null", "the top: None"),
        ("NaN", "the top: nan"),
    ],
)
def test_broken_text_is_named_by_line_or_place(text: str, words: str) -> None:
    with pytest.raises(ScriptError, match=words) as caught:
        EditScript.parse(text, ORIGIN)
    assert str(caught.value).startswith(ORIGIN)
    assert len(str(caught.value)) < 400


def test_a_huge_mask_is_checked_without_being_made() -> None:
    # One run of 2^32 pixels: 13 bytes of text, 4 GiB of picture.
    tree = copy.deepcopy(GOOD)
    counts = "PPPPPP4"
    assert counts_from_text(counts) == [2**32]
    tree["objects"][1]["prompts"][0]["mask"] = {"size_wh": [65536, 65536], "counts": counts}
    prompt = parse(tree).prompt("Käse & dog", 3)
    assert prompt is not None
    with pytest.raises(PromptError, match="a mask of 65536x65536 for a picture of 96x64"):
        prompt.check_inside((96, 64))


@pytest.mark.parametrize("counts", [[-1, 7], [10**30], [2, 2], []])
def test_run_lengths_that_cannot_be(counts: list[int]) -> None:
    with pytest.raises(MaskError):
        mask_from_counts(counts, (3, 2))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_scripts_are_refused_or_good(seed: int) -> None:
    rng = random.Random(seed)
    good = parse(GOOD).text()
    pieces = [
        "null",
        "-1",
        "1e999",
        '"',
        "{}",
        "[]",
        "\\ud800",
        ",",
        "true",
        "9" * 30,
        "\0",
        "é",
        "1.5",
        '"ball"',
        "]",
        "}",
    ]
    refused = 0
    for _ in range(60):
        text = good
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(text))
            stop = min(len(text), start + rng.choice([0, 1, 1, 2, 8, 40]))
            text = text[:start] + rng.choice([*pieces, "", text[start:stop] * 2]) + text[stop:]
        refused += not _refused_or_good(text)
    assert refused > 20, "some mutations do harm"


def _refused_or_good(text: str) -> bool:
    """True for a script that is good, False for one refused as it should; anything else fails."""
    try:
        script = EditScript.parse(text, ORIGIN)
    except ScriptError as error:
        assert str(error).startswith(ORIGIN) and len(str(error)) < 600
        return False
    assert EditScript.parse(script.text(), ORIGIN) == script
    script.text().encode()
    return True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
places = ["format", "version", "source", "source.path", "source.frame_rate", "objects", "objects.0", "objects.0.name"]
places += ["objects.0.prompts", "objects.0.prompts.0", "objects.0.prompts.0.points", "objects.0.prompts.2.box"]
places += ["objects.0.prompts.0.candidate", "objects.0.prompts.2.prior", "objects.0.prompts.2.prior.counts", "settings"]
places += [
    "objects.0.prompts.1.frame",
    "settings.dilate_px",
    "settings.feather_px",
    "objects.0.prompts.3.boxes",
    "objects.0.prompts.3.scribbles",
    "objects.0.prompts.4.negative_scribbles",
    "objects.1.prompts.0.polish",
    "settings.refine",
    "settings.matte",
    "settings.smooth",
    "settings.shadow",
    "objects.0.prompts.2.prior.size_wh",
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(places), json_values)
def test_any_value_at_any_place_is_refused_or_good(place: str, value: Any) -> None:
    tree = copy.deepcopy(GOOD)
    at(place, value)(tree)
    if _refused_or_good(json.dumps(tree)):
        validator().validate(tree)


# Values


def test_marking_makes_new_scripts_and_leaves_the_old() -> None:
    empty = EditScript(ScriptSource("a.mp4", "d"))
    one = empty.marked("ball", 5, Prompt(points=((1, 2),)))
    two = one.marked("ball", 2, Prompt(absent=True)).marked("dog", 0, Prompt(box=(0, 0, 2, 2)))
    assert empty.names == () and one.names == ("ball",) and two.names == ("ball", "dog")
    assert list(two.objects[0].prompts) == [2, 5], "by frame, in whatever order they came"
    assert two.label_of("dog") == 2
    back = two.unmarked("ball", 2)
    assert back.prompt("ball", 2) is None and back.prompt("ball", 5) == one.prompt("ball", 5)
    assert back.unmarked("ball", 5).names == ("ball", "dog"), "labels stay when nothing is said of an object any more"
    with pytest.raises(PromptError, match=r"nothing is said of 'ball' on frame 3 \(but on frames: \[2, 5\]\)"):
        two.unmarked("ball", 3)
    with pytest.raises(PromptError, match=r"no object 'cat' .*'ball', 'dog'"):
        two.unmarked("cat", 3)
    with pytest.raises(PromptError, match="at most 255"):
        full = EditScript(empty.source, tuple(ScriptObject(str(index)) for index in range(255)))
        full.marked("one more", 0, Prompt(absent=True))


@pytest.mark.parametrize("position", [float("nan"), float("inf"), 2e9])
def test_what_could_not_be_read_again_is_not_made(position: float) -> None:
    with pytest.raises(PromptError, match="pixels are meant"):
        Prompt(points=((position, 1),))
    with pytest.raises(PromptError, match="pixels are meant"):
        Prompt(box=(-position, 0, 1, 1))


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(-25), Fraction(10**6), Fraction(1, 10**30)])
def test_a_frame_rate_that_no_clip_has(rate: Fraction) -> None:
    with pytest.raises(UsageError, match="frame rate"):
        ScriptSource("a", "d", rate)


def test_whole_and_fractional_feathers_are_one_value() -> None:
    tree = copy.deepcopy(GOOD)
    tree["settings"]["feather_px"] = 2
    feather = parse(tree).settings.feather_px
    assert isinstance(feather, float), "2 by hand and 2.0 from the command line must give one key"


def test_mask_pictures() -> None:
    grey = np.array([[0, 255, 0], [0, 0, 9]], dtype=np.uint8)
    assert (mask_from_picture(grey, (3, 2), "m.png") == (grey > 0)).all()
    assert (mask_from_picture(np.dstack([grey] * 3), (3, 2), "m.png") == (grey > 0)).all()
    assert mask_from_picture(grey, (4, 2), "m.png").shape == (2, 4), "a pixel more is rounding elsewhere"
    with pytest.raises(PromptError, match=r"m.png is 3x2, the clip's pictures are 30x20"):
        mask_from_picture(grey, (30, 20), "m.png")


# Changes


def test_a_new_name_holds_in_the_effects_too() -> None:
    script = parse(
        {**GOOD, "effects": [{"do": "remove", "objects": ["ball"]}, {"do": "replace", "background": "blur"}]}
    )
    named = script.renamed("ball", "moon")
    assert named.names == ("moon", "Käse & dog")
    assert named.objects[0].prompts == script.objects[0].prompts
    assert [effect.choice.objects for effect in named.effects] == [("moon",), None]
    assert named.renamed("moon", "ball") == script
    for name, to in (("nobody", "x"), ("ball", "Käse & dog"), ("ball", "a,b"), ("ball", "")):
        with pytest.raises(PromptError):
            script.renamed(name, to)


def test_without_an_object_nothing_speaks_of_it() -> None:
    script = parse(
        {**GOOD, "effects": [{"do": "remove", "objects": ["ball"]}, {"do": "replace", "background": "blur"}]}
    )
    left = script.without("ball")
    assert left.names == ("Käse & dog",)
    assert [effect.choice.objects for effect in left.effects] == [None]
    assert EditScript.parse(left.text(), ORIGIN) == left
    with pytest.raises(PromptError, match="no object 'nobody'"):
        script.without("nobody")


def test_a_mark_moves_or_is_copied() -> None:
    script = parse(GOOD)
    box = script.prompt("ball", 9)
    assert box is not None and box.prior is not None
    moved = script.moved("ball", 9, 20)
    assert sorted(moved.objects[0].prompts) == [0, 7, 11, 12, 20]
    there = moved.prompt("ball", 20)
    assert there is not None and there.box == box.box and there.prior is None, "the mask it mended was frame 9's"
    both = script.moved("ball", 7, 11, copy=True)
    assert both.prompt("ball", 7) == both.prompt("ball", 11) == Prompt(absent=True)
    assert script.moved("ball", 9, 9) == script
    with pytest.raises(PromptError, match="nothing is said of 'ball' on frame 5"):
        script.moved("ball", 5, 6)
    (frame,) = np.array([20])
    assert {type(at) for at in script.moved("ball", 9, frame).objects[0].prompts} == {int}, "as JSON can hold it"
    with pytest.raises(PromptError, match=r"frame 1\.5: give a whole number"):
        script.moved("ball", 9, 1.5)  # type: ignore[arg-type]

"""Jobs files: what is written means what it says, and a mistake is told with its line and key."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import jsonschema
import pytest

from tam_edit import Edit, errors
from tam_edit.batch.jobs import EFFECTS
from tam_edit.batch.keys import KEYS, PROMPT_KEYS
from tam_edit.batch.lines import LineIndex
from tam_edit.batch.reading import JobsFile, read_jobs
from tests.scenes import write_clip
from tests.support import ROOT

SCHEMA = json.loads((ROOT / "docs" / "jobs.schema.json").read_text())

WHOLE = """\
version = 1

[defaults]
effect = "remove"
output = "clean/{name}.mp4"
inpainter = "classic"
crf = 18
weights = { xmem = "XMem.pth" }

[[jobs]]                      # all projects
project = ["*.edit", "more/d.edit"]

[[jobs]]
clip = "clips/*.mp4"
keep = "kept/{name}.edit"
effect = "replace"
background = "beach.jpg"
output = "{parent}-{name}-{effect}-{number}.mp4"
prompts = [
  { object = "ball", points = [[320, 200]], negative = [[300, 190.5]], negative_scribbles = [[[1, 2], [3, 4]]] },
  { object = "ball", frame = 90, absent = true },
  { object = "hat", box = [10, 20, 30, 40], candidate = 1 },
]

[[jobs]]
project = "a.edit"
effect = "export"
format = "davis"
output = "masks/{{{name}}}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    clip = write_clip(tmp_path / "clips" / "x.mp4", 2)
    for name in ("a", "b"):
        Edit.create(clip, tmp_path / f"{name}.edit")
    (tmp_path / "no.edit").mkdir()
    return tmp_path


def read(folder: Path, text: str) -> JobsFile:
    path = folder / "jobs.toml"
    path.write_text(text)
    return read_jobs(path)


def test_a_whole_file(folder: Path) -> None:
    jsonschema.validate(tomllib.loads(WHOLE), SCHEMA)
    a, b, d, clip, masks = read(folder, WHOLE).jobs
    assert [job.number for job in (a, b, d, clip, masks)] == [1, 2, 3, 4, 5]
    assert [job.line for job in (a, b, d, clip, masks)] == [10, 10, 10, 13, 25]
    assert [job.name for job in (a, b, d, clip, masks)] == ["a", "b", "d", "x", "a"]
    assert a.project == str(folder / "a.edit") and a.clip is None and a.output == str(folder / "clean" / "a.mp4")
    assert a.settings == {"inpainter": "classic"} and a.options == {"crf": 18}
    assert d.project == str(folder / "more" / "d.edit"), "a name that is not there fails when it is run"
    assert a.engine_options().weights == {"xmem": folder / "XMem.pth"}
    assert clip.clip == str(folder / "clips" / "x.mp4") and clip.project == str(folder / "kept" / "x.edit")
    assert clip.output == str(folder / "clips-x-replace-4.mp4")
    assert clip.options == {"background": str(folder / "beach.jpg"), "crf": 18}
    assert [said.object for said in clip.prompts] == ["ball", "ball", "hat"]
    assert clip.prompts[0].negative_scribbles == (((1.0, 2.0), (3.0, 4.0)),)
    assert clip.prompts[0].negative == ((300.0, 190.5),) and clip.prompts[1].absent and clip.prompts[2].candidate == 1
    assert masks.options == {"format": "davis"}, "the default crf is not for exports"
    assert masks.output == str(folder / "masks" / "{a}")


def test_clips_are_kept_apart_and_backgrounds_are_told_from_files(folder: Path) -> None:
    text = """
    defaults = { effect = "replace", output = "{name}.mkv", background = "blur:3", prompts = [{ box = [0, 0, 5, 5] }] }
    jobs = [{ clip = "one/s.mp4" }, { clip = "two/s.mp4", output = "t.mkv", background = "#010203" }]
    """
    one, two = read(folder, text).jobs
    assert one.project != two.project and Path(one.project).parent == folder / ".tam-edit"
    assert (one.options["background"], two.options["background"]) == ("blur:3", "#010203")


def test_patterns_without_a_match_are_told(folder: Path) -> None:
    text = '[defaults]\neffect = "remove"\noutput = "{name}.mp4"\n[[jobs]]\nproject = [\n"*.edit",\n"q*"]\n'
    found = read(folder, text)
    assert len(found.jobs) == 2, "a folder without a script is no project"
    assert found.warnings == (f"{folder / 'jobs.toml'}, line 7: jobs[0].project[1]: no project matches 'q*'",)
    with pytest.raises(errors.ScriptError, match=r"no project matches 'q\*'"):
        read(folder, '[[jobs]]\neffect = "remove"\noutput = "x"\nproject = "q*"\n')


def test_what_the_last_run_wrote_is_no_clip_of_the_next(folder: Path) -> None:
    text = (
        'defaults = { clip = "clips/*.mp4", prompts = [{ box = [0, 0, 5, 5] }] }\n'
        'jobs = [{ effect = "remove", output = "clips/{name}-clean.mp4" }, '
        '{ effect = "alter", blur = "auto", output = "clips/{effect}-{name}.mp4" }]\n'
    )
    first = read(folder, text)
    for job in first.jobs:
        Path(job.output).write_bytes(Path(str(job.clip)).read_bytes())
    second = read(folder, text)
    assert second.jobs == first.jobs and len(first.jobs) == 2
    assert second.warnings == ("2 matches of patterns are outputs of this file's jobs: left out",)


JOB = '[[jobs]]\nproject = "a.edit"\neffect = "remove"\noutput = "o.mp4"\n'
CLIP = '[[jobs]]\nclip = "x.mp4"\neffect = "remove"\noutput = "o.mp4"\n'
MISTAKES = [
    ("[[jobs]\n", 1, "Expected"),
    ("", 1, "jobs: no job"),
    ("jobs = 3\n", 1, "jobs: no job"),
    ("jobs = [3]\n", 1, r"jobs\[0\]: 3: a table is needed"),
    ("version = 2\n" + JOB, 1, "version: 2 is unknown here"),
    (JOB + "dilat = 3\n", 5, r"jobs\[0\]\.dilat: is unknown: do you mean 'dilate'\?"),
    (JOB + "dilate = 3.5\n", 5, r"jobs\[0\]\.dilate: 3\.5: a whole number from 0 to 500"),
    (JOB + "dilate = true\n", 5, "whole number"),
    (JOB + "feather = nan\n", 5, "a number from 0 to 500"),
    (JOB + "background = '#000000'\n", 5, r"jobs\[0\]\.background: is for replace, this job's effect is 'remove'"),
    (JOB + "invert = 'yes'\n", 5, "true or false"),
    (JOB + "overwrite = 'maybe'\n", 5, "one of always, ours, never"),
    (JOB + "weights = ['x']\n", 5, "a table is needed"),
    (JOB + "clip = 'x.mp4'\n", 1, "a clip or a project, not both"),
    (JOB + "prompts = [{ absent = true }]\n", 5, "a project has a script of its own"),
    (JOB.replace('"remove"', '"erase"'), 3, "'erase': one of remove"),
    (JOB.replace('"remove"', '"replace"'), 1, r"jobs\[0\]\.background: is missing"),
    (JOB.replace('effect = "remove"\n', ""), 1, r"jobs\[0\]\.effect: is missing"),
    (JOB.replace("o.mp4", "{nam}.mp4"), 4, r"only \{name\}, .* can be put in"),
    (JOB.replace("o.mp4", "{name:>99999999999}.mp4"), 4, "can be put in"),
    (JOB.replace("o.mp4", "{name.mp4"), 4, "can be put in"),
    (JOB + JOB, 8, "the output of two jobs"),
    (JOB + JOB.replace("o.mp4", "./q/../o.mp4"), 8, "the output of two jobs"),
    (JOB.replace('"remove"', '"alter"'), 1, "'alter' needs one of blur, picture, pixelate, recolour"),
    (JOB.replace('"remove"', '"alter"') + "recolour = 'red'\n", 5, "a colour is needed, such as #c02020"),
    (JOB.replace('"remove"', '"replace"') + "background = '#000000'\ntrim = '3:2'\n", 1, "a part begins at 0"),
    (JOB.replace('"remove"', '"replace"') + "background = '#000000'\nspeed = '1e9'\n", 6, "a number is needed"),
    (CLIP + "prompts = [{ scribbles = [[1, 2]] }]\n", 5, r"a point is \[x, y\]"),
    (CLIP, 1, r"jobs\[0\]\.prompts: say where the objects of a clip are"),
    (CLIP + "prompts = []\n", 5, "a list of tables is needed"),
    (CLIP + "prompts = [\n{ points = [[1, 2]] },\n{ points = [[1, 2]] }]\n", 7, "'object' is there twice on frame 0"),
    (CLIP + "prompts = [\n{ frame = 1 }]\n", 6, r"jobs\[0\]\.prompts\[0\]: say one thing"),
    (CLIP + "prompts = [\n{ frame = -1, absent = true }]\n", 6, r"prompts\[0\]\.frame: -1: a whole number"),
    (CLIP + "prompts = [\n{ points = [[1]] }]\n", 6, r"a point is \[x, y\]"),
    (CLIP + "prompts = [\n{ points = [[1, inf]] }]\n", 6, r"a point is \[x, y\]"),
    (CLIP + "prompts = [{ box = [9, 0, 1, 1] }]\n", 5, "x0 < x1"),
    (CLIP + "prompts = [{ negative = [[1, 1]] }]\n", 5, "only what the object is not"),
    (CLIP + "prompts = [{ negative_scribbles = [[[1, 1]]] }]\n", 5, "only what the object is not"),
    (CLIP + "prompts = [{ absent = true, mask = 'm.png' }]\n", 5, "say one thing"),
    (CLIP.replace("o.mp4", "x.mp4") + "prompts = [{ absent = true }]\n", 4, "is the clip of the job"),
    (
        CLIP + "prompts = [{ absent = true }]\n" + CLIP.replace("o.mp4", "p.mp4") + "prompts = [{ box = [0,0,1,1] }]\n",
        6,
        "would be kept for two different jobs",
    ),
    ("[[jobs]]\nclip = 3\n", 2, "a path, a pattern or a list"),
    ("[[jobs]]\nclip = 'a\\u0000'\n".replace("'", '"'), 2, "text is needed"),
    (JOB.replace("a.edit", "q" * 300 + "*.edit"), 2, "no project matches"),
    ("x = " + "9" * 5000 + "\n", None, "jobs.toml"),
    ("x = " + "[" * 20000 + "\n", None, "jobs.toml"),
]


@pytest.mark.parametrize(("text", "line", "words"), MISTAKES)
def test_mistakes_are_told_with_line_and_key(folder: Path, text: str, line: int | None, words: str) -> None:
    with pytest.raises(errors.ScriptError, match=words) as raised:
        read(folder, text)
    said = str(raised.value)
    assert said.startswith(str(folder / "jobs.toml"))
    assert line is None or f"line {line}" in said, said


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(errors.ScriptError, match="cannot be read"):
            read_jobs(path)
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe9'")
    with pytest.raises(errors.ScriptError, match="byte 5 is not UTF-8"):
        read_jobs(tmp_path / "latin.toml")


def test_three_hundred_mutated_files_never_raise_anything_else(folder: Path) -> None:
    chance = random.Random(5)
    refused = 0
    for _ in range(300):
        text = list(WHOLE)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            kind = chance.randrange(3)
            if kind == 0:
                del text[at : at + chance.randint(1, 12)]
            elif kind == 1:
                text.insert(at, chance.choice("[]{}=\"'#\n,.0x\u00e9\\"))
            else:
                text[at] = chance.choice("[]{}=\"'#\n,.0x-")
        try:
            read(folder, "".join(text))
        except errors.ScriptError as error:
            refused += 1
            assert "line" in str(error) or "jobs.toml: " in str(error)
    assert 50 < refused < 300


def test_lines_of_all_kinds_of_keys() -> None:
    text = 'a.b = 1\n[t]\n"c d" = """x\n[[no]]\n"""\ne = { f = [1,\n{ g = 2 }] } # h = 3\n[[l.m]]\n[[l.m]]\n\nn = 4\n'
    tomllib.loads(text)
    lines = LineIndex(text)
    assert lines.line(("a", "b")) == 1 and lines.line(("t", "c d")) == 3 and lines.line(("t", "e", "f", 1, "g")) == 7
    assert lines.line(("l", "m", 1, "n")) == 11 and lines.line(("l", "m", 0)) == 8
    assert ("h",) not in lines.lines and lines.line(("t", "unknown", "deeper")) == 2


def test_the_schema_and_the_reader_know_the_same_keys() -> None:
    assert set(SCHEMA["$defs"]["job"]["properties"]) == set(KEYS)
    assert set(SCHEMA["$defs"]["prompt"]["properties"]) == set(PROMPT_KEYS)
    assert SCHEMA["$defs"]["job"]["properties"]["effect"]["enum"] == list(EFFECTS)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    wrong = tomllib.loads(JOB + "dilat = 3\n")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)

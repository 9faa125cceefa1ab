"""Attempts on what people give: damaged videos, scripts and jobs files, and names of files."""

from __future__ import annotations

import os
import random
import resource
import shutil
from pathlib import Path

from tests.torture import damage, material
from tests.torture.box import Ended, call

MOST_MEMORY_BYTES = 8 << 30


def mutated_video(folder: Path, rng: random.Random) -> Ended:
    """A clip with damaged bytes: an error in words, or a result with every frame that can be read, at its time."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))  # a damaged size may be huge
    name = rng.choice(["ball.mp4", "ball.mp4", *material.CLIPS])
    clip, output = folder / name, folder / f"out{Path(name).suffix}"
    content, how = damage.bytes_of((material.of(folder) / name).read_bytes(), rng)
    clip.write_bytes(content)
    words: list[object] = ["remove", clip, "-o", output, "--box", material.BOX]
    if rng.random() < 0.5:
        words.append("--allow-truncated")
    called = call(*words)
    if found := called.broken() or material.left_over(folder):
        return found
    if called.status:
        if output.exists():
            return "wrong result", "failed, but an output is there", ""
        return called.ended()
    wrong = times_differ(clip, output)
    return ("wrong result", f"{name}, {how}: {wrong}", "") if wrong else called.ended()


def times_differ(clip: Path, output: Path) -> str:
    """How the frames of a result differ in number or time from its clip's; empty when they do not."""
    from tam_edit.media.probe import probe

    before, after = (probe(path, digest="", allow_truncated=True) for path in (clip, output))
    if before.frames != after.frames:
        return f"{after.frames} frames of {before.frames}"
    times = [[(pts - source.pts[0]) * source.time_base for pts in source.pts] for source in (before, after)]
    # A container may count time more coarsely than another (AVI knows one rate only): told by its warnings.
    tick = max(before.time_base, after.time_base)
    late = max(abs(one - other) for one, other in zip(*times, strict=True))
    return f"frames come up to {float(late):.4f} s beside their time" if late > tick else ""


def mutated_script(folder: Path, rng: random.Random) -> Ended:
    """An edit.json with mistakes: told with the place, or meant so; the file stays as it is."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    place = material.project(folder, "rich")
    script = place / "edit.json"
    wrong = damage.json_of(script.read_text(), rng).encode("utf-8", "surrogatepass")
    script.write_bytes(wrong)
    output = folder / "out.mp4"
    words = rng.choice(
        [
            ("remove", place, "-o", output),
            ("render", place, "-o", output),
            ("track", place),
            ("plan", place, "remove"),
            ("review", place),
            ("export", place, "--format", "davis", "-o", folder / "masks"),
        ]
    )
    called = call(*words)
    if found := called.broken() or material.left_over(folder):
        return found
    if script.read_bytes() != wrong:
        return "wrong result", f"{words[0]} wrote edit.json", ""
    if called.status == 0 and output in words and (differ := times_differ(folder / "ball.mp4", output)):
        return "wrong result", differ, ""
    return called.ended()


def mutated_jobs(folder: Path, rng: random.Random) -> Ended:
    """A jobs file with mistakes, planned or run in this process."""
    from tam_edit.batch import running
    from tests.batch.support import Hand

    running.run_here = lambda batch, prepare=None: batch.run(Hand(), batch.sort_out())
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    work = folder / "work"  # patterns such as ../*.edit find nothing of others
    work.mkdir()
    shutil.copyfile(material.of(folder) / "ball.mp4", work / "clip.mp4")
    shutil.copyfile(material.of(folder) / "ball.mp4", work / "ball.mp4")
    shutil.copytree(material.of(folder) / "ball.edit", work / "ball.edit")
    jobs = work / "jobs.toml"
    text = damage.toml_of((material.of(folder) / "jobs.toml").read_text(), rng)
    jobs.write_bytes(text.encode("utf-8", "surrogatepass"))
    called = call("batch", jobs, "--json", *rng.choice([(), ("--dry-run",)]))
    if called.broken() is None and called.status == 1 and not called.error:
        return "clean error", called.said, "jobs that failed"
    return called.broken() or called.ended()


# Names


def _long(count: int, suffix: str = "") -> str:
    return "l" * (count - len(suffix)) + suffix


NAMES = (
    "two words",
    " led by a space",
    "ends with a space ",
    "tab\there",
    "line\nbreak",
    "bell\a\x1b[31mred",
    'quote"s',
    "apostrophe's",
    "back\\slash",
    "semi;colon",
    "$HOME",
    "$(touch hurt)",
    "`id`",
    "a&b|c>d",
    "per%cent",
    "%03d",
    "%n%s",
    "star*",
    "what?",
    "[ab]",
    "{name}",
    "{0}",
    "{",
    "~",
    "~root",
    "#336699",
    "-dash",
    "--json",
    "-o",
    "-",
    "a:b",
    "file:x",
    "http:x",
    "pipe:1",
    "concat:a|b",
    "data:x",
    "subfile,,start,0,end,9,,:x",
    "ünïcödé",
    "日本語",
    "🎬🎥",
    "e\u0301",
    "\u202eright to left",
    "\u200bzero",
    "nbsp\u00a0x",
    ".hidden",
    "..dots",
    "...",
    "a.mp4.edit",
    "CON",
    "x.tar.gz",
    "blur",
    "transparent",
    "auto",
    "0",
    "none",
    "\udcff\udcfebytes",
    _long(100),
    _long(200),
    _long(240),
    _long(251),
    "é" * 120,
)

LINKS = (
    "to the clip",
    "to the project",
    "to the output's folder",
    "to nowhere",
    "to itself",
    "output to the clip",
    "hard",
)


def hostile_name(folder: Path, rng: random.Random, number: int | None = None) -> Ended:
    """A whole job where clip, project and results have this name."""
    number = int(folder.name.rpartition("-")[2]) if number is None else number
    if number % (len(NAMES) + len(LINKS)) >= len(NAMES):
        return link(folder, LINKS[number % (len(NAMES) + len(LINKS)) - len(NAMES)])
    name = NAMES[number % (len(NAMES) + len(LINKS))]
    clip, place, output = (Path(name + suffix) for suffix in (".mp4", ".edit", "-out.mp4"))
    try:
        shutil.copyfile(material.of(folder) / "ball.mp4", clip)
    except OSError as error:
        return "skipped", f"this file system has no such name: {error.strerror}", "no such name here"
    if number % 2 == 0:  # half of them by absolute paths
        clip, place, output = (folder / path for path in (clip, place, output))
    guard = ("--",) if name.startswith("-") and number % 2 else ()
    for words in (
        ("new", *guard, clip, place),
        ("mark", "--object", "ball", "--box", material.BOX, *guard, place),
        ("mark", "--object", "ball", "--frame", 9, "--point", "20,15", "--not", "80,50", *guard, place),
        ("track", *guard, place),
        ("plan", *guard, place, "remove"),
        ("remove", f"--output={output}", *guard, place),
        ("export", "--format", "coco", f"--output={output.with_suffix('.json')}", *guard, place),
        ("replace", f"--output={output.with_suffix('.mov')}", "--background", _background(folder, name), *guard, place),
        ("review", f"--sheet={output.with_suffix('.png')}", *guard, place),
        ("cache", "verify", *guard, place),
    ):
        called = call(*words)
        if called.broken() or called.status:
            words_said = f"{name!r}: {words[0]}: {called.said}"
            ended = called.broken() or called.ended()
            return ended[0], words_said, ended[2]
    # An object's name has rules of its own; whether it is taken or not, the project stays one.
    named = call("mark", f"--object={name}", "--frame", 3, "--point", "15,15", *guard, place)
    if wrong := named.broken() or material.left_over(folder) or material.wrong_bytes(folder, output):
        return wrong
    if named.status == 0:
        call("undo", *guard, place)
    return by_batch(folder, name)


def _background(folder: Path, name: str) -> Path:
    """A picture with the name."""
    import numpy as np
    from PIL import Image

    path = folder / (name[:-4] if len(os.fsencode(name)) > 200 else name)
    path = path.with_name(path.name + ".png")
    Image.fromarray(np.zeros((64, 96, 3), dtype=np.uint8)).save(path, "PNG")
    return path


def by_batch(folder: Path, name: str) -> Ended:
    """The same project named in a jobs file."""
    from tam_edit.batch import running
    from tests.batch.support import Hand

    running.run_here = lambda batch, prepare=None: batch.run(Hand(), batch.sort_out())
    by_jobs = folder / "jobs-out.mp4"
    if not name.isprintable():
        return "worked", "", ""  # a jobs file is text
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    pattern = any(sign in name for sign in "*?[")
    lines = ["[[jobs]]", 'effect = "remove"', f'output = "{by_jobs.name}"', f'project = "{quoted}.edit"']
    (folder / "jobs.toml").write_text("\n".join(lines))
    called = call("batch", folder / "jobs.toml", "--json")
    if called.status and pattern and not called.broken():
        return "clean error", called.said, "a pattern in a jobs file"
    if called.status:
        return called.broken() or ("clean error", called.said, called.error or "jobs that failed")
    return called.broken() or material.wrong_bytes(folder, by_jobs) or called.ended()


def link(folder: Path, kind: str) -> Ended:
    """Symbolic and hard links where files are meant."""
    place, clip, output = material.project(folder), folder / "ball.mp4", folder / "out.mp4"
    before = clip.read_bytes()
    if kind == "to the clip":
        clip.rename(folder / "real.mp4")
        clip.symlink_to("real.mp4")
    elif kind == "to the project":
        place.rename(folder / "real.edit")
        place.symlink_to("real.edit")
    elif kind == "to the output's folder":
        (folder / "elsewhere").mkdir()
        (folder / "link").symlink_to("elsewhere")
        output = folder / "link" / "out.mp4"
    elif kind == "to nowhere":
        clip.unlink()
        clip.symlink_to("nowhere")
        before = b""
    elif kind == "to itself":
        clip.unlink()
        clip.symlink_to("ball.mp4")
        before = b""
    elif kind == "output to the clip":
        output.symlink_to("ball.mp4")
    else:
        os.link(clip, output)
    called = call("remove", place, "-o", output)
    if before and clip.read_bytes() != before:
        return "wrong result", f"{kind}: the clip itself was overwritten", ""
    if called.broken() or called.status:
        return called.broken() or called.ended()
    return material.left_over(folder) or material.wrong_bytes(folder, output) or called.ended()

"""The house keeps its shape: arrows point downwards, heavy packages stay at home, commands are as promised."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tam_edit.cli import COMMANDS, root
from tests.support import ROOT, SHARED

# Folders of sources by the name under which they install.
TOPS = {"tam_edit": "tam_edit", "models": "tam_edit.models", "pipelines": "tam_edit.pipelines"}
SESSION = {
    "tam_edit.session",
    "tam_edit.workbench",
    "tam_edit.beginning",
    "tam_edit.sources",
    "tam_edit.saying",
    "tam_edit.making",
    "tam_edit.trusting",
    "tam_edit.exchange",
}

# For each part of the house: whom it may import. Parts side by side (models, engine, media) know nothing of each other.
BELOW = {
    "cli": {"cli", "batch", "face", "session", "pipelines", "models", "engine", "media", "core"},
    "web": {"web", "face", "session", "pipelines", "models", "engine", "media", "core"},
    "batch": {"batch", "face", "session", "pipelines", "models", "engine", "media", "core"},
    "face": {"session", "engine", "core"},
    "session": {"face", "session", "pipelines", "models", "engine", "media", "core"},
    "pipelines": {"pipelines", "models", "engine", "media", "core"},
    "engine": {"engine", "core"},
    "media": {"media", "core"},
    "models": {"models"},
    "core": {"core"},
}
# (importing file, imported module): why it may be so. Keep it tiny.
ALLOWED_ARROWS = {
    ("tam_edit/__main__.py", "tam_edit.cli"): "python -m tam_edit is the command line",
    ("tam_edit/cli/ui.py", "tam_edit.web.serve"): "the command that opens the page",
    ("tam_edit/cli/ui.py", "tam_edit.web.studio"): "the command that opens the page",
    ("tam_edit/cli/__init__.py", "tam_edit"): "the version",
}
TORCH_HOMES = ("models/xmem/", "models/e2fgvi/", "models/sam/", "models/checkpoint.py", "models/onednn.py")
HEAVY = ("torch", "cv2", "av", "scipy")


@dataclass(frozen=True)
class Import:
    """One import that happens at run time; lazy: inside a function."""

    file: str
    module: str
    lazy: bool


def sources() -> list[Path]:
    return sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))


def name_of(path: Path) -> str:
    """The module's installed name."""
    top, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([TOPS[top], *rest]).removesuffix(".__init__")


@cache
def known_modules() -> frozenset[str]:
    return frozenset(map(name_of, sources()))


@cache
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def imports() -> tuple[Import, ...]:
    found = []
    for path in sources():
        file = path.relative_to(ROOT).as_posix()
        for node, lazy in _at_run_time(_tree(path.read_text(encoding="utf-8")).body):
            if isinstance(node, ast.Import):
                found.extend(Import(file, alias.name, lazy) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = "." * node.level + (node.module or "")
                for alias in node.names:
                    # `from tam_edit.cli import running` imports a module, `from tam_edit.clip import FrameSpan` none.
                    inner = f"{start}.{alias.name}"
                    found.append(Import(file, inner if inner in known_modules() else start, lazy))
    return tuple(dict.fromkeys(found))


def _at_run_time(nodes: Iterable[ast.AST], lazy: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """Every import statement but those for type checkers only."""
    for node in nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from _at_run_time(node.orelse, lazy)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node, lazy
        else:
            inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _at_run_time(ast.iter_child_nodes(node), inside)


def part_of(module: str) -> str:
    """Which part of the house a module of tam_edit belongs to."""
    parts = module.split(".")
    if len(parts) == 1:
        return "face"
    if module in SESSION:
        return "session"
    return parts[1] if parts[1] in BELOW else "core"


def test_the_reader_of_imports_sees_what_it_should() -> None:
    text = (
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c\nclass D:\n    from e import g\n"
    )
    seen = [(ast.unparse(node), lazy) for node, lazy in _at_run_time(ast.parse(text).body)]
    assert seen == [("import b", False), ("import c", True), ("from e import g", False)]
    assert len(imports()) > 300
    assert {part_of(module) for module in known_modules()} == set(BELOW)


def test_arrows_point_downwards() -> None:
    wrong = []
    for entry in imports():
        if entry.module.split(".")[0] != "tam_edit" or (entry.file, entry.module) in ALLOWED_ARROWS:
            continue
        mine, other = part_of(name_of(ROOT / entry.file)), part_of(entry.module)
        if mine == "models" and entry.module == "tam_edit.errors":
            continue
        if other not in BELOW[mine]:
            wrong.append(f"{entry.file} ({mine}) imports {entry.module} ({other})")
    assert not wrong, "\n".join(wrong)


def test_every_allowed_exception_is_still_needed() -> None:
    there = {(entry.file, entry.module) for entry in imports()}
    assert set(ALLOWED_ARROWS) <= there, "take it off the list"


def test_modules_that_are_imported_exist() -> None:
    ours = {entry for entry in imports() if entry.module.split(".")[0] == "tam_edit"}
    assert not [entry for entry in ours if entry.module not in known_modules()]


def test_pyav_lives_in_media_only() -> None:
    homes = {entry.file for entry in imports() if entry.module.split(".")[0] == "av"}
    assert homes and not [file for file in homes if not file.startswith("tam_edit/media/")]


def test_torch_is_imported_by_networks_only_or_when_one_runs() -> None:
    eager = {
        entry.file for entry in imports() if entry.module.split(".")[0] in ("torch", "torchvision") and not entry.lazy
    }
    assert eager and not [file for file in eager if not file.startswith(TORCH_HOMES)]


def test_bare_folder_names_and_relative_imports_do_not_occur() -> None:
    assert not [entry for entry in imports() if entry.module.split(".")[0] in ("models", "pipelines", "")]


def test_packages_in_pyproject_are_those_on_disk() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    on_disk = sorted(name_of(path) for path in sources() if path.name == "__init__.py")
    assert sorted(listed) == on_disk
    folders = {path.parent for path in sources()}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_every_source_begins_with_its_reason() -> None:
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sources()}
    without = [file for file, text in texts.items() if not text.startswith('"""') or not ast.get_docstring(_tree(text))]
    assert len(texts) > 100 and not without


# The command line


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Which heavy packages a fresh interpreter holds after running code."""
    ask = f"import json, sys\n{code}\nprint('\\n' + json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    result = subprocess.run([sys.executable, "-c", ask, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_help_and_import_load_nothing_heavy() -> None:
    run_help = (
        "import tam_edit.cli\ntry:\n    tam_edit.cli.main()\nexcept SystemExit as done:\n    assert done.code == 0"
    )
    assert loaded_by(run_help, "--help") == set()
    assert loaded_by("import tam_edit, tam_edit.session, tam_edit.cli") == set()
    assert "torch" not in loaded_by("import tam_edit.models.classic")
    assert loaded_by("import cv2") == {"cv2"}, "the question itself can be answered with yes"


def commands() -> Iterator[tuple[str, ...]]:
    """Every command and subcommand."""
    for name in COMMANDS:
        command = root.get_command(click.Context(root), name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)
        yield (name,)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_of_every_command_carries_an_example(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(root, [*words, "--help"])
    assert result.exit_code == 0, result.output
    found = root.get_command(click.Context(root), words[0])
    if isinstance(found, click.Group) and len(words) == 1:
        assert all(inner in result.output for inner in found.commands)
        return
    assert f"tam-edit {' '.join(words)} " in result.output.split("Usage:")[1].partition("\n")[2]
    assert "--json" in result.output, "every command takes --json"


def contract_commands() -> set[str]:
    """The first word of every command in the contract's table."""
    text = (SHARED / "contract.md").read_text(encoding="utf-8")
    table = text.split("| command | does |")[1].split("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    return {name.split()[0] for cell in cells for name in cell.split("`")[1::2]}


@pytest.mark.skipif(not (SHARED / "contract.md").is_file(), reason="../shared/contract.md is missing")
def test_commands_of_the_contract_are_there() -> None:
    promised = contract_commands()
    assert {"new", "mark", "remove", "replace", "evaluate", "demo"} <= promised
    assert promised - set(COMMANDS) <= COMING


COMING: set[str] = set()
"""Commands of the contract that have issues of their own and are not there yet."""

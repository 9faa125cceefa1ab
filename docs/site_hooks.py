"""Pages of the site that follow from the code: every command's --help, and the examples. Read by mkdocs.yml."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Pages link to examples as files of the repository, which the site does not have.
_EXAMPLE = re.compile(r"\]\((?:\.\./)+examples/([\w.]+)\)")
_README = re.compile(r"\]\((?:\.\./)+README\.md(#[\w-]+)?\)")


def on_startup(**_: Any) -> None:
    """Lay the packages out as they install: models/ and pipelines/ are found nowhere else under their names."""
    sys.path.insert(0, str(ROOT))
    from tests.check_types import link

    link()


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for path, text in (("reference/cli.md", command_line()), ("reference/examples.md", examples())):
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to files of the repository lead to the pages that stand for them."""
    up = "../" * page.file.src_uri.count("/")
    linked = _EXAMPLE.sub(lambda found: f"]({up}reference/examples.md#{_anchor(found[1])})", markdown)
    return _README.sub(f"]({up}index.md)", linked)


def command_line() -> str:
    """What --help says of every command."""
    from tam_edit.cli import root

    parts = ["# The command line\n", _block(root, "tam-edit")]
    for name, command in _commands(root):
        parts.append(f"## {name}\n\n{_block(command, f'tam-edit {name}')}")
        for inner, below in _commands(command):
            parts.append(f"### {name} {inner}\n\n{_block(below, f'tam-edit {name} {inner}')}")
    return "\n".join(parts)


def examples() -> str:
    """The scripts and jobs files of examples/, whole."""
    parts = ["# Examples\n", "All of them run in the tests.\n"]
    for path in sorted((ROOT / "examples").iterdir()):
        if path.suffix in (".py", ".toml"):
            kind = path.suffix[1:].replace("py", "python")
            parts.append(f"## {path.name} {{#{_anchor(path.name)}}}\n\n```{kind}\n{path.read_text().strip()}\n```\n")
    return "\n".join(parts)


def _commands(group: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield name, command


def _block(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
    return f"```text\n{command.get_help(context)}\n```\n"


def _anchor(name: str) -> str:
    return name.replace(".", "-").replace("_", "-")

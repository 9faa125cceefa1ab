"""The command line: the root command, its subcommands loaded when they are called, and what errors look like."""

from __future__ import annotations

import atexit
import contextlib
import difflib
import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

import click

from tam_edit import __version__, limits
from tam_edit.errors import Cancelled, TamEditError, is_want_of_memory

# Where each subcommand lives; the modules import nothing heavy, so that --help answers at once.
COMMANDS = {
    "new": "tam_edit.cli.project:new",
    "status": "tam_edit.cli.project:status",
    "refresh": "tam_edit.cli.project:refresh",
    "mark": "tam_edit.cli.project:mark",
    "unmark": "tam_edit.cli.project:unmark",
    "rename": "tam_edit.cli.project:rename",
    "undo": "tam_edit.cli.project:undo",
    "redo": "tam_edit.cli.project:redo",
    "track": "tam_edit.cli.tracking:track",
    "review": "tam_edit.cli.tracking:review",
    "plan": "tam_edit.cli.tracking:plan",
    "remove": "tam_edit.cli.effects:remove",
    "replace": "tam_edit.cli.effects:replace",
    "alter": "tam_edit.cli.effects:alter",
    "render": "tam_edit.cli.effects:render",
    "export": "tam_edit.cli.masks:export",
    "import": "tam_edit.cli.masks:import_",
    "batch": "tam_edit.cli.batch:batch",
    "evaluate": "tam_edit.cli.evaluate:evaluate",
    "models": "tam_edit.cli.models:models",
    "cache": "tam_edit.cli.cache:cache",
    "ui": "tam_edit.cli.ui:ui",
    "demo": "tam_edit.cli.demo:demo",
}

GROUPS = frozenset({"models", "cache"})  # their commands have names of two words

STOPPED = "stopped: what is finished is kept, the next run goes on from there"

EPILOG = """\b
The whole job without a project:
  tam-edit remove clip.mp4 -o clean.mp4 --point 320,200
With a project, so that masks can be mended:
  tam-edit new clip.mp4 ball.edit
  tam-edit mark ball.edit --object ball --frame 0 --point 320,200
  tam-edit remove ball.edit -o clean.mp4
  tam-edit review ball.edit --sheet doubtful.png
"""

OUT_OF_MEMORY = "not enough memory: give less with --memory, or use a smaller clip; what is finished is kept"


class Commands(click.Group):
    """A group whose subcommands are imported only when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise AssertionError(f"{COMMANDS[cmd_name]} is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            meant = f"do you mean {close[0]!r}?" if close else "'tam-edit --help' lists all"
            raise click.UsageError(f"there is no command {args[0]!r}: {meant}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="tam-edit")
def root() -> None:
    """Remove or replace anything in a video: click an object once, get its mask through the whole clip."""


def main() -> NoReturn:
    """Run the command line and end with its exit status: 0, 1 (the work failed) or 2 (wrong usage)."""
    signal.signal(signal.SIGTERM, _terminated)
    wants_json = "--json" in sys.argv[1:]
    status = 1
    try:
        if set(sys.argv[1:]) & COMMANDS.keys() and not set(sys.argv[1:]) & {"-h", "--help"}:
            limits.check_address_space()
        outcome = root.main(standalone_mode=False, prog_name="tam-edit")
        status = outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as done:
        status = done.exit_code
    except click.ClickException as error:
        status = 2 if isinstance(error, click.UsageError) else 1
        if wants_json:
            _say_json(status, error.format_message())
        else:
            error.show()
    except TamEditError as error:
        status = error.exit_status
        _fail(wants_json, status, str(error))
        if isinstance(error, Cancelled):
            _end_by(status)
    except (KeyboardInterrupt, click.Abort):
        _fail(wants_json, status, STOPPED)
        _end_by(status)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nobody is left to be told
    except OSError as error:  # a name that is too long, a folder that may not be entered
        named = error.filename if isinstance(error.filename, str) else "a file"
        _fail(wants_json, status, f"{named}: {error.strerror or error}: check the name, its rights and the disk")
    except Exception as error:  # noqa: BLE001 - the outermost boundary: a person is told where to find the rest
        # Up to Python 3.11 an interrupt that comes while a class is made is wrapped in a RuntimeError.
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        short = is_want_of_memory(error)
        _fail(wants_json, status, STOPPED if interrupted else OUT_OF_MEMORY if short else _unforeseen(error))
        if interrupted:
            _end_by(status)
    sys.exit(status)


def _end_by(status: int) -> None:
    """See to it that this process ends by its status after an interrupt, too.

    Python remembers one that passed through exec(), as when a class is made while a module loads, and would end by the
    signal at last, although it was answered.
    """
    atexit.register(_end, status)


def _end(status: int) -> NoReturn:
    atexit.unregister(_end)
    atexit._run_exitfuncs()  # those that were to come after this one
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _terminated(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _fail(wants_json: bool, status: int, words: str) -> None:
    if wants_json:
        _say_json(status, words)
    else:
        click.echo(f"tam-edit: {words}", err=True)


def _say_json(status: int, words: str) -> None:
    click.echo(json.dumps({"command": _called(), "exit": status, "error": words}, ensure_ascii=False))


def _called() -> str:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    return " ".join(words[: 2 if words and words[0] in GROUPS else 1])


def _unforeseen(error: Exception) -> str:
    """Keep the traceback in a file and say where: our fault, and worth a report."""
    with tempfile.NamedTemporaryFile("w", prefix="tam-edit-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(error)))
    return (
        f"an error of tam-edit itself ({type(error).__name__}: {error}); the project is as it was. "
        f"Please report it with {Path(file.name)}"
    )

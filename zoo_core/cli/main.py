"""The verbs of the command ``zoo``, and how every one of them ends."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from zoo_core.__about__ import __version__
from zoo_core.cli import INTERRUPTED
from zoo_core.cli.group import Commands
from zoo_core.cli.output import COMMON_HELP, Output
from zoo_core.errors import ZooError, ZooWarning
from zoo_core.wording import printable

#: Verb -> what it does; its module is imported when it is called, so that the others cost nothing.
VERBS = {
    "search": "List the models that match.",
    "explain": "Say which models a load could take, and why each other one is refused.",
    "info": "Show what a model is, what a load of it costs and what it would run.",
    "predict": "Load a model and run it on inputs.",
    "check": "Say whether a model computes here what its author saw.",
    "download": "Fetch and verify a model's files and print their folder.",
    "lock": "Pin what models resolve to, with the sha256 of their files.",
    "sync": "Fetch exactly what a lock file pins.",
    "mirror": "Write a repository with what a lock file pins, for machines without a network.",
    "index": "Write the index of a repository on disk, with missing digests and sizes.",
    "cache": "Show, check, or make room in the cache of downloads.",
    "plugins": "List what is installed, with its state.",
}


class _Verbs(Commands):
    """The verbs of this module, and those of plugins where a name is none of them."""

    kind = "verb"

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS, *sorted(set(self._plugged()) - set(VERBS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS:
            command: click.Command = importlib.import_module(f"zoo_core.cli.{cmd_name}").command
            command.epilog = COMMON_HELP
            return command
        return self._plugged().get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            rows = [(name, VERBS.get(name) or self._plugged()[name].get_short_help_str()) for name in self.list_commands(ctx)]
            formatter.write_dl(rows)

    def _plugged(self) -> dict[str, click.Command]:
        from zoo_core.zoo import ModelZoo

        try:
            return {command.name: command for command in ModelZoo().cli_commands() if command.name}
        except ZooError:
            # A broken configuration is reported by the verb that needs it; help must still be printed.
            return {}


@click.group(
    cls=_Verbs,
    epilog=COMMON_HELP,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="zoo", message="%(prog)s %(version)s")
@click.pass_context
def command(context: click.Context, /) -> None:
    """Find, fetch, verify and run models that are published as packages."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit status; every error is one clear text on standard error.

    Args:
        arguments: Instead of ``sys.argv[1:]``.
    """
    output = Output()
    try:
        _speak_any_encoding()
        given, output = Output.taken_from(list(sys.argv[1:] if arguments is None else arguments))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", ZooWarning)
            warnings.showwarning = output.show_warning  # type: ignore[assignment]  # it takes the rest as *_
            # What a verb exits with is given back here, not raised; our verbs return nothing else.
            status = command.main(given, prog_name="zoo", standalone_mode=False, obj=output)
            if sys.stdout is not None:
                sys.stdout.flush()
        return status if type(status) is int else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _abandon_output()
        return 0
    except Exception as error:  # noqa: BLE001 - the one place where everything ends in a line and a status
        if isinstance(error, OSError) and error.filename is None:
            _abandon_output()
        return _failed(error, output)


def _speak_any_encoding() -> None:
    """What a terminal's encoding lacks is escaped, not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _abandon_output() -> None:
    """Standard output cannot be written; Python must not try it once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(error: Exception, output: Output) -> int:
    status, message = _explained(error)
    output.error(type(error).__name__, message, status)
    cause = error.__cause__
    while cause is not None and output.is_verbose:
        click.echo(f"  because of {type(cause).__name__}: {printable(str(cause))}", err=True)
        cause = cause.__cause__
    return status


def _explained(error: Exception) -> tuple[int, str]:
    match error:
        case ZooError():
            return error.exit_code, str(error)
        case click.UsageError():
            hint = f" ({error.ctx.command_path if error.ctx else 'zoo'} --help)"
            return 2, f"{error.format_message()}{hint}"
        case click.ClickException():
            return error.exit_code, error.format_message()
        case OSError():
            return 1, f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    return 1, f"{type(error).__name__}: {printable(str(error))}"


__all__: list[Any] = ["VERBS", "command", "run"]

"""How the command speaks: results on standard output, everything else on standard error, JSON where it is asked for."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any

import click

#: Options of every verb, before or after its name -> whether a value follows.
COMMON = {
    "--json": False, "--offline": False, "--refresh": False, "--quiet": False, "-q": False,
    "-v": False, "--verbose": False, "--no-progress": False, "--config": True,
}  # fmt: skip


@dataclass
class Output:
    """What the options of every verb say, and the streams.

    Attributes:
        is_json: One document on standard output and nothing else.
        is_quiet: No messages on standard error except errors.
        is_verbose: More in messages, and tracebacks below errors.
        config: The path that ``--config`` names.
        messages: What was said, for the JSON document.
    """

    is_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    is_offline: bool = False
    is_fresh: bool = False
    shows_progress: bool = True
    config: str | None = None
    messages: list[str] = field(default_factory=list)

    @classmethod
    def taken_from(cls, arguments: list[str]) -> tuple[list[str], Output]:
        """Take the options of every verb out of a command line, wherever they stand before ``--``."""
        left: list[str] = []
        given: dict[str, str] = {}
        rest = iter(arguments)
        for argument in rest:
            name, equals, value = argument.partition("=")
            if argument == "--":
                left += [argument, *rest]
            elif COMMON.get(name):
                given[name] = value if equals else next(rest, "")
            elif argument in COMMON:
                given[argument] = ""
            else:
                left.append(argument)
        return left, cls(
            is_json="--json" in given,
            is_quiet="--quiet" in given or "-q" in given,
            is_verbose="-v" in given or "--verbose" in given,
            is_offline="--offline" in given,
            is_fresh="--refresh" in given,
            shows_progress=not {"--no-progress", "--quiet", "-q", "--json"} & set(given),
            config=given.get("--config"),
        )

    @property
    def progress(self) -> bool | None:
        """What `ModelZoo` takes as ``progress``."""
        return None if self.shows_progress else False

    def line(self, text: str = "") -> None:
        """A line of the result."""
        click.echo(text)

    def document(self, content: dict[str, Any]) -> None:
        """The result as JSON."""
        click.echo(json.dumps(content, indent=2, ensure_ascii=False, default=str))

    def message(self, text: str) -> None:
        """Something that is no part of the result."""
        self.messages.append(text)
        if not self.is_quiet and not self.is_json:
            click.echo(text, err=True)

    def error(self, kind: str, message: str, status: int) -> None:
        """The reason why there is no result: its first line, and all of it with ``-v``."""
        if self.is_json:
            self.document({"error": {"type": kind, "message": message, "exit_code": status}})
        shown = message if self.is_verbose else message.partition("\n")[0]
        click.echo(f"{self.styled('error:', 'red')} {shown}", err=True)

    def show_warning(self, message: Any, *_: Any) -> None:
        """What Python's warnings call; the signature is theirs."""
        self.messages.append(str(message))
        if not self.is_quiet:
            click.echo(f"{self.styled('warning:', 'yellow')} {message}", err=True)

    def styled(self, text: str, colour: str) -> str:
        """Text for standard error, in colour where that is a terminal and ``NO_COLOR`` is not set."""
        return click.style(text, fg=colour, bold=True) if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else text

    def strong(self, text: str) -> str:
        """Text for standard output, bold likewise."""
        return click.style(text, bold=True) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text

    def table(self, rows: list[list[str]], *, is_result: bool = True) -> None:
        """Rows in columns that are as wide as their widest cell; the last is not padded."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
        for row in rows:
            first, *cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            line = "  ".join([self.strong(first) if is_result else first, *cells]).rstrip()
            (self.line if is_result else self.message)(line)

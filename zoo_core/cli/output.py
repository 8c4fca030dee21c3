"""How the command speaks: results on standard output, everything else on standard error, JSON where it is asked for."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from dataclasses import dataclass, field
from typing import Any

import click

from zoo_core.errors import CriteriaError
from zoo_core.wording import printable

#: Options of every verb, before or after its name -> whether a value follows.
COMMON = {
    "--json": False, "--offline": False, "--refresh": False, "--quiet": False, "-q": False,
    "-v": False, "--verbose": False, "--no-progress": False, "--config": True,
    "--lock": True,
}  # fmt: skip


#: What the help of every verb ends with.
COMMON_HELP = (
    "Every verb takes, before or after its name: --json (one document on standard output), --offline, "
    "--refresh (ask for indexes at once), --config FILE, --lock FILE (see only what it holds), --quiet, -v, --no-progress."
)


@dataclass
class Output:
    """What the options of every verb say, and the streams.

    Attributes:
        is_json: One document on standard output and nothing else.
        is_quiet: No messages on standard error except errors.
        is_verbose: More in messages, and tracebacks below errors.
        config: The path that ``--config`` names.
        lock: The path that ``--lock`` names.
        messages: What was said, for the JSON document.
    """

    is_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    is_offline: bool = False
    is_fresh: bool = False
    shows_progress: bool = True
    config: str | None = None
    lock: str | None = None
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
                following = value if equals else next(rest, None)
                if following is None:
                    raise CriteriaError(f"{name} needs a value: {name} FILE")
                given[name] = following
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
            lock=given.get("--lock"),
        )

    @property
    def progress(self) -> bool | None:
        """What `ModelZoo` takes as ``progress``."""
        return None if self.shows_progress else False

    def line(self, text: str = "") -> None:
        """A line of the result."""
        click.echo(escaped(text))

    def heading(self, first: str, rest: str) -> None:
        """A line of the result whose first part stands out."""
        click.echo(f"{self._strong(escaped(first))}  {escaped(rest)}".rstrip())

    def document(self, content: dict[str, Any]) -> None:
        """The result as JSON."""
        text = json.dumps(_finite(content), indent=2, ensure_ascii=False, default=str)
        # JSON escapes the control characters of ASCII by itself; a terminal obeys others too.
        click.echo(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))

    def message(self, text: str) -> None:
        """Something that is no part of the result."""
        self.messages.append(text)
        if not self.is_quiet and not self.is_json:
            click.echo(escaped(text), err=True)

    def error(self, kind: str, message: str, status: int) -> None:
        """The reason why there is no result: its first line, and all of it with ``-v``."""
        if self.is_json:
            self.document({"error": {"type": kind, "message": message, "exit_code": status}})
        self.fault(message if self.is_verbose else message.partition("\n")[0])

    def fault(self, text: str) -> None:
        """What is wrong, beside a result that says it too."""
        click.echo(f"{self._coloured('error:', 'red')} {escaped(text)}", err=True)

    def show_warning(self, message: Any, *_: Any) -> None:
        """What Python's warnings call; the signature is theirs."""
        self.messages.append(str(message))
        if not self.is_quiet:
            click.echo(f"{self._coloured('warning:', 'yellow')} {escaped(str(message))}", err=True)

    def table(self, rows: list[list[str]], *, is_result: bool = True) -> None:
        """Rows in columns that are as wide as their widest cell; the last is not padded."""
        cells = [[escaped(cell) for cell in row] for row in rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
        for row in cells:
            first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            if is_result:
                self.heading(first, "  ".join(rest))
            else:
                self.message("  ".join([first, *rest]).rstrip())

    def _coloured(self, text: str, colour: str) -> str:
        return click.style(text, fg=colour, bold=True) if _is_terminal(sys.stderr) else text

    def _strong(self, text: str) -> str:
        return click.style(text, bold=True) if _is_terminal(sys.stdout) else text


#: Control and direction characters beyond those that JSON escapes.
_UNSEEN = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def escaped(text: str) -> str:
    """Text made harmless for a terminal, line by line: everything that is printed passes here, wherever it came from."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _is_terminal(stream: Any) -> bool:
    # A closed stream is None.
    return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")


def _finite(value: Any) -> Any:
    """JSON has no word for what is no number."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value

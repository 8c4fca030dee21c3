"""``zoo cache``: what is on this machine, what of it may go, and what of it is damaged."""

from __future__ import annotations

import re

import click

from zoo_core.cli.group import Commands
from zoo_core.cli.output import COMMON_HELP, Output
from zoo_core.config import home
from zoo_core.errors import CacheError, CriteriaError, IntegrityError
from zoo_core.upkeep import Fault, Kept, Removed, Unfinished, Upkeep
from zoo_core.wording import age_text, bytes_text, listing, shown_url

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_UNITS_BYTES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@click.group("cache", cls=Commands, no_args_is_help=False, invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Show, check, or make room in the cache, where verified downloads are kept."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command.command("dir", epilog=COMMON_HELP)
@click.pass_obj
def folder(output: Output) -> None:
    """Print the folder of the cache: ZOO_HOME, else the user's own."""
    if output.is_json:
        output.document({"path": str(home())})
    else:
        output.line(str(home()))


@command.command("ls", epilog=COMMON_HELP)
@click.pass_obj
def ls(output: Output) -> None:
    """List the artifacts that are in the cache, the one that was used last first, and downloads that are not whole."""
    upkeep = Upkeep(home())
    kept, unfinished, size, catalogue = upkeep.artifacts(), upkeep.unfinished(), upkeep.size(), upkeep.catalogue_size()
    if output.is_json:
        output.document(
            {
                "path": str(upkeep.home),
                "size": size,
                "catalogue": catalogue,
                "artifacts": [item.to_dict() for item in kept],
                "unfinished": [item.to_dict() for item in unfinished],
            }
        )
        return
    output.table([_row(item) for item in kept])
    output.table([_unfinished_row(item) for item in unfinished])
    if catalogue:
        output.table([["catalogue", bytes_text(catalogue), "what is known of repositories"]])
    counts = [_count(len(kept), "artifact"), *([_count(len(unfinished), "unfinished download")] if unfinished else [])]
    output.message(f"{', '.join(counts)}, {bytes_text(size)} on the disk, in {upkeep.home}")


@command.command("rm", epilog=COMMON_HELP)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.pass_obj
def rm(output: Output, models: tuple[str, ...]) -> None:
    """Remove models, in all versions where none is given; a process that uses one keeps it."""
    upkeep = Upkeep(home())
    wanted = {item.path: item for model in models for item in upkeep.named(model)}
    done = upkeep.remove(wanted.values())
    _tell(output, done)
    if done.in_use:
        output.fault(f"not removed, as running processes use it: {listing(item.reference for item in done.in_use)}")
        click.get_current_context().exit(CacheError.exit_code)


@command.command("prune", epilog=COMMON_HELP)
@click.option(
    "--older-than", metavar="AGE", help="Remove what was not used for so long, what is known of repositories too: 30d, 12h, 2w."
)
@click.option(
    "--max-size", metavar="SIZE", help="Then remove what was used longest ago, until no more than this is left: 20GB."
)
@click.pass_obj
def prune(output: Output, older_than: str | None, max_size: str | None) -> None:
    """Make room: remove what no model needs any more, and models by age and size. What a running process uses stays."""
    done = Upkeep(home()).prune(
        older_than_s=None if older_than is None else seconds(older_than),
        max_size=None if max_size is None else byte_count(max_size),
    )
    _tell(output, done)
    if done.in_use:
        output.message(f"kept, as running processes use it: {listing(item.reference for item in done.in_use)}")


@command.command("verify", epilog=COMMON_HELP)
@click.pass_obj
def verify(output: Output) -> None:
    """Hash everything that is in the cache, and say what is not what it was when it arrived."""
    upkeep = Upkeep(home())
    faults = list(upkeep.verify())
    if output.is_json:
        output.document({"path": str(upkeep.home), "faults": [fault.to_dict() for fault in faults]})
    for fault in faults:
        output.fault(_described(fault))
    if faults:
        click.get_current_context().exit(IntegrityError.exit_code)
    if not output.is_json:
        output.line(f"{upkeep.home}: all files are what they were when they arrived")


def _row(item: Kept) -> list[str]:
    used = "in use" if item.is_in_use else f"used {age_text(item.to_dict()['age_s'])} ago"
    return [item.reference, item.owner.name, bytes_text(item.size), used, shown_url(item.owner.repository)]


def _unfinished_row(item: Unfinished) -> list[str]:
    size = bytes_text(item.size) + (f" of {bytes_text(item.total)}" if item.total is not None else "")
    return ["unfinished", size, f"last byte {age_text(item.to_dict()['age_s'])} ago", shown_url(item.url) or item.path.name]


def _described(fault: Fault) -> str:
    digests = f" (expected {fault.expected}, found {fault.found})" if fault.found else ""
    return f"{fault.path} {fault.what}{digests}"


def _tell(output: Output, done: Removed) -> None:
    if output.is_json:
        output.document(
            {
                "removed": [item.to_dict() for item in done.artifacts],
                "in_use": [item.to_dict() for item in done.in_use],
                "catalogue": done.catalogue,
                "freed": done.freed,
            }
        )
        return
    for item in done.artifacts:
        output.line(f"removed {item.reference}" + (f" {item.owner.name}" if item.owner.name else ""))
    if done.catalogue:
        output.line(f"removed {bytes_text(done.catalogue)} of the catalogue")
    output.message(f"{bytes_text(done.freed)} freed")


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def seconds(text: str) -> float:
    """An age such as 30d.

    >>> seconds("12h"), seconds("0")
    (43200.0, 0.0)

    Raises:
        CriteriaError: It is none.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([smhdw])", text.strip().lower())
    if found is None and text.strip() != "0":
        raise CriteriaError(f"--older-than {text!r}: expected an age such as 30d, 12h or 2w (s, m, h, d, w)")
    return float(found[1]) * _UNITS_S[found[2]] if found is not None else 0.0


def byte_count(text: str) -> int:
    """A size such as 20GB, in powers of 1000, or 20GiB, in powers of 1024.

    >>> byte_count("1.5kB"), byte_count("2GiB"), byte_count("0")
    (1500, 2147483648, 0)

    Raises:
        CriteriaError: It is none.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?(?:([kmgt]?)(i?)b)?", text.strip().lower())
    if found is None or (found[3] and not found[2]):
        raise CriteriaError(f"--max-size {text!r}: expected a size such as 20GB, 500MB or 2GiB")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _UNITS_BYTES[found[2] or ""])

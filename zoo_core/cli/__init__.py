"""The command ``zoo``: arguments in, calls of `ModelZoo`, text out; one module a verb."""

from __future__ import annotations


def main() -> None:
    """Run the command and exit with its status."""
    from zoo_core.cli.main import run

    raise SystemExit(run())

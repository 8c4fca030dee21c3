"""The command ``zoo``: arguments in, calls of `ModelZoo`, text out; one module a verb."""

from __future__ import annotations

#: What an interrupted command ends with.
INTERRUPTED = 130


def main() -> None:
    """Run the command and exit with its status."""
    try:
        # What is imported here takes long enough to be interrupted.
        from zoo_core.cli.main import run

        status = run()
    except KeyboardInterrupt:
        status = INTERRUPTED
    raise SystemExit(status)

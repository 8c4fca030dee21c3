"""A command that has others below it, and says which where none of them is meant."""

from __future__ import annotations

import click

from zoo_core.wording import did_you_mean


class Commands(click.Group):
    """A group that lists its commands where none of them is meant.

    Attributes:
        kind: What a command of it is called in messages.
    """

    kind = "command"

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant.

        Raises:
            UsageError: None is; the message lists them.
        """
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            names = self.list_commands(ctx)
            raise click.UsageError(
                f"there is no {self.kind} {args[0]!r}{did_you_mean(args[0], names)}. "
                f"{self.kind.capitalize()}s: {', '.join(names)}",
                ctx,
            )
        return super().resolve_command(ctx, args)

"""Groups of commands that list when nothing else is asked."""

import click


class ListByDefault(click.Group):
    """`everclass tasks` and `everclass tasks --json` are `everclass tasks list` and `everclass tasks list --json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front where no command is named and no help asked for."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)

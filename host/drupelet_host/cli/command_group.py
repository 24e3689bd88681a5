"""The command group: commands loaded when used, whole summaries, and the nearest name for one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import click

from drupelet_shared.contract.references import load_reference

# click cuts a command's summary at the terminal's width unless it is told a longer limit.
_SUMMARY_LIMIT = 500


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run or described."""

    def __init__(self, *args: object, commands_by_name: Mapping[str, str] | None = None, **settings: object) -> None:
        """Make a group.

        Args:
            args: Positional arguments of `click.Group`.
            commands_by_name: "module:attribute" of each command, in the order of the help text.
            settings: Keyword arguments of `click.Group`.
        """
        super().__init__(*args, **settings)  # type: ignore[arg-type] # handed on to click
        self._commands_by_name = dict(commands_by_name or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        """Return the commands' names in the order of a typical workflow."""
        return list(self._commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import and return a command; None if there is none of that name."""
        if cmd_name not in self._commands_by_name:
            return None
        command = load_reference(self._commands_by_name[cmd_name])
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name.

        Raises:
            click.UsageError: There is no command of that name; the message names the most similar one.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            nearest = difflib.get_close_matches(args[0], self._commands_by_name, n=1)
            if not nearest:
                raise
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {nearest[0]!r}?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with its whole summary, on as many lines as it takes."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_SUMMARY_LIMIT)) for name, command in commands if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class GroupedOption(click.Option):
    """An option that the help text lists under a heading of its own."""

    def __init__(self, *args: object, group: str, **settings: object) -> None:
        """Make an option.

        Args:
            args: Positional arguments of `click.Option`.
            group: The heading.
            settings: Keyword arguments of `click.Option`.
        """
        super().__init__(*args, **settings)  # type: ignore[arg-type] # handed on to click
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help text lists grouped options behind the others, under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a group first."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                group = parameter.group if isinstance(parameter, GroupedOption) else "Options"
                sections.setdefault(group, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)

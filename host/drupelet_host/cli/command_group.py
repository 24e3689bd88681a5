"""The command group: commands loaded when used, whole summaries, and the nearest name for one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import click

from drupelet_host.cli.help_text import examples_of, prose_of, write_examples, write_exit_codes
from drupelet_shared.contract.references import load_reference
from drupelet_shared.exit_codes import EXIT_CODES as COMMON_EXIT_CODES
from drupelet_shared.exit_codes import EXIT_CONSTRAINT, EXIT_STOPPED, EXIT_USAGE

EXIT_CODES = dict(
    sorted(
        {
            **COMMON_EXIT_CODES,
            EXIT_CONSTRAINT: "a constraint of the recipe was not met; nothing was written",
            EXIT_STOPPED: "the gate stopped a roll-out, or holds it for lack of telemetry to judge by",
        }.items()
    )
)

# Commands of the other program, which runs on the device.
_AGENT_COMMANDS = ("run", "install", "plan", "tune", "doctor")
# click cuts a command's summary at the terminal's width unless it is told a longer limit.
_SUMMARY_LIMIT = 500


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
    """A command whose help text lists grouped options behind the others, and its examples last."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write what the command does."""
        _write_prose(self, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a group first."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                group = parameter.group if isinstance(parameter, GroupedOption) else "Options"
                sections.setdefault(group, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the examples."""
        write_examples(formatter, examples_of(self.help or ""))


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run or described."""

    def __init__(
        self, *args: object, sections: Mapping[str, Mapping[str, str]] | None = None, **settings: object
    ) -> None:
        """Make a group.

        Args:
            args: Positional arguments of `click.Group`.
            sections: "module:attribute" of each command, in the order of the help text, by the heading.
            settings: Keyword arguments of `click.Group`.
        """
        super().__init__(*args, **settings)  # type: ignore[arg-type] # handed on to click
        self._sections = sections or {}
        self._commands_by_name = {name: place for part in self._sections.values() for name, place in part.items()}

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
            hint = self._hint(args[0])
            if not hint:
                raise
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx) from error

    def _hint(self, typed: str) -> str:
        if typed in _AGENT_COMMANDS:
            return f"On the device: drupelet-agent {typed}"
        nearest = difflib.get_close_matches(typed.lower(), self._commands_by_name, n=1)
        return f"Did you mean {nearest[0]!r}?" if nearest else ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options before the command; without a command print the help text and exit with wrong usage."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(EXIT_USAGE)
        if args[:1] == ["help"]:
            # As git, docker and cargo understand it.
            args = [*(name for name in args[1:2] if name != "help"), "--help"]
        return super().parse_args(ctx, args)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write what the program does."""
        _write_prose(self, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the examples and the exit codes."""
        write_examples(formatter, examples_of(self.help or ""))
        write_exit_codes(formatter, EXIT_CODES)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with its whole summary, on as many lines as it takes."""
        widest = max(map(len, self._commands_by_name), default=0)
        for heading, names in self._sections.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [
                (f"{name:<{widest}}", command.get_short_help_str(_SUMMARY_LIMIT))
                for name, command in commands
                if command
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)


def _write_prose(command: click.Command, formatter: click.HelpFormatter) -> None:
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(prose_of(command.help or ""))

"""The command lines of both programs, read from what parses them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import click

from drupelet_agent.cli.parser import make_parser
from drupelet_host.cli import cli
from drupelet_host.cli.command_group import EXIT_CODES as HOST_EXIT_CODES
from drupelet_shared.exit_codes import EXIT_CODES as AGENT_EXIT_CODES

_EXAMPLE = "Example: "


@dataclass(frozen=True, slots=True)
class Argument:
    """One option, or one positional argument."""

    names: tuple[str, ...]
    value: str = ""
    meaning: str = ""
    variable: str = ""

    @property
    def written(self) -> str:
        """As it is typed."""
        return " ".join(filter(None, (", ".join(self.names), self.value)))


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    name: str
    usage: str
    summary: str
    paragraphs: tuple[str, ...]
    arguments: tuple[Argument, ...]
    options: tuple[Argument, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A program, its commands, and what its exit codes mean."""

    name: str
    itself: Command
    commands: tuple[Command, ...]
    exit_codes: dict[int, str] = field(default_factory=dict)


def host_program() -> Program:
    """`drupelet`."""
    with click.Context(cli, info_name="drupelet", **cli.context_settings) as context:
        below = [(name, cli.get_command(context, name)) for name in cli.list_commands(context)]
        commands = tuple(
            _click_command(command, click.Context(command, info_name=name, parent=context))
            for name, command in below
            if command
        )
        return Program("drupelet", _click_command(cli, context), commands, HOST_EXIT_CODES)


def agent_program() -> Program:
    """`drupelet-agent`."""
    parser = make_parser()
    (below,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    commands = tuple(_argparse_command(command) for command in below.choices.values())
    return Program(parser.prog, _argparse_command(parser), commands, AGENT_EXIT_CODES)


def _click_command(command: click.Command, context: click.Context) -> Command:
    with context.scope(cleanup=False):
        paragraphs = [" ".join(text.split()) for text in (command.help or "").split("\n\n")]
        about = [text for text in paragraphs if not text.startswith(_EXAMPLE)]
        arguments = [_click_argument(parameter, context) for parameter in command.get_params(context)]
        return Command(
            name=context.command_path,
            usage=" ".join([context.command_path, *command.collect_usage_pieces(context)]),
            summary=about[0],
            paragraphs=tuple(about[1:]),
            arguments=tuple(made for made in arguments if not made.names[0].startswith("-")),
            options=tuple(made for made in arguments if made.names[0].startswith("-")),
            examples=tuple(text.removeprefix(_EXAMPLE) for text in paragraphs if text.startswith(_EXAMPLE)),
        )


def _click_argument(parameter: click.Parameter, context: click.Context) -> Argument:
    record = parameter.get_help_record(context)
    value = "" if getattr(parameter, "is_flag", False) else parameter.make_metavar(context)
    variable = parameter.envvar if isinstance(parameter.envvar, str) else ""
    if record is None:
        return Argument((value,), variable=variable)
    names = tuple(parameter.opts + parameter.secondary_opts)
    return Argument(names, value, record[1], variable)


def _argparse_command(parser: argparse.ArgumentParser) -> Command:
    arguments = [
        _argparse_argument(action, parser)
        for action in parser._actions  # noqa: SLF001 - argparse has no public way to its own arguments
        if not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001 - as above
    ]
    description = parser.description or ""
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return Command(
        name=parser.prog,
        usage=usage,
        summary=description[:1].upper() + description[1:],
        paragraphs=(),
        arguments=tuple(made for made in arguments if not made.names[0].startswith("-")),
        options=tuple(made for made in arguments if made.names[0].startswith("-")),
        examples=tuple(
            line.removeprefix(_EXAMPLE) for line in (parser.epilog or "").splitlines() if line.startswith(_EXAMPLE)
        ),
    )


def _argparse_argument(action: argparse.Action, parser: argparse.ArgumentParser) -> Argument:
    meaning = (action.help or "") % {"default": action.default, "prog": parser.prog}
    choices = f"{{{','.join(map(str, action.choices))}}}" if action.choices else ""
    if not action.option_strings:
        return Argument((choices or str(action.metavar or action.dest),), meaning=meaning)
    value = "" if action.nargs == 0 else choices or str(action.metavar or action.dest.upper())
    return Argument(tuple(action.option_strings), value, meaning)

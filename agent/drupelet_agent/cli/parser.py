"""The `drupelet-agent` command line: its parser and the function that runs it.

Each command imports what it needs when it runs, and `run` imports the rest without the modules that serving never uses:
this keeps the memory of the running agent small.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from drupelet_agent import __version__
from drupelet_agent.app.slim_imports import lean_imports
from drupelet_agent.cli import (
    check,
    completion,
    doctor,
    install,
    list_models,
    plan,
    rollback,
    run,
    schema,
    tune,
)
from drupelet_agent.cli.command import DEFAULT_CONFIG, Command, add_config_option
from drupelet_shared.errors import DrupeletError
from drupelet_shared.exit_codes import EXIT_CODES, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, USAGE_CODE

_COMMANDS = (run, install, list_models, plan, tune, check, rollback, doctor, schema)
# Commands of the other program, which runs where models are compiled.
_HOST_COMMANDS = ("compile", "push", "deploy", "status", "activate", "remove", "infer", "top", "inspect", "keygen")

_STDOUT = 1
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EPIPE, errno.EIO)


def main(argv: list[str] | None = None) -> int:
    """Run a command line.

    A `DrupeletError` becomes one line on standard error that ends with its code, and so does a standard output that
    cannot be written.

    Returns:
        The exit code.
    """
    if sys.stdout is None:
        # It is closed: what is written is discarded.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open as long as the process runs
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        # What is left in the buffer would fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        # A reader that closes the pipe, as `head` does, has read enough.
        if error.errno != errno.EPIPE:
            print(f"error: standard output: {error.strerror} [output_failed]", file=sys.stderr)
        return EXIT_FAILED


def _run(argv: list[str] | None) -> int:
    with lean_imports():
        # argparse loads the compressions of archives, through `shutil`.
        arguments = make_parser().parse_args(sys.argv[1:] if argv is None else argv)
    command: Command = arguments.command
    try:
        return command(arguments)
    except DrupeletError as error:
        print(f"error: {error} [{error.code}]", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps all text except examples, which are to be copied, and the list of exit codes."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "Example: " in text else super()._fill_text(text, width, indent)


class CommandLineParser(argparse.ArgumentParser):
    """A parser whose errors have the form of all others, and name the nearest command or option."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - handed on to argparse
        """Make a parser.

        Args:
            settings: Keyword arguments of `argparse.ArgumentParser`.
        """
        # An abbreviation would become ambiguous with the next version's options.
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Print how the command is used and what is wrong, and exit."""
        usage = self.format_usage().removeprefix("usage: ").strip()
        print(f"usage: {usage}\n       {self.prog} --help explains it", file=sys.stderr)
        self.exit(EXIT_USAGE, f"error: {message} [{USAGE_CODE}]\n")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override] # noqa: ANN401 - argparse's
        """Parse a command line; what no parser knows is an error of the command that was given."""
        words = list(args or ())
        if not words:
            self.print_help(sys.stderr)
            self.exit(EXIT_USAGE)
        if words[0] == "help":
            # As git, docker and cargo understand it.
            words = [*words[1:2], "--help"]
        arguments, unknown = self.parse_known_args(words, namespace)
        if unknown:
            parser: CommandLineParser = arguments.parser
            parser.error(f"no such option {unknown[0]!r}{_suggest(unknown[0], parser.options)}")
        return arguments

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401 - argparse's
        # argparse's own hides that standard output is full.
        (file or sys.stderr).write(message)

    @property
    def options(self) -> list[str]:
        """The names of the parser's options."""
        return list(self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401 - argparse's
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no public name for it
            raise argparse.ArgumentError(action, f"{value!r} is none of {', '.join(choices)}{_suggest(value, choices)}")
        hint = f"; on the workstation: drupelet {value}" if value in _HOST_COMMANDS else _suggest(value, choices)
        self.error(f"no such command {value!r}{hint or '; commands: ' + ', '.join(choices)}")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    codes = "\n".join(f"  {code:<3}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser: argparse.ArgumentParser = CommandLineParser(
        prog="drupelet-agent",
        description="Serve compiled models on this device over MQTT.",
        epilog=f"exit codes:\n{codes}\n\nExample: drupelet-agent --config /etc/drupelet/agent.toml run",
    )
    parser.add_argument(
        "--version", action="version", version=f"drupelet-agent {__version__}", help="print the version and exit"
    )
    add_config_option(parser, default=DEFAULT_CONFIG)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    completion.add(commands, parser)
    return parser


def _suggest(typed: str, names: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - only a mistake needs it

    nearest = difflib.get_close_matches(typed.lower(), list(names), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""

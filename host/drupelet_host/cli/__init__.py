"""The `drupelet` command: its subcommands, loaded when used, and its exit codes."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from drupelet_host.cli.output import print_error
from drupelet_shared.errors import DrupeletError

# 0 done; 1 refused or failed; 2 wrong usage (click's own); 3 a constraint was not met; 130 interrupted.
EXIT_FAILED = 1
EXIT_CONSTRAINT = 3
EXIT_INTERRUPTED = 130

COMMANDS = {
    "compile": "drupelet_host.cli.compile:compile_command",
    "keygen": "drupelet_host.cli.keys:keygen",
    "sign": "drupelet_host.cli.package:sign",
    "verify": "drupelet_host.cli.package:verify",
    "inspect": "drupelet_host.cli.package:inspect",
    "infer": "drupelet_host.cli.infer:infer",
    "top": "drupelet_host.cli.top:top",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run or described."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        """The commands' names, in the order of a person's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import and return one command; None where there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="drupelet", prog_name="drupelet")
def cli() -> None:
    """Compile trained networks into small signed packages and run them on a Raspberry Pi 4.

    Example: drupelet compile recipe.toml
    """


def main() -> NoReturn:
    """Run the command line; errors of ours become one line on standard error and an exit code."""
    try:
        # Outside of its standalone mode click returns the code of `ctx.exit`.
        sys.exit(cli(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except DrupeletError as error:
        print_error(error)
        sys.exit(EXIT_CONSTRAINT if error.code == "constraint_not_met" else EXIT_FAILED)

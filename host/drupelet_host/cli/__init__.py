"""The `drupelet` command: its subcommands, loaded when used, and its exit codes.

Must not be imported by any other folder.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from drupelet_host.cli.folders import settings_file
from drupelet_host.cli.output import print_error
from drupelet_shared.errors import DrupeletError

EXIT_FAILED = 1
EXIT_CONSTRAINT = 3
EXIT_INTERRUPTED = 130
EXIT_CODES = {
    0: "done",
    EXIT_FAILED: "refused or failed; the last line on standard error ends with a stable code",
    2: "wrong usage",
    EXIT_CONSTRAINT: "a constraint of the recipe was not met; nothing was written",
    EXIT_INTERRUPTED: "interrupted",
}

COMMANDS = {
    "compile": "drupelet_host.cli.compile:compile_command",
    "keygen": "drupelet_host.cli.keys:keygen",
    "sign": "drupelet_host.cli.package:sign",
    "verify": "drupelet_host.cli.package:verify",
    "inspect": "drupelet_host.cli.package:inspect",
    "push": "drupelet_host.cli.push:push",
    "deploy": "drupelet_host.cli.deploy:deploy",
    "status": "drupelet_host.cli.deploy:status",
    "list": "drupelet_host.cli.models:list_models",
    "activate": "drupelet_host.cli.models:activate",
    "rollback": "drupelet_host.cli.models:rollback",
    "remove": "drupelet_host.cli.models:remove",
    "infer": "drupelet_host.cli.infer:infer",
    "top": "drupelet_host.cli.top:top",
    "dashboard": "drupelet_host.cli.dashboard:dashboard",
    "watch": "drupelet_host.cli.watch:watch",
    "profile": "drupelet_host.cli.profile:profile",
    "schema": "drupelet_host.cli.schema:schema",
    "completion": "drupelet_host.cli.completion:completion",
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
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Compile trained networks into small signed packages and run them on a Raspberry Pi 4.

    Defaults for the options of commands that talk to devices, such as --broker, may stand in
    $XDG_CONFIG_HOME/drupelet/config.toml.

    Example: drupelet compile recipe.toml
    """
    name = ctx.invoked_subcommand or ""
    command = cli.get_command(ctx, name)
    options = {option.name or "": option for option in command.params} if command else {}
    if "broker" in options:
        ctx.default_map = {name: _defaults(options)}


def _defaults(options: Mapping[str, click.Parameter]) -> dict[str, Any]:
    from drupelet_host.cli.settings import load_settings  # noqa: PLC0415 - only commands that talk to a device need it

    # Who orders something of several devices says of which.
    single = {key for key, option in options.items() if not option.multiple}
    return {key: value for key, value in load_settings(settings_file()).items() if key in single}


def main() -> NoReturn:
    """Run the command line; errors of ours become one line on standard error and an exit code."""
    try:
        # Outside of its standalone mode click returns the code of `ctx.exit`.
        sys.exit(cli(prog_name="drupelet", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except DrupeletError as error:
        print_error(error)
        sys.exit(EXIT_CONSTRAINT if error.code == "constraint_not_met" else EXIT_FAILED)

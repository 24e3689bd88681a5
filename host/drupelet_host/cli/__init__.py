"""The `drupelet` command: its subcommands, one file each and loaded when used, and its exit codes.

Must not be imported by any other folder.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from drupelet_host.cli.command_group import LazyGroup
from drupelet_host.cli.folders import settings_file
from drupelet_host.cli.output import print_error
from drupelet_host.cli.streams import discard_standard_output, guard_standard_output
from drupelet_host.errors import OutputError
from drupelet_shared import __version__
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
    "init": "drupelet_host.cli.init:init",
    "check": "drupelet_host.cli.check:check",
    "compile": "drupelet_host.cli.compile:compile_command",
    "estimate": "drupelet_host.cli.estimate:estimate",
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


@click.group(cls=LazyGroup, commands_by_name=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="drupelet")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Compile trained networks into small signed packages and run them on a Raspberry Pi 4.

    Set defaults for the options of commands that talk to devices, such as --broker, in
    $XDG_CONFIG_HOME/drupelet/config.toml.

    Example: drupelet init network.onnx

    Example: drupelet compile recipe.toml
    """
    name = ctx.invoked_subcommand or ""
    command = cli.get_command(ctx, name)
    options = {option.name or "": option for option in command.params} if command else {}
    if "broker" in options:
        ctx.default_map = {name: _defaults(options)}


def _defaults(options: Mapping[str, click.Parameter]) -> dict[str, Any]:
    from drupelet_host.cli.settings import load_settings  # noqa: PLC0415 - only commands that talk to a device need it

    # A command for several devices takes them from the command line alone.
    single = {key for key, option in options.items() if not option.multiple}
    return {key: value for key, value in load_settings(settings_file()).items() if key in single}


def main() -> NoReturn:
    """Run the command line; an error of ours becomes one line on standard error and an exit code."""
    guard_standard_output()
    try:
        # Outside of its standalone mode click returns the code of `ctx.exit`.
        code = cli(prog_name="drupelet", standalone_mode=False) or 0
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except OutputError as error:
        discard_standard_output()
        # A reader that closes the pipe, as `head` does, has read enough.
        if not isinstance(error.__cause__, BrokenPipeError):
            print_error(error)
        code = EXIT_FAILED
    except DrupeletError as error:
        print_error(error)
        code = EXIT_CONSTRAINT if error.code == "constraint_not_met" else EXIT_FAILED
    sys.exit(code)

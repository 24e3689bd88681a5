"""The `drupelet` command: its subcommands, one file each and loaded when used, and its exit codes.

Must not be imported by any other folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from drupelet_host.cli.command_group import LazyGroup
from drupelet_host.cli.interruption import wake_at_interrupts
from drupelet_host.cli.output import print_error, print_usage_error
from drupelet_host.cli.streams import discard_standard_output, guard_standard_output
from drupelet_host.errors import OutputError, StorageError
from drupelet_shared import __version__
from drupelet_shared.errors import DrupeletError
from drupelet_shared.exit_codes import EXIT_CONSTRAINT, EXIT_FAILED, EXIT_INTERRUPTED

_SECTIONS = {
    "Make a package": {
        "init": "drupelet_host.cli.init:init",
        "check": "drupelet_host.cli.check:check",
        "compile": "drupelet_host.cli.compile:compile_command",
        "sweep": "drupelet_host.cli.sweep:sweep_command",
        "estimate": "drupelet_host.cli.estimate:estimate",
        "keygen": "drupelet_host.cli.keys:keygen",
        "sign": "drupelet_host.cli.package:sign",
        "verify": "drupelet_host.cli.package:verify",
        "inspect": "drupelet_host.cli.package:inspect",
        "diff": "drupelet_host.cli.diff:diff",
    },
    "Change what devices run": {
        "push": "drupelet_host.cli.push:push",
        "deploy": "drupelet_host.cli.deploy:deploy",
        "rollout": "drupelet_host.cli.rollout:rollout",
        "activate": "drupelet_host.cli.models:activate",
        "rollback": "drupelet_host.cli.models:rollback",
        "remove": "drupelet_host.cli.models:remove",
    },
    "See what devices run": {
        "status": "drupelet_host.cli.deploy:status",
        "list": "drupelet_host.cli.models:list_models",
        "infer": "drupelet_host.cli.infer:infer",
        "top": "drupelet_host.cli.top:top",
        "dashboard": "drupelet_host.cli.dashboard:dashboard",
        "watch": "drupelet_host.cli.watch:watch",
        "profile": "drupelet_host.cli.profile:profile",
        "export-metrics": "drupelet_host.cli.export_metrics:export_metrics",
    },
    "Set up shells and editors": {
        "schema": "drupelet_host.cli.schema:schema",
        "completion": "drupelet_host.cli.completion:completion",
    },
}
COMMANDS = tuple(name for commands in _SECTIONS.values() for name in commands)


@click.group(cls=LazyGroup, sections=_SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Settings file for commands that talk to devices, before or after the command; by default "
    "$XDG_CONFIG_HOME/drupelet/config.toml.",
)
@click.version_option(__version__, message="%(prog)s %(version)s", help="Print the version and exit.")
def cli(config: Path | None) -> None:
    """Compile trained networks into small signed packages and run them on a Raspberry Pi 4.

    Set defaults for the options of commands that talk to devices, such as --broker, in
    $XDG_CONFIG_HOME/drupelet/config.toml.

    Example: drupelet init network.onnx

    Example: drupelet compile recipe.toml

    Example: drupelet compile --help
    """


def main() -> NoReturn:
    """Run the command line; an error of ours becomes one line on standard error and an exit code."""
    guard_standard_output()
    wake_at_interrupts()
    try:
        # Outside of its standalone mode click returns the code of `ctx.exit`.
        code = cli(prog_name="drupelet", standalone_mode=False) or 0
        sys.stdout.flush()
    except click.ClickException as error:
        print_usage_error(error)
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
    except OSError as error:
        # A file or folder that no command expects to be unreadable, such as one below a folder of another user.
        where = f"{error.filename}: " if error.filename else ""
        print_error(StorageError(f"{where}{error.strerror or error}"))
        code = EXIT_FAILED
    sys.exit(code)

"""The command `install`."""

from __future__ import annotations

import argparse
from pathlib import Path

from drupelet_agent.cli.command import (
    Subparsers,
    add_command,
    add_json_option,
    describe_release,
    load_config,
    print_progress,
)
from drupelet_shared.errors import PackageError
from drupelet_shared.exit_codes import EXIT_OK


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "install",
        _install,
        summary="verify a package, measure its variants here and make it the active release",
        examples=("install digits-1.0.0.drupe",),
    )
    parser.add_argument("package", type=Path, help="the .drupe file")
    add_json_option(parser)


def _install(arguments: argparse.Namespace) -> int:
    from drupelet_agent.install.activation import install  # noqa: PLC0415 - only this command needs it

    try:
        activation = install(arguments.package, load_config(arguments), observe=print_progress)
    except PackageError as error:
        if str(arguments.package) in str(error):
            raise
        raise type(error)(f"package {arguments.package}: {error}") from error
    if arguments.json:
        print(activation.model_dump_json(indent=2))
    else:
        print(f"{describe_release(activation)} is active")
    return EXIT_OK

"""The command `rollback`."""

from __future__ import annotations

import argparse

from drupelet_agent.cli.command import (
    Subparsers,
    add_command,
    add_json_option,
    add_model_argument,
    describe_release,
    load_config,
)
from drupelet_shared.exit_codes import EXIT_OK


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "rollback",
        _roll_back,
        summary="make the release before the active one active again",
        examples=("rollback digits",),
    )
    add_model_argument(parser)
    add_json_option(parser)


def _roll_back(arguments: argparse.Namespace) -> int:
    from drupelet_agent.store.store import Store  # noqa: PLC0415 - only commands on the store need it

    with Store(load_config(arguments).state_dir).writer() as writer:
        activation = writer.roll_back(arguments.model)
    if arguments.json:
        print(activation.model_dump_json(indent=2))
    else:
        print(f"{describe_release(activation)} is active again")
    return EXIT_OK

"""The command `tune`."""

from __future__ import annotations

import argparse

from drupelet_agent.cli.command import (
    Subparsers,
    add_command,
    add_json_option,
    add_model_argument,
    describe_release,
    load_config,
    print_progress,
)
from drupelet_shared.exit_codes import EXIT_OK


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "tune",
        _tune,
        summary="measure the active release of a model again and give it the plan that follows",
        examples=("tune digits",),
    )
    add_model_argument(parser)
    add_json_option(parser)


def _tune(arguments: argparse.Namespace) -> int:
    from drupelet_agent.install.activation import tune  # noqa: PLC0415 - only this command needs it

    config = load_config(arguments)
    activation = tune(arguments.model, config, why="asked for", fresh=True, observe=print_progress)
    print(activation.plan.model_dump_json(indent=2) if arguments.json else describe_release(activation))
    return EXIT_OK

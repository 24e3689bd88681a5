"""The command `check`."""

from __future__ import annotations

import argparse
import json

from drupelet_agent.cli.command import Subparsers, add_command, add_json_option, add_model_argument, load_config
from drupelet_shared.exit_codes import EXIT_FAILED, EXIT_OK


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "check",
        _check,
        summary="compare the active release of a model with its golden vectors and its latency contract",
        examples=("check digits", "check digits --json"),
    )
    add_model_argument(parser)
    add_json_option(parser)


def _check(arguments: argparse.Namespace) -> int:
    from drupelet_agent.install.checking import check  # noqa: PLC0415 - only this command needs it

    verdict = check(arguments.model, load_config(arguments))
    if arguments.json:
        print(json.dumps(verdict.as_json(), indent=2))
    elif verdict.fault is not None:
        print(f"{verdict.model} release {verdict.release}, {verdict.variant}: {verdict.fault}")
    else:
        limit = "none" if verdict.limit_p99_ms is None else f"{verdict.limit_p99_ms:.2f} ms"
        print(
            f"{verdict.model} release {verdict.release}, {verdict.variant}: golden vectors kept, "
            f"p99 {verdict.p99_ms:.2f} ms now, {verdict.planned_p99_ms:.2f} ms in the plan, contract {limit}"
        )
    return EXIT_OK if verdict.fault is None else EXIT_FAILED

"""The command `doctor`."""

from __future__ import annotations

import argparse
import json

from drupelet_agent.cli.command import Subparsers, add_command, add_json_option, load_config
from drupelet_shared.exit_codes import EXIT_FAILED, EXIT_OK


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "doctor",
        _examine,
        summary="check this device and explain how to repair what is wrong",
        examples=("doctor", "doctor --config /etc/drupelet/agent.toml --json"),
    )
    add_json_option(parser)


def _examine(arguments: argparse.Namespace) -> int:
    from drupelet_agent.doctor import examine  # noqa: PLC0415 - only this command needs it

    findings = examine(load_config(arguments))
    if arguments.json:
        print(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    return EXIT_FAILED if any(finding.is_wrong for finding in findings) else EXIT_OK

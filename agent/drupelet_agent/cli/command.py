"""What the commands share: their exit codes, their entry in the command line and the line that describes a release."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drupelet_agent.config.agent import AgentConfig
    from drupelet_agent.install.activation import Progress
    from drupelet_agent.store.records import Activation

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
EXIT_CODES = {
    EXIT_OK: "done",
    EXIT_FAILED: "refused or failed, or `check` or `doctor` found something wrong; an error ends with a stable code",
    2: "wrong usage",
    EXIT_INTERRUPTED: "interrupted",
}

# Each command reads the configuration itself if it needs it, and returns an exit code.
Command = Callable[[argparse.Namespace], int]
Subparsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def add_command(
    commands: Subparsers[argparse.ArgumentParser],
    name: str,
    command: Command,
    *,
    summary: str,
    details: str = "",
    example: str,
) -> argparse.ArgumentParser:
    """Add a command to the command line.

    Args:
        commands: The commands so far.
        name: The name of the command.
        command: The function that runs it.
        summary: What it does, as the list of commands shows it.
        details: The rest of the first sentence of its own help.
        example: A command line that uses it.

    Returns:
        The parser of the command, to which its arguments are added.
    """
    parser = commands.add_parser(
        name, help=summary, description=f"{summary}{details}.", epilog=f"Example: drupelet-agent {example}"
    )
    parser.set_defaults(command=command)
    return parser


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that prints the result as JSON."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names an installed model."""
    parser.add_argument("model", help="the model's name")


def load_config(arguments: argparse.Namespace) -> AgentConfig:
    """Read the configuration that the command line names, and set up logging as it says.

    Raises:
        ConfigError: The configuration cannot be read or has faults.
    """
    from drupelet_agent.app.logs import set_up_logging  # noqa: PLC0415 - imported by the command that runs
    from drupelet_agent.config.loader import load_config as load  # noqa: PLC0415

    config = load(arguments.config)
    set_up_logging(config.log)
    return config


def print_progress(progress: Progress) -> None:
    """Print a stage of an installation to standard error."""
    print(f"{progress.stage}: {progress.detail}", file=sys.stderr)


def describe_release(activation: Activation) -> str:
    """Return one line that names a release and its plan."""
    plan = activation.plan
    several = f"{plan.instances} instances of " if plan.instances > 1 else ""
    return (
        f"{activation.model} {activation.version} release {activation.release}: {several}{activation.variant}, "
        f"{plan.threads} thread{'s' if plan.threads > 1 else ''}, p99 {plan.p99_ms:.2f} ms"
    )

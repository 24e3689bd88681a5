"""What the commands share: their entry in the command line and the line that describes a release."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drupelet_agent.config.agent import AgentConfig
    from drupelet_agent.install.activation import Progress
    from drupelet_agent.store.records import Activation

DEFAULT_CONFIG = Path("/etc/drupelet/agent.toml")

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
    examples: tuple[str, ...],
) -> argparse.ArgumentParser:
    """Add a command to the command line.

    Args:
        commands: The commands so far.
        name: The name of the command.
        command: The function that runs it.
        summary: What it does, as the list of commands shows it.
        details: The rest of the first sentence of its own help.
        examples: Command lines that use it, without the name of the program.

    Returns:
        The parser of the command, to which its arguments are added.
    """
    epilog = "\n".join(f"Example: drupelet-agent {example}" for example in examples)
    parser = commands.add_parser(name, help=summary, description=f"{summary}{details}.", epilog=epilog)
    # Without a default of its own, which would replace the value given before the command.
    add_config_option(parser, default=argparse.SUPPRESS)
    parser.set_defaults(command=command, parser=parser)
    return parser


def add_config_option(parser: argparse.ArgumentParser, *, default: Path | str) -> None:
    """Add the option that names the configuration, which stands before or after the command."""
    parser.add_argument(
        "--config", type=Path, default=default, metavar="FILE", help=f"configuration (default: {DEFAULT_CONFIG})"
    )


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

"""The `drupelet-agent` command: run, install, list, plan, rollback, doctor.

Each command imports what it needs when it runs, so that `run` stays small.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from drupelet_agent import __version__
from drupelet_agent.config import DEFAULT_CONFIG_PATH, AgentConfig, load_config
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_shared.errors import DrupeletError
from drupelet_shared.units import format_bytes

# 0 done; 1 refused or failed; 2 wrong usage (argparse's own); 130 interrupted.
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

Command = Callable[[AgentConfig, argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; errors of ours become one line on standard error and an exit code."""
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    try:
        config = load_config(arguments.config)
        logging.basicConfig(
            level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
        )
        return command(config, arguments)
    except DrupeletError as error:
        print(f"error: {error} [{error.code}]", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drupelet-agent",
        description="Serve compiled models on this device over MQTT.",
        epilog="Example: drupelet-agent --config /etc/drupelet/agent.toml run",
    )
    parser.add_argument("--version", action="version", version=f"drupelet-agent {__version__}")
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG_PATH, metavar="FILE", help="configuration (default: %(default)s)"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    _add(commands, "run", _run, help_text="serve the active models until SIGTERM", example="drupelet-agent run")
    install = _add(
        commands,
        "install",
        _install,
        help_text="verify a package, measure its variants here and make it the active release",
        example="drupelet-agent install digits-1.0.0.drupe",
    )
    install.add_argument("package", type=Path, help="the .drupe file")
    _add_json(install)
    listing = _add(commands, "list", _list, help_text="show the installed models", example="drupelet-agent list --json")
    _add_json(listing)
    plan = _add(
        commands, "plan", _plan, help_text="show how a model runs here, and why", example="drupelet-agent plan digits"
    )
    plan.add_argument("model", help="the model's name")
    _add_json(plan)
    rollback = _add(
        commands,
        "rollback",
        _rollback,
        help_text="make the release before the active one active again",
        example="drupelet-agent rollback digits",
    )
    rollback.add_argument("model", help="the model's name")
    doctor = _add(
        commands,
        "doctor",
        _doctor,
        help_text="say what is wrong with this device and how to mend it",
        example="drupelet-agent doctor",
    )
    _add_json(doctor)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Command,
    *,
    help_text: str,
    example: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=f"{help_text}.", epilog=f"Example: {example}")
    parser.set_defaults(command=command)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _run(config: AgentConfig, _: argparse.Namespace) -> int:
    from drupelet_agent.daemon import Daemon  # noqa: PLC0415 - see the module's docstring

    async def serve() -> None:
        await Daemon(config).run()

    asyncio.run(serve())
    return EXIT_OK


def _install(config: AgentConfig, arguments: argparse.Namespace) -> int:
    from drupelet_agent.activation import Progress, install  # noqa: PLC0415 - see the module's docstring

    def observe(progress: Progress) -> None:
        print(f"{progress.stage}: {progress.detail}", file=sys.stderr)

    activation = install(arguments.package, config, observe=observe)
    if arguments.json:
        print(activation.model_dump_json(indent=2))
    else:
        print(f"{_describe(activation)} is active")
    return EXIT_OK


def _list(config: AgentConfig, arguments: argparse.Namespace) -> int:
    store = Store(config.state_dir)
    records = {model: store.record(model) for model in store.models()}
    if arguments.json:
        print(json.dumps({model: record.model_dump(mode="json") for model, record in records.items()}, indent=2))
        return EXIT_OK
    if not records:
        print("no models are installed; `drupelet-agent install PACKAGE` installs one")
    for record in records.values():
        if record.active is not None:
            print(_describe(record.active))
        if record.previous is not None:
            print(f"  before: {record.previous.version} release {record.previous.release}")
    return EXIT_OK


def _plan(config: AgentConfig, arguments: argparse.Namespace) -> int:
    activation = Store(config.state_dir).require_active(arguments.model)
    plan = activation.plan
    if arguments.json:
        print(plan.model_dump_json(indent=2))
        return EXIT_OK
    print(_describe(activation))
    print(f"  engine {plan.engine}, {plan.instances} instance(s) of {plan.threads} thread(s), p50 {plan.p50_ms:.2f} ms")
    print(f"  holds {format_bytes(plan.footprint_bytes)} of the {format_bytes(plan.memory_budget_bytes)} it may")
    print(f"  {plan.reason}")
    return EXIT_OK


def _rollback(config: AgentConfig, arguments: argparse.Namespace) -> int:
    store = Store(config.state_dir)
    with store.lock():
        activation = store.roll_back(arguments.model)
    print(f"{_describe(activation)} is active again")
    return EXIT_OK


def _doctor(config: AgentConfig, arguments: argparse.Namespace) -> int:
    from drupelet_agent.doctor import examine  # noqa: PLC0415 - see the module's docstring

    findings = examine(config)
    if arguments.json:
        print(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
    return EXIT_FAILED if any(finding.status == "fail" for finding in findings) else EXIT_OK


def _describe(activation: Activation) -> str:
    plan = activation.plan
    return (
        f"{activation.model} {activation.version} release {activation.release}: {activation.variant}, "
        f"{plan.threads} thread{'s' if plan.threads > 1 else ''}, p99 {plan.p99_ms:.2f} ms"
    )

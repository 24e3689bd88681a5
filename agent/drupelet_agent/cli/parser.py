"""The `drupelet-agent` command: run, install, list, plan, tune, check, rollback, doctor, schema, completion.

Each command imports what it needs when it runs, and what serves is imported without what it never uses, so that `run`
stays small.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from drupelet_agent import __version__
from drupelet_agent.app.slim_imports import lean_imports
from drupelet_agent.cli.tooling import SHELLS, completion_script, config_schema_text
from drupelet_shared.errors import DrupeletError

if TYPE_CHECKING:
    from drupelet_agent.config.sections import AgentConfig
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

_DEFAULT_CONFIG = Path("/etc/drupelet/agent.toml")

Command = Callable[["AgentConfig", argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; errors of ours become one line on standard error and an exit code."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        # What shells and editors ask for needs no configuration.
        if "tool" in arguments:
            sys.stdout.write(arguments.tool(parser, arguments))
            return EXIT_OK
        with lean_imports() if arguments.command is _run else nullcontext():
            config = _load_config(arguments.config)
        command: Command = arguments.command
        return command(config, arguments)
    except DrupeletError as error:
        print(f"error: {error} [{error.code}]", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="drupelet-agent",
        description="Serve compiled models on this device over MQTT.",
        epilog="Example: drupelet-agent --config /etc/drupelet/agent.toml run",
    )
    parser.add_argument("--version", action="version", version=f"drupelet-agent {__version__}")
    parser.add_argument(
        "--config", type=Path, default=_DEFAULT_CONFIG, metavar="FILE", help="configuration (default: %(default)s)"
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
    tune = _add(
        commands,
        "tune",
        _tune,
        help_text="measure the active release of a model again and give it the plan that follows",
        example="drupelet-agent tune digits",
    )
    tune.add_argument("model", help="the model's name")
    _add_json(tune)
    check = _add(
        commands,
        "check",
        _check,
        help_text="compare the active release of a model with its golden vectors and its latency contract",
        example="drupelet-agent check digits",
    )
    check.add_argument("model", help="the model's name")
    _add_json(check)
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
        help_text="check this device and explain how to repair what is wrong",
        example="drupelet-agent doctor",
    )
    _add_json(doctor)
    _add_tools(commands)
    return parser


def _add_tools(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of the configuration",
        description="print the JSON Schema of the configuration, with which editors complete and check it.",
        epilog="Example: drupelet-agent schema > agent.schema.json",
    )
    schema.set_defaults(tool=config_schema_text)
    completion = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="print a completion script for a shell on standard output.",
        epilog="Example: drupelet-agent completion bash > /usr/share/bash-completion/completions/drupelet-agent",
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell")
    completion.set_defaults(tool=completion_script)


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


def _load_config(path: Path) -> AgentConfig:
    from drupelet_agent.app.logs import set_up_logging  # noqa: PLC0415
    from drupelet_agent.config.loader import load_config  # noqa: PLC0415 - see the module's docstring

    config = load_config(path)
    set_up_logging(config.log)
    return config


def _run(config: AgentConfig, _: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415 - see the module's docstring

    with lean_imports():
        from drupelet_agent.app.daemon import Daemon  # noqa: PLC0415

    async def serve() -> None:
        await Daemon(config).run()

    asyncio.run(serve())
    return EXIT_OK


def _install(config: AgentConfig, arguments: argparse.Namespace) -> int:
    from drupelet_agent.install.activation import install  # noqa: PLC0415 - see the module's docstring

    activation = install(arguments.package, config, observe=_show_progress)
    if arguments.json:
        print(activation.model_dump_json(indent=2))
    else:
        print(f"{_describe(activation)} is active")
    return EXIT_OK


def _tune(config: AgentConfig, arguments: argparse.Namespace) -> int:
    from drupelet_agent.install.activation import tune  # noqa: PLC0415 - see the module's docstring

    activation = tune(arguments.model, config, why="asked for", fresh=True, observe=_show_progress)
    print(activation.plan.model_dump_json(indent=2) if arguments.json else _describe(activation))
    return EXIT_OK


def _check(config: AgentConfig, arguments: argparse.Namespace) -> int:
    from drupelet_agent.install.checking import check  # noqa: PLC0415 - see the module's docstring

    verdict = check(arguments.model, config)
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


def _show_progress(progress: Progress) -> None:
    print(f"{progress.stage}: {progress.detail}", file=sys.stderr)


def _list(config: AgentConfig, arguments: argparse.Namespace) -> int:
    from drupelet_agent.store.store import Store  # noqa: PLC0415 - see the module's docstring

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
    from drupelet_agent.store.store import Store  # noqa: PLC0415 - see the module's docstring
    from drupelet_shared.units import format_bytes  # noqa: PLC0415

    store = Store(config.state_dir)
    activation = store.require_active(arguments.model)
    plan, changes = activation.plan, store.record(arguments.model).changes
    if arguments.json:
        history = [change.model_dump(mode="json") for change in changes]
        print(json.dumps({**plan.model_dump(mode="json"), "changes": history}, indent=2))
        return EXIT_OK
    print(_describe(activation))
    print(f"  engine {plan.engine}, {plan.instances} instance(s) of {plan.threads} thread(s), p50 {plan.p50_ms:.2f} ms")
    bound = f", p99 at most {plan.p99_bound_ms:.2f} ms" if plan.p99_bound_ms is not None else ""
    speed = f", {plan.throughput_per_s:.1f} inferences/s" if plan.throughput_per_s is not None else ""
    print(f"  objective {plan.objective}{bound}{speed}")
    print(f"  holds {format_bytes(plan.footprint_bytes)} of the {format_bytes(plan.memory_budget_bytes)} it may")
    print(f"  {plan.reason}")
    for change in reversed(changes):
        print(f"  {change.at:%Y-%m-%d %H:%M} {change.what} release {change.release}: {change.runs}; {change.why}")
    return EXIT_OK


def _rollback(config: AgentConfig, arguments: argparse.Namespace) -> int:
    from drupelet_agent.store.store import Store  # noqa: PLC0415 - see the module's docstring

    store = Store(config.state_dir)
    with store.writer() as writer:
        activation = writer.roll_back(arguments.model)
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
    return EXIT_FAILED if any(finding.is_wrong for finding in findings) else EXIT_OK


def _describe(activation: Activation) -> str:
    plan = activation.plan
    several = f"{plan.instances} instances of " if plan.instances > 1 else ""
    return (
        f"{activation.model} {activation.version} release {activation.release}: {several}{activation.variant}, "
        f"{plan.threads} thread{'s' if plan.threads > 1 else ''}, p99 {plan.p99_ms:.2f} ms"
    )

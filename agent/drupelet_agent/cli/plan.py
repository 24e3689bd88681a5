"""The command `plan`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from drupelet_agent.cli.command import (
    Subparsers,
    add_command,
    add_json_option,
    add_model_argument,
    describe_release,
    load_config,
)
from drupelet_shared.exit_codes import EXIT_OK

if TYPE_CHECKING:
    from drupelet_shared.contract.messages import Plan


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(
        commands, "plan", _plan, summary="show how a model runs here, and why", examples=("plan digits",)
    )
    add_model_argument(parser)
    add_json_option(parser)


def _plan(arguments: argparse.Namespace) -> int:
    from drupelet_agent.store.store import Store  # noqa: PLC0415 - only commands on the store need it

    store = Store(load_config(arguments).state_dir)
    activation = store.require_active(arguments.model)
    changes = store.record(arguments.model).changes
    if arguments.json:
        history = [change.model_dump(mode="json") for change in changes]
        print(json.dumps({**activation.plan.model_dump(mode="json"), "changes": history}, indent=2))
        return EXIT_OK
    print(describe_release(activation))
    _print_plan(activation.plan)
    for change in reversed(changes):
        print(f"  {change.at:%Y-%m-%d %H:%M} {change.what} release {change.release}: {change.runs}; {change.why}")
    return EXIT_OK


def _print_plan(plan: Plan) -> None:
    from drupelet_shared.units import format_bytes  # noqa: PLC0415 - as above

    print(f"  engine {plan.engine}, {plan.instances} instance(s) of {plan.threads} thread(s), p50 {plan.p50_ms:.2f} ms")
    bound = f", p99 at most {plan.p99_bound_ms:.2f} ms" if plan.p99_bound_ms is not None else ""
    speed = f", {plan.throughput_per_s:.1f} inferences/s" if plan.throughput_per_s is not None else ""
    print(f"  objective {plan.objective}{bound}{speed}")
    print(f"  memory {format_bytes(plan.footprint_bytes)}, of a budget of {format_bytes(plan.memory_budget_bytes)}")
    print(f"  {plan.reason}")

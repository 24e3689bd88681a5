"""The command `list`."""

from __future__ import annotations

import argparse
import json

from drupelet_agent.cli.command import Subparsers, add_command, add_json_option, describe_release, load_config
from drupelet_shared.exit_codes import EXIT_OK


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(commands, "list", _list, summary="show the installed models", examples=("list", "list --json"))
    add_json_option(parser)


def _list(arguments: argparse.Namespace) -> int:
    from drupelet_agent.store.store import Store  # noqa: PLC0415 - only commands on the store need it

    store = Store(load_config(arguments).state_dir)
    records = {model: store.record(model) for model in store.models()}
    if arguments.json:
        print(json.dumps({model: record.model_dump(mode="json") for model, record in records.items()}, indent=2))
        return EXIT_OK
    if not records:
        print("no models are installed; `drupelet-agent install PACKAGE` installs one")
    for record in records.values():
        if record.active is not None:
            print(describe_release(record.active))
        if record.previous is not None:
            print(f"  before: {record.previous.version} release {record.previous.release}")
    return EXIT_OK

"""The command `run`."""

from __future__ import annotations

import argparse

from drupelet_agent.app.slim_imports import lean_imports
from drupelet_agent.cli.command import Subparsers, add_command, load_config
from drupelet_shared.exit_codes import EXIT_OK


def add(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command."""
    add_command(
        commands,
        "run",
        _run,
        summary="serve the active models until SIGTERM",
        examples=("run", "run --config agent.toml"),
    )


def _run(arguments: argparse.Namespace) -> int:
    with lean_imports():
        import asyncio  # noqa: PLC0415 - only this command needs it, without OpenSSL

        config = load_config(arguments)
        from drupelet_agent.app.daemon import Daemon  # noqa: PLC0415 - only this command needs it

    async def serve() -> None:
        await Daemon(config).run()

    asyncio.run(serve())
    return EXIT_OK

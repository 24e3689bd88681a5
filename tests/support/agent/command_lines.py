"""One command of `drupelet-agent` in the process of the test, by the file that holds it."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

from support.agent.root_logger import restored_root_logger


def run_command(module: ModuleType, config: Path, *words: str) -> int:
    """Parse a command line that knows this command alone, run it, and return its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    module.add(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["--config", str(config), *words])
    with restored_root_logger():
        status: int = arguments.command(arguments)
        return status


def write_agent_config(folder: Path, *, extra: str = "") -> Path:
    """Return a configuration file with its state and its trusted keys in a folder."""
    path = folder / "agent.toml"
    text = f'device = "pi-test"\nstate_dir = "state"\ntrust.folder = "."\nbroker.host = "127.0.0.1"\n{extra}\n'
    path.write_text(text, encoding="utf-8")
    return path

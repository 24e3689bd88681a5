"""Measures how long a newcomer waits: from a clone to the demo, from their own model to a package, and to an answer.

All but the first are the commands of guides, as they stand on the pages; the time a person reads and types is not in
them. JSON on standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.child import BenchmarkError
from benchmarks.machine import read_machine
from support.screen.console import Done, follow, place_for, prepare
from support.screen.documentation import ROOT, read_page

GUIDES = ROOT / "shared/docs/guides"
_TRAINS, _COMPILES, _ASKS = "python train.py", "drupelet compile", "drupelet infer"
_BEGINS, _INSTALLS, _ASKS_IN_PYTHON = "drupelet init", "drupelet-agent --config agent.toml install", "python image.py"
_OURS = {"PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}

Measurement = dict[str, float]


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="first_success", description=__doc__)
    parser.add_argument("--only", action="append", choices=PIECES, help="measure this piece; may be repeated")
    arguments = parser.parse_args()
    report: dict[str, object] = {"machine": read_machine()}
    with tempfile.TemporaryDirectory(prefix="first-success-") as folder:
        for name in arguments.only or PIECES:
            print(f"{name}: measuring", file=sys.stderr)
            report[name] = {key: round(seconds, 1) for key, seconds in PIECES[name](Path(folder)).items()}
    print(json.dumps(report, indent=2))
    return 0


def clone_to_demo(folder: Path) -> Measurement:
    """Return a fresh clone, its environment from the package index and pip's cache, and the demo."""
    clone = folder / "clone"
    return {
        "clone_s": _timed("git", "clone", "--quiet", str(ROOT), str(clone)),
        "environment_s": _timed("make", "-C", str(clone), f"PYTHON={sys.executable}", "VENV=.venv", ".venv/.demo"),
        "demo_s": _timed("make", "-C", str(clone), f"PYTHON={sys.executable}", "VENV=.venv", "demo"),
    }


def model_to_answer(folder: Path) -> Measurement:
    """Return the guide to a PyTorch model: weights are there, nothing is in the cache."""
    commands = _follow("pytorch-model.md", folder)
    compiled, answered = _position(commands, _COMPILES), _position(commands, _ASKS)
    return {
        "train_s": commands[_position(commands, _TRAINS)].seconds,
        "own_model_to_package_s": commands[compiled].seconds,
        "package_to_answer_s": _seconds(commands[compiled + 1 : answered + 1]),
    }


def file_to_answer(folder: Path) -> Measurement:
    """Return the guide from an ONNX file to an answer in six commands; the device runs already."""
    commands = _follow("own-model.md", folder)
    begun, compiled, answered = (_position(commands, words) for words in (_BEGINS, _COMPILES, _ASKS))
    return {
        "commands": float(answered + 1 - begun),
        "file_to_package_s": _seconds(commands[begun : compiled + 1]),
        "package_to_answer_s": _seconds(commands[compiled + 1 : answered + 1]),
    }


def package_to_python(folder: Path) -> Measurement:
    """Return the guide to the client, from a package to the first answer in Python."""
    commands = _follow("client.md", folder)
    installed, answered = _position(commands, _INSTALLS), _position(commands, _ASKS_IN_PYTHON)
    return {"package_to_python_answer_s": _seconds(commands[installed : answered + 1])}


def _follow(guide: str, folder: Path) -> list[Done]:
    page = read_page(GUIDES / guide)
    checkout = folder / page.path.stem
    prepare(page, checkout)
    with place_for(page, checkout) as place:
        commands = list(follow(page, checkout, place=place, cache=folder / "cache"))
    wrong = [fault for done in commands for fault in done.faults]
    if wrong:
        raise BenchmarkError("; ".join(wrong))
    return commands


def _seconds(commands: list[Done]) -> float:
    return sum(done.seconds for done in commands)


def _position(commands: list[Done], words: str) -> int:
    return next(index for index, done in enumerate(commands) if done.command.text.startswith(words))


def _timed(*command: str) -> float:
    # What is measured is the clone's own, and no part of the make that may have started this.
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return time.monotonic() - start


PIECES: dict[str, Callable[[Path], Measurement]] = {
    "clone_to_demo": clone_to_demo,
    "model_to_answer": model_to_answer,
    "file_to_answer": file_to_answer,
    "package_to_python": package_to_python,
}


if __name__ == "__main__":
    sys.exit(main())

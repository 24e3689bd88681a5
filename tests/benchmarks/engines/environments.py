"""Where each runtime lives: the product's own environment, or one of its own on the host and a folder for the guest.

Versions are pinned here and not in constraints.txt: nothing but this comparison uses them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.child import BenchmarkError

ROOT = Path(__file__).resolve().parents[3]
_FOLDERS = ("tests", "host", "shared")
# Without their dependencies: numpy is all that running a model needs.
PEERS: Mapping[str, tuple[str, ...]] = {"mnn": ("MNN==3.6.1",)}
_GUEST_PYTHON, _GUEST_GLIBC, _OLDEST_GLIBC = "3.11", 36, 17


def runtime_versions() -> dict[str, str]:
    """What runs the models, by the runtime's name."""
    peers = {runtime: pins[0].partition("==")[2] for runtime, pins in PEERS.items()}
    engines = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert", "ncnn": "ncnn"}
    return {**{runtime: version(name) for runtime, name in engines.items()}, **peers}


def host_python(runtime: str, folder: Path) -> Path:
    """The interpreter that can import a runtime; its environment is made in `folder` if it is not there."""
    if runtime not in PEERS:
        return Path(sys.executable)
    environment = folder / runtime
    python, done = environment / "bin/python", environment / "done"
    pins = "\n".join(PEERS[runtime])
    if not done.is_file() or done.read_text(encoding="utf-8") != pins:
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        _pip(python, "install", "--no-deps", *PEERS[runtime], f"numpy=={version('numpy')}")
        done.write_text(pins, encoding="utf-8")
    return python


def guest_packages(runtime: str, folder: Path) -> Path | None:
    """A folder with a peer's aarch64 wheel unpacked, made if it is not there; None where the guest has the runtime."""
    if runtime not in PEERS:
        return None
    target, pin = folder / f"{runtime}-aarch64", PEERS[runtime][0]
    done = target / "done"
    if not done.is_file() or done.read_text(encoding="utf-8") != pin:
        platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(_GUEST_GLIBC, _OLDEST_GLIBC - 1, -1)]
        options = [word for platform in (*platforms, "manylinux2014_aarch64") for word in ("--platform", platform)]
        options += ["--python-version", _GUEST_PYTHON, "--implementation", "cp", "--only-binary=:all:"]
        _pip(Path(sys.executable), "install", "--no-deps", "--upgrade", "--target", str(target), *options, pin)
        done.write_text(pin, encoding="utf-8")
    return target


def run_module(python: Path, module: str, *words: object) -> None:
    """Run a module of this repository in an environment.

    Raises:
        BenchmarkError: It failed; the last thing it said is in the message.
    """
    run_tool(python, "-m", module, *words)


def run_tool(*words: object, folder: Path | None = None) -> None:
    """Run a program to its end, in a folder.

    Raises:
        BenchmarkError: It failed; the last thing it said is in the message.
    """
    result = subprocess.run(
        [str(word) for word in words], env=search_path(), cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["nothing on standard error"])[-1]
        raise BenchmarkError(f"{words[0]} {words[1]}: ended with status {result.returncode}: {last}")


def search_path() -> dict[str, str]:
    """The environment variables of a process that imports the benchmarks and the product from this checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in _FOLDERS)}


def _pip(python: Path, *words: str) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    subprocess.run(command, check=True, stdout=sys.stderr)

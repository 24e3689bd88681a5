"""Builds sdist and wheel, installs the wheel with the `agent` extra in a fresh environment, and runs the agent there.

The package, the broker and the client come from the environment that runs this script.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402 - needs the path set above

from drupelet_host.client import BrokerAddress, DeviceClient  # noqa: E402
from support.agent.agents import DEVICE, listener, write_config  # noqa: E402
from support.broker.brokers import embedded_broker  # noqa: E402
from support.package.served_packages import LABELS, make_keys, make_package  # noqa: E402

UNWANTED = ("torch", "onnx", "tensorflow", "click", "rich", "sklearn")


def main() -> None:
    """Build and check the wheel; exit with an error at the first fault."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        check_content(wheel)
        python = install(wheel, folder / "environment")
        check_imports(python)
        check_types(python, folder)
        check_manual(python)
        answer = serve_one_request(python, folder)
        print(f"wheel-check: {wheel.name} serves from an environment of its own: {answer}")


def build(folder: Path) -> Path:
    """Build the sdist, and from it the wheel."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    assert len(list(folder.glob("*.tar.gz"))) == 1, "one sdist is built"
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_content(wheel: Path) -> None:
    """Check that each package has its `py.typed`, and that the wheel holds only our packages and the man pages."""
    names = zipfile.ZipFile(wheel).namelist()
    packages = ("drupelet", "drupelet_host", "drupelet_agent", "drupelet_shared")
    missing = [package for package in packages if f"{package}/py.typed" not in names]
    assert not missing, f"no py.typed in {missing}"
    others = {name.partition("/")[0] for name in names} - set(packages)
    assert all(name.startswith("drupelet-") for name in others), others


def check_types(python: Path, folder: Path) -> None:
    """Check that mypy finds the types of the installed package, and reports an error against them."""
    script = folder / "user.py"
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--cache-dir", str(folder))
    source = (
        "from drupelet_shared.package.manifest import Manifest, parse_manifest\n\nmanifest: {} = parse_manifest(b'')\n"
    )
    script.write_text(source.format("Manifest"), encoding="utf-8")
    run(*mypy, str(script), cwd=folder)
    script.write_text(source.format("int"), encoding="utf-8")
    found = subprocess.run([*mypy, str(script)], capture_output=True, text=True, check=False, cwd=folder)
    assert 'has type "Manifest"' in found.stdout, found.stdout


def check_manual(python: Path) -> None:
    """Check that the man pages are installed where `man` looks below a prefix."""
    pages = {path.name for path in (python.parent.parent / "share/man/man1").iterdir()}
    assert pages == {"drupelet.1", "drupelet-agent.1"}, pages


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel with only the `agent` extra."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    constraints = str(ROOT / "constraints.txt")
    run(str(python), "-m", "pip", "install", "--quiet", "--constraint", constraints, f"{wheel}[agent]")
    run(str(python), "-m", "pip", "check")
    return python


def check_imports(python: Path) -> None:
    """Check that the agent's environment has no training framework and no command-line toolkit of the host."""
    script = f"import importlib.util as u, json; print(json.dumps([n for n in {UNWANTED!r} if u.find_spec(n)]))"
    present = json.loads(run(str(python), "-c", script))
    assert not present, f"[agent] installs {present}"


def serve_one_request(python: Path, folder: Path) -> str:
    """Install a package with the installed agent, run it, and send one request."""
    keys = make_keys(folder)
    package = make_package(folder, keys)
    agent = [str(python.with_name("drupelet-agent")), "--config"]
    with embedded_broker() as broker, listener(broker) as heard:
        config = write_config(folder, broker)
        keys.public.rename(folder / "trust/maker.pub")
        run(*agent, str(config), "install", str(package))
        with subprocess.Popen([*agent, str(config), "run"]) as process:
            try:
                heard.wait_for(heard.topics.model_state("digits"), health="ready")
                image = np.full((1, 1, 8, 8), 0.5, np.float32)
                with DeviceClient(DEVICE, broker=BrokerAddress(broker.host, broker.port)) as client:
                    reply = client.infer("digits", {"image": image}, timeout_s=10)
            finally:
                process.terminate()
        assert process.returncode == 0, f"the agent ended with {process.returncode}"
    scores = reply.outputs["scores"]
    assert scores.shape == (1, len(LABELS)), scores.shape
    return f"scores {scores.shape}"


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command and return its standard output; exit with its output if it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout


if __name__ == "__main__":
    main()

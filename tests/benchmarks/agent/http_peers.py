"""MLServer and LitServe, each in an environment of its own, asked over HTTP as their users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.child import BenchmarkError
from drupelet_host.demo.broker import LOOPBACK, free_port

_PEERS = Path(__file__).resolve().parent / "peers"
ENVIRONMENTS = Path(__file__).resolve().parents[3] / ".venv" / "bench"
_INSTALL_TIMEOUT_S = 600.0
_START_TIMEOUT_S = 60.0
# uvloop 0.22 removed what MLServer 1.7 calls at its start.
_REQUIREMENTS = {
    "mlserver": ("mlserver==1.7.*", "uvloop<0.22", "onnxruntime"),
    "litserve": ("litserve", "onnxruntime", "numpy"),
}


@dataclass(slots=True)
class HttpPeer:
    """A running server: where it answers, and its first process."""

    name: str
    port: int
    path: str
    pid: int
    connection: HTTPConnection

    def ask(self, body: bytes) -> float:
        """Return one request over a connection that is kept; the milliseconds until its reply is whole."""
        try:
            return self._post(body)
        except (OSError, HTTPException):
            # Servers close what was idle for some seconds, as it is while others have their turn.
            self.connection.close()
            return self._post(body)

    def _post(self, body: bytes) -> float:
        start_s = time.monotonic()
        self.connection.request("POST", self.path, body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        elapsed_ms = (time.monotonic() - start_s) * 1e3
        if response.status != 200:
            raise BenchmarkError(f"{self.name}: answered {response.status}: {answer[:200]!r}")
        return elapsed_ms


def make_environment(name: str) -> Path:
    """Return the interpreter of a peer's environment, installed if it is not there yet.

    Raises:
        BenchmarkError: A package cannot be installed.
    """
    folder = ENVIRONMENTS / name
    python, done = folder / "bin" / "python", folder / ".done"
    if not done.exists():
        _run(name, [sys.executable, "-m", "venv", str(folder)])
        _run(name, [str(python), "-m", "pip", "install", "--quiet", *_REQUIREMENTS[name]])
        done.touch()
    return python


@contextmanager
def mlserver(folder: Path, model: Path) -> Iterator[HttpPeer]:
    """MLServer with its defaults, serving one ONNX file."""
    python = make_environment("mlserver")
    port = free_port()
    folder.mkdir()
    settings = {"host": LOOPBACK, "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    described = {"name": "bench", "implementation": "mlserver_model.OnnxModel"}
    (folder / "model-settings.json").write_text(json.dumps(described), encoding="utf-8")
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    with _serving(
        "mlserver",
        command,
        folder=folder,
        model=model,
        port=port,
        path="/v2/models/bench/infer",
        ready_path="/v2/models/bench/ready",
    ) as peer:
        yield peer


@contextmanager
def litserve(folder: Path, model: Path) -> Iterator[HttpPeer]:
    """LitServe with its defaults on the CPU, serving one ONNX file."""
    python = make_environment("litserve")
    port = free_port()
    folder.mkdir()
    command = [str(python), str(_PEERS / "litserve_server.py"), str(model), str(port)]
    with _serving(
        "litserve", command, folder=folder, model=model, port=port, path="/predict", ready_path="/health"
    ) as peer:
        yield peer


@contextmanager
def _serving(
    name: str, command: list[str], *, folder: Path, model: Path, port: int, path: str, ready_path: str
) -> Iterator[HttpPeer]:
    environment = {**os.environ, "BENCH_MODEL": str(model), "PYTHONPATH": str(_PEERS)}
    environment["PATH"] = f"{Path(command[0]).parent}:{environment['PATH']}"
    log = folder / "server.log"
    with (
        log.open("wb") as output,
        # A session of its own, so that its workers can be ended with it.
        subprocess.Popen(
            command, stdout=output, stderr=output, cwd=folder, env=environment, start_new_session=True
        ) as process,
    ):
        try:
            _wait_until_ready(name, process, port, ready_path, log)
            connection = HTTPConnection(LOOPBACK, port, timeout=60)
            yield HttpPeer(name=name, port=port, path=path, pid=process.pid, connection=connection)
            connection.close()
        finally:
            os.killpg(process.pid, 9)


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        connection = HTTPConnection(LOOPBACK, port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise BenchmarkError(f"{name} is not ready: {log.read_text(errors='replace')[-500:]}")


def _run(name: str, command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"{name} environment: {' '.join(command)}: {getattr(error, 'stderr', '')}") from error

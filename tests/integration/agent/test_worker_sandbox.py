"""What a worker process cannot do any more once it reads packages and requests."""

from __future__ import annotations

import logging
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from drupelet_agent.serving.workers.protocol import CheckGolden, GoldenPassed, Ready, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess, expect
from drupelet_shared.package.reading import unpack_package
from support.package.served_packages import LITERT_VARIANT, NCNN_VARIANT, VARIANT, make_package

# A thread of the worker's own process that was there before the sandbox, as an attacker's might be: it waits for the
# sandbox and then tries everything.
HOSTILE_THREAD = r"""
import os, socket, sys, threading, time

def attempt(name, action):
    try:
        action()
        print("DONE", name, file=sys.stderr, flush=True)
    except OSError as error:
        print("REFUSED", name, error.errno, file=sys.stderr, flush=True)

def attack():
    while "Seccomp:\t2" not in open("/proc/self/status").read():
        time.sleep(0.01)
    attempt("tcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    attempt("udp6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    attempt("unix", lambda: socket.socket(socket.AF_UNIX))
    attempt("raw", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    attempt("pair", socket.socketpair)
    attempt("execute", lambda: os.execv("/bin/true", ["true"]))
    attempt("kill", lambda: os.kill(os.getppid(), 0))
    print("END", file=sys.stderr, flush=True)

if "drupelet_agent.worker" in sys.orig_argv:
    threading.Thread(target=attack, daemon=True).start()
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    archive = make_package(folder, None, variants=(VARIANT, LITERT_VARIANT, NCNN_VARIANT))
    unpack_package(archive, folder / "unpacked", trusted_keys=None)
    return folder / "unpacked"


def spec(package: Path, variant: str = VARIANT) -> WorkerSpec:
    return WorkerSpec(package_folder=str(package), variant=variant, threads=2, memory_limit_bytes=0, slot_bytes=4096)


@pytest.fixture
def worker(package: Path) -> Iterator[WorkerProcess]:
    with closing(WorkerProcess(spec(package))) as process:
        expect(process, Ready, timeout_s=60)
        yield process


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def has_landlock() -> bool:
    """Whether a child of ours can take files from itself."""
    script = "import sys; sys.path[:] = {!r}; from drupelet_agent.worker.landlock import restrict_files as f; f([])"
    return (
        subprocess.run([sys.executable, "-c", script.format(sys.path)], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize("variant", [VARIANT, LITERT_VARIANT, NCNN_VARIANT])
def test_every_engine_loads_and_answers_inside_the_sandbox(package: Path, variant: str) -> None:
    with closing(WorkerProcess(spec(package, variant))) as worker:
        expect(worker, Ready, timeout_s=60)
        worker.send(CheckGolden())
        assert expect(worker, GoldenPassed, timeout_s=60).difference < 1e-4


def test_the_kernel_says_that_privileges_and_system_calls_are_given_up(worker: WorkerProcess) -> None:
    found = status(worker.pid)
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert resource.prlimit(worker.pid, resource.RLIMIT_CORE) == (0, 0)
    assert max(resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)) <= 128


def test_a_worker_holds_no_descriptor_but_its_streams_and_its_channel(package: Path) -> None:
    with (package / "manifest.json").open("rb") as secret:
        os.set_inheritable(secret.fileno(), True)  # noqa: FBT003 - its signature
        with closing(WorkerProcess(spec(package))) as worker:
            expect(worker, Ready, timeout_s=60)
            files = {path.name: str(path.readlink()) for path in Path(f"/proc/{worker.pid}/fd").iterdir()}
    assert files.pop("0") == files.pop("1") == "/dev/null"
    del files["2"]
    # The socket, and the slots, which a mapping keeps open.
    assert sorted(name.partition(":")[0] for name in files.values()) == ["/memfd", "socket"]


def test_nothing_of_the_agents_environment_but_what_python_needs_reaches_a_worker(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/drupelet")
    monkeypatch.setenv("BROKER_PASSWORD", "hunter2")
    with closing(WorkerProcess(spec(package))) as worker:
        expect(worker, Ready, timeout_s=60)
        words = Path(f"/proc/{worker.pid}/environ").read_text(encoding="utf-8")
    assert "CREDENTIALS" not in words
    assert "hunter2" not in words
    assert "OPENBLAS_NUM_THREADS=1" in words


def test_a_worker_cannot_reach_network_programs_or_other_processes_even_from_older_threads(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOSTILE_THREAD, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    heard = ""
    with closing(WorkerProcess(spec(package))) as worker:
        expect(worker, Ready, timeout_s=60)
        deadline = time.monotonic() + 30
        while "END" not in heard and time.monotonic() < deadline:
            heard += capfd.readouterr().err
            time.sleep(0.05)
    results = re.findall(r"^(DONE|REFUSED) (\w+)(?: (\d+))?$", heard, re.MULTILINE)
    names = ("tcp", "udp6", "unix", "raw", "pair", "execute", "kill")
    assert results == [("REFUSED", name, "1") for name in names], heard


@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")
def test_a_process_under_landlock_reads_what_it_was_left_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    for name in ("open/model", "secret"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    script = f"""
import sys
from pathlib import Path
from drupelet_agent.worker.landlock import restrict_files
folder = Path({str(tmp_path)!r})
restrict_files([folder / "open", Path("/no/such/path")])
assert (folder / "open/model").read_text() == "open/model"
for action in (
    lambda: (folder / "secret").read_text(),
    lambda: (folder / "open/model").write_text("x"),
    lambda: (folder / "open/other").touch(),
    lambda: (folder / "open/model").unlink(),
):
    try:
        action()
    except PermissionError:
        continue
    sys.exit("not refused")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")
def test_a_folder_that_may_be_written_takes_plain_files_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    script = f"""
import sys
from pathlib import Path
from drupelet_agent.worker.landlock import restrict_files
folder = Path({str(tmp_path)!r})
restrict_files([], writable=folder / "out")
(folder / "out/profile").write_text("x")
(folder / "out/profile").write_text("shorter, written again")
for action in (
    lambda: (folder / "secret").read_text(),
    lambda: (folder / "beside").write_text("x"),
    lambda: (folder / "out/link").symlink_to(folder / "secret"),
    lambda: (folder / "out/folder").mkdir(),
):
    try:
        action()
    except PermissionError:
        continue
    sys.exit("not refused")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_kernel_that_refuses_a_protection_leaves_a_line_in_the_log(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A hard limit of open files above ours cannot be refused, so a machine without a filter stands for such kernels.
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.machine = lambda: 'vax'\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with caplog.at_level(logging.WARNING), closing(WorkerProcess(spec(package))) as worker:
        expect(worker, Ready, timeout_s=60)
        assert status(worker.pid)["Seccomp"] in {"0", status(os.getpid())["Seccomp"]}
    (line,) = [record.getMessage() for record in caplog.records if "sandbox" in record.message]
    assert "refused=" in line
    assert "system_call_filter" in line


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="another machine's calls")
def test_this_machines_filter_is_complete(worker: WorkerProcess) -> None:
    assert status(worker.pid)["Seccomp_filters"] >= "1"

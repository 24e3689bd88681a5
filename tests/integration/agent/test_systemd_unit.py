"""The service unit, as systemd's own tools and a real worker see it."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from drupelet_shared.package.reading import unpack_package
from support.agent.restricted_worker import answer_under_restriction, kernel_can_refuse_writable_code
from support.package.served_packages import LITERT_VARIANT, VARIANT, make_package

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "systemd/drupelet-agent.service"
BACKOFF = ROOT / "systemd/50-backoff.conf"
# `systemd-analyze` counts in tenths: 2.0.
THRESHOLD = 20


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed: apt install systemd")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a command that exists on this machine."""
    path = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    command = "ExecStart=/opt/drupelet/current/bin/python"
    assert command in text
    path.write_text(text.replace(command, f"ExecStart={sys.executable}"), encoding="utf-8")
    return path


def security(analyze: str, unit: Path) -> tuple[int, float]:
    command = [analyze, "security", "--offline=yes", "--no-pager", f"--threshold={THRESHOLD}", str(unit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for \S+: ([0-9.]+)", result.stdout)
    assert found is not None, result.stderr
    return result.returncode, float(found[1])


def test_systemd_finds_nothing_to_warn_of(analyze: str, installed: Path) -> None:
    command = [analyze, "verify", "--recursive-errors=no", str(installed)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_exposure_is_at_most_two(analyze: str, installed: Path) -> None:
    status, exposure = security(analyze, installed)
    assert status == 0
    assert exposure <= THRESHOLD / 10


def test_the_exposure_check_notices_a_sandbox_that_is_gone(analyze: str, installed: Path) -> None:
    text = installed.read_text(encoding="utf-8")
    without = [line for line in text.splitlines() if not line.startswith(("CapabilityBounding", "SystemCallFilter"))]
    installed.write_text("\n".join(without), encoding="utf-8")
    status, exposure = security(analyze, installed)
    assert status != 0
    assert exposure > THRESHOLD / 10


def test_growing_pauses_stand_where_an_older_systemd_does_not_read_them() -> None:
    assert "RestartSteps=6\nRestartMaxDelaySec=60s\n" in BACKOFF.read_text(encoding="utf-8")
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.startswith(("RestartSteps", "RestartMaxDelaySec"))]


def test_the_agent_can_see_its_workers_and_the_machine() -> None:
    # A worker that is not dumpable is root's in /proc, and hidden from the agent by any stricter setting.
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    assert "ProtectProc=default" in lines
    assert "ProcSubset=all" in lines


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    archive = make_package(folder, None, variants=(VARIANT, LITERT_VARIANT))
    unpack_package(archive, folder / "unpacked", trusted_keys=None)
    return folder / "unpacked"


@pytest.mark.parametrize("variant", [VARIANT, LITERT_VARIANT])
def test_the_engines_do_without_memory_that_is_writable_and_executable(package: Path, variant: str) -> None:
    if not kernel_can_refuse_writable_code():
        pytest.skip("this kernel has no PR_SET_MDWE: it came with Linux 6.3")
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert processes.submit(answer_under_restriction, package, variant).result(timeout=90) < 1e-4

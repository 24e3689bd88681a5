"""What the checks on a whole emulated machine are made of; `make emulator` runs them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from emulated.machine.delivery import stage_of
from emulated.machine.report import Report, Row
from emulated.machine.wheelhouse import PYTHON, make_broken

TESTS = Path(__file__).resolve().parents[1]


def test_the_command_says_what_it_does() -> None:
    command = [sys.executable, "-m", "emulated.machine", "--help"]
    result = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "--resume" in result.stdout


def test_a_report_is_what_the_run_before_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = (Report(tmp_path / "result.json") for _ in range(2))
    before.add(Row(name="it_boots", ok=True, seen="a | b", seconds=1.5))
    before.add(Row(name="it_serves", ok=False, seen="nothing", seconds=2.0))
    assert capsys.readouterr().out == "ok    it boots (2 s): a | b\nFAIL  it serves (2 s): nothing\n"
    after.load()
    assert after.rows == before.rows
    assert not after.ok
    assert "| it boots | a / b | 2 s |\n| it serves | **failed**: nothing | 2 s |" in after.table()


def test_only_the_devices_own_words_are_stages() -> None:
    assert stage_of("pi4-emulated  golden_check: ort-fp32 keeps its golden vectors\n") == "golden_check"
    assert not stage_of("pi4-emulated ━━━━ 5.4/5.4 kB ?\n")
    assert not stage_of("error: device 'pi4-emulated': verified: no\n")


def test_the_broken_agent_says_its_version_and_does_not_run(tmp_path: Path) -> None:
    pip = tmp_path / "pip-0-py3-none-any.whl"
    pip.touch()
    folder = tmp_path / "broken"
    make_broken(folder, pip=pip)
    (wheel,) = folder.glob("drupelet-*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert digest in (folder / f"requirements-{PYTHON}.txt").read_text(encoding="utf-8")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    code = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('drupelet_agent', alter_sys=True)"
    for words, status in ((["--version"], 0), (["run"], 1)):
        command = [sys.executable, "-I", "-c", code, str(wheel), *words]
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == status

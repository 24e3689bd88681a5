"""The installer and the wheelhouse, run for real in a throw-away root folder."""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
SCRIPTS = (
    "deploy/install.sh",
    "deploy/wheelhouse",
    "deploy/mosquitto/make-ca",
    "systemd/drupelet-agent",
    ".ci/run",
    *(
        f"deploy/emulator/{name}"
        for name in ("prepare", "prepare-machine", "common.sh", "machine/init", "pi4-overlay", "python")
    ),
)
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: apt install shellcheck")
    result = subprocess.run([shellcheck, str(DEPLOY.parent / script)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels for this machine's own Python, downloaded as for a device."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    command = [str(DEPLOY / "wheelhouse"), "--engine", "onnxruntime", "--machine", platform.machine()]
    command += ["--python", PYTHON_VERSION, "--with", sys.executable, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert re.search(r"MB in \d+ wheels", result.stdout), result.stdout
    return folder


def install(wheelhouse: Path, root: Path, *words: str, python: str | Path = sys.executable) -> str:
    """Run the wheelhouse's own copy of the installer; what it said."""
    result = attempt(wheelhouse, root, *words, python=python)
    assert result.returncode == 0, result.stderr
    return result.stdout


def attempt(
    wheelhouse: Path, root: Path, *words: str, python: str | Path = sys.executable
) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(wheelhouse / "install.sh"), "--root", str(root), "--python", os.path.realpath(python), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def first_root(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0:
        pytest.skip("the installer needs root")
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("systemd-sysusers is not installed: apt install systemd")
    root = tmp_path_factory.mktemp("root")
    install(wheelhouse, root)
    return root


@pytest.fixture
def root(first_root: Path, tmp_path: Path) -> Path:
    """A system on which the agent was installed once; the test's own, by hard links."""
    subprocess.run(["cp", "-al", str(first_root), str(tmp_path / "root")], check=True)
    return tmp_path / "root"


@pytest.fixture
def newer(wheelhouse: Path, tmp_path: Path) -> Path:
    """A wheelhouse that pins something else, and so is another version."""
    folder = tmp_path / "newer"
    shutil.copytree(wheelhouse, folder, copy_function=os.link)
    pins = folder / f"requirements-{PYTHON_VERSION}.txt"
    text = pins.read_text(encoding="utf-8")
    pins.unlink()
    pins.write_text(text + "# a later list\n", encoding="utf-8")
    sums = folder / "SHA256SUMS"
    lines = [line for line in sums.read_text(encoding="utf-8").splitlines() if not line.endswith(pins.name)]
    digest = subprocess.run(["sha256sum", f"./{pins.name}"], cwd=folder, capture_output=True, text=True, check=True)
    sums.unlink()
    sums.write_text("\n".join([*lines, digest.stdout.strip(), ""]), encoding="utf-8")
    return folder


def version_under(root: Path, link: str = "current") -> str:
    return str((root / "opt/drupelet" / link).readlink())


def versions(root: Path) -> set[str]:
    return {f"versions/{path.name}" for path in (root / "opt/drupelet/versions").iterdir()}


def state_of(root: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(root)): (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_mode)
        for path in root.rglob("*")
        if "__pycache__" not in path.parts
    }


def run_agent(root: Path, link: str = "current") -> str:
    command = [str(root / "opt/drupelet" / link / "bin/python"), "-P", "-m", "drupelet_agent", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout


pytestmark = pytest.mark.timeout(400)


@pytest.mark.slow
def test_a_wheelhouse_holds_wheels_alone_and_pins_each_by_its_digest(wheelhouse: Path) -> None:
    pins = (wheelhouse / f"requirements-{PYTHON_VERSION}.txt").read_text(encoding="utf-8").splitlines()
    wheels = list(wheelhouse.glob("*.whl"))
    # pip itself is the tool and not installed.
    assert len(pins) == len(wheels) - 1 > 10
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", pin) for pin in pins)
    assert not list(wheelhouse.glob("*.tar.gz"))
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=wheelhouse, check=True)


@pytest.mark.slow
def test_what_is_installed_runs_and_is_enabled_and_owned_as_it_should_be(root: Path) -> None:
    assert run_agent(root).startswith("drupelet-agent ")
    assert (root / "etc/systemd/system/multi-user.target.wants/drupelet-agent.service").resolve() == (
        root / "etc/systemd/system/drupelet-agent.service"
    )
    owner = re.search(r"^drupelet:[^:]*:(\d+):", (root / "etc/passwd").read_text(encoding="utf-8"), re.MULTILINE)
    assert owner is not None
    store, credentials = (root / "var/lib/drupelet").stat(), (root / "etc/drupelet/credentials").stat()
    assert (store.st_uid, stat.S_IMODE(store.st_mode)) == (int(owner[1]), 0o700)
    assert (credentials.st_uid, stat.S_IMODE(credentials.st_mode)) == (0, 0o700)


@pytest.mark.slow
def test_the_installed_configuration_is_one_the_agent_takes(root: Path) -> None:
    python = root / "opt/drupelet/current/bin/python"
    code = "import sys, pathlib, drupelet_agent.config.loader as c; c.load_config(pathlib.Path(sys.argv[1]))"
    subprocess.run([python, "-P", "-c", code, root / "etc/drupelet/agent.toml"], check=True, cwd=root)


@pytest.mark.slow
def test_a_second_run_changes_nothing(wheelhouse: Path, root: Path) -> None:
    before = state_of(root)
    assert "nothing to do" in install(wheelhouse, root)
    assert state_of(root) == before


@pytest.mark.slow
def test_a_dry_run_says_what_it_would_do_and_does_nothing(newer: Path, root: Path, tmp_path: Path) -> None:
    before = state_of(root)
    said = install(newer, root, "--dry-run")
    assert "would install drupelet" in said
    assert said.endswith("install: nothing was done\n")
    assert state_of(root) == before
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "would run: install" in install(newer, empty, "--dry-run")
    assert not list(empty.iterdir())


@pytest.mark.slow
def test_an_upgrade_keeps_the_version_before_and_what_a_person_has_changed(newer: Path, root: Path) -> None:
    old = version_under(root)
    abandoned = root / "opt/drupelet/versions/0.0.1-00000000"
    abandoned.mkdir()
    config = root / "etc/drupelet/agent.toml"
    config.unlink()
    config.write_text('device = "mine"\n', encoding="utf-8")
    install(newer, root)
    new = version_under(root)
    assert new != old
    assert version_under(root, "previous") == old
    assert versions(root) == {old, new}
    assert config.read_text(encoding="utf-8") == 'device = "mine"\n'
    assert run_agent(root) == run_agent(root, "previous")

    install(newer, root, "--rollback")
    assert (version_under(root), version_under(root, "previous")) == (old, new)
    install(newer, root, "--rollback")
    assert (version_under(root), version_under(root, "previous")) == (new, old)


@pytest.mark.slow
def test_a_damaged_wheelhouse_is_refused_and_the_version_that_runs_stays(newer: Path, root: Path) -> None:
    before, old = versions(root), version_under(root)
    wheel = next(newer.glob("pydantic-*.whl"))
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.unlink()
    wheel.write_bytes(data)
    result = attempt(newer, root)
    assert result.returncode == 1
    assert "is damaged: copy it again" in result.stderr
    assert (versions(root), version_under(root)) == (before, old)


@pytest.mark.slow
def test_what_an_interrupted_run_left_is_built_again(wheelhouse: Path, root: Path) -> None:
    current = root / "opt/drupelet" / version_under(root)
    (current / ".complete").unlink()
    shutil.rmtree(current / "lib")
    install(wheelhouse, root)
    assert run_agent(root).startswith("drupelet-agent ")


@pytest.mark.slow
def test_without_a_version_before_there_is_no_way_back(wheelhouse: Path, root: Path) -> None:
    result = attempt(wheelhouse, root, "--rollback")
    assert result.returncode == 1
    assert "there is no version before" in result.stderr


@pytest.mark.slow
def test_removing_the_agent_keeps_models_and_keys_until_they_are_to_go_too(wheelhouse: Path, root: Path) -> None:
    kept = [root / "var/lib/drupelet/models", root / "etc/drupelet/trust/maker.pub"]
    for path in kept:
        path.touch()
    install(wheelhouse, root, "--uninstall")
    assert not (root / "opt/drupelet").exists()
    assert not list(root.glob("etc/systemd/system/**/*drupelet*"))
    assert not (root / "usr/local/bin/drupelet-agent").exists()
    assert all(path.exists() for path in kept)
    install(wheelhouse, root, "--uninstall", "--purge")
    left = list(root.rglob("*drupelet*"))
    assert not left
    assert "drupelet" not in (root / "etc/passwd").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("32 aarch64 3.11", "this system is 32-bit"),
        ("64 riscv64 3.13", "machine riscv64"),
        ("64 aarch64 3.9", "Python 3.9: expected 3.11 to 3.13"),
        ("64 aarch64 3.14", "Python 3.14: expected 3.11 to 3.13"),
        ("64 aarch64 3.12", "has nothing for Python 3.12: make it with --python 3.12"),
    ],
)
def test_a_system_that_cannot_run_the_agent_is_refused_before_anything_is_done(
    wheelhouse: Path, tmp_path: Path, facts: str, words: str
) -> None:
    if facts.endswith(PYTHON_VERSION):
        pytest.skip("this is the Python that the wheelhouse is for")
    interpreter, root = tmp_path / "python", tmp_path / "root"
    interpreter.write_text(f"#!/bin/sh\necho {facts}\n", encoding="utf-8")
    interpreter.chmod(0o755)
    root.mkdir()
    result = attempt(wheelhouse, root, "--dry-run", python=interpreter)
    assert result.returncode == 1
    assert words in result.stderr
    assert not list(root.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [("--engine", "tensorflow"), ("--purge",), ("--offline",), ("--root", "/nowhere"), ("--frobnicate",)],
    ids=" ".join,
)
def test_wrong_usage_ends_with_two(wheelhouse: Path, words: tuple[str, ...]) -> None:
    result = subprocess.run(["sh", str(wheelhouse / "install.sh"), *words], capture_output=True, check=False)
    assert result.returncode == 2

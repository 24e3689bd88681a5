"""What the process takes from its environment, and what it passes on to workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drupelet_agent.config.environment import (
    ServiceManagerSettings,
    is_journal,
    is_missing_credential,
    resolve_path,
    service_manager_settings,
    worker_environment,
)

BASE = Path("/etc/drupelet")
CREDENTIAL = Path("$CREDENTIALS_DIRECTORY/broker-password")


class TestPaths:
    def test_a_relative_path_is_relative_to_the_base_and_an_absolute_one_is_kept(self) -> None:
        assert resolve_path(Path("keys/ca.pem"), base=BASE) == BASE / "keys/ca.pem"
        assert resolve_path(Path("/tmp/ca.pem"), base=BASE) == Path("/tmp/ca.pem")

    def test_a_credential_lies_in_the_folder_that_systemd_passes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/drupelet")
        assert resolve_path(CREDENTIAL, base=BASE) == Path("/run/credentials/drupelet/broker-password")

    @pytest.mark.parametrize("value", [None, ""])
    def test_a_credential_that_was_not_passed_stays_recognisable(
        self, monkeypatch: pytest.MonkeyPatch, value: str | None
    ) -> None:
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        if value is not None:
            monkeypatch.setenv("CREDENTIALS_DIRECTORY", value)
        path = resolve_path(CREDENTIAL, base=BASE)
        assert path == CREDENTIAL
        assert is_missing_credential(path)
        assert not is_missing_credential(BASE / "ca.pem")


class TestWorkers:
    def test_a_worker_gets_what_an_interpreter_needs_and_no_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = {"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "x", "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "2"}
        secret = {"CREDENTIALS_DIRECTORY": "/run/x", "AWS_SECRET": "hunter2", "NOTIFY_SOCKET": "/run/y", "MYPATH": "z"}
        for name, value in {**kept, **secret}.items():
            monkeypatch.setenv(name, value)
        environment = worker_environment()
        assert kept.items() <= environment.items()
        assert not secret.keys() & environment.keys()

    def test_numpy_starts_no_threads_of_its_own_in_a_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "8")
        assert worker_environment()["OPENBLAS_NUM_THREADS"] == "1"


def test_the_settings_of_the_service_manager_are_read_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    assert service_manager_settings() == ServiceManagerSettings(None, None, None)
    monkeypatch.setenv("NOTIFY_SOCKET", "@drupelet")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", "7")
    assert service_manager_settings() == ServiceManagerSettings("@drupelet", "30000000", "7")


def test_the_journal_is_recognised_by_device_and_inode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        for value, expected in [
            (f"{status.st_dev}:{status.st_ino}", True),
            (f"{status.st_dev}:{status.st_ino + 1}", False),
            (f"{status.st_dev + 1}:{status.st_ino}", False),
            ("", False),
        ]:
            monkeypatch.setenv("JOURNAL_STREAM", value)
            assert is_journal(file.fileno()) is expected
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not is_journal(file.fileno())

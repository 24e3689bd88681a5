"""What the doctor says of files, certificates, clock and device."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.config.broker import BrokerConfig, TlsConfig
from drupelet_agent.config.packages import TrustConfig
from drupelet_agent.doctor import Finding
from drupelet_agent.doctor.broker import _judge_echo
from drupelet_agent.doctor.broker_repairs import repair_of
from drupelet_agent.doctor.certificates import examine_certificates, judge_dates
from drupelet_agent.doctor.clock import examine_clock, is_synchronised
from drupelet_agent.doctor.files import examine_files
from drupelet_agent.doctor.system import examine_system
from drupelet_agent.errors import ConfigError, ConfigReason
from drupelet_agent.mqtt.errors import ConnectFailedError
from drupelet_agent.mqtt.status import ConnectionProblem
from support.broker.brokers import free_port
from support.broker.certificates import Authority
from support.package.served_packages import make_keys


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.what for finding in findings}) == len(findings)
    for finding in findings:
        assert bool(finding.repair) == (finding.status != "ok"), finding
    return {finding.what: finding for finding in findings}


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    trust = tmp_path / "trust"
    trust.mkdir(mode=0o755)
    keys = make_keys(tmp_path)
    keys.public.rename(trust / "maker.pub")
    return AgentConfig(device="pi", state_dir=tmp_path / "state", trust=TrustConfig(folder=trust))


def with_broker(config: AgentConfig, **broker: object) -> AgentConfig:
    return config.model_copy(update={"broker": BrokerConfig.model_validate(broker)})


def files(config: AgentConfig) -> dict[str, Finding]:
    return by_name(list(examine_files(config)))


def test_a_device_in_order_has_nothing_to_mend(config: AgentConfig) -> None:
    assert {finding.status for finding in files(config).values()} == {"ok"}


def test_folders_that_others_can_write_to_are_named_with_their_chmod(config: AgentConfig) -> None:
    config.state_dir.mkdir()
    config.state_dir.chmod(0o777)
    config.trust.folder.chmod(0o775)
    found = files(config)
    assert found["store"].repair == f"chmod o-w {config.state_dir}"
    assert found["trust"].repair == f"chmod go-w {config.trust.folder}"
    assert found["trust"].is_wrong


@pytest.mark.parametrize(
    ("mode", "status"), [(0o600, "ok"), (0o440, "ok"), (0o640, "ok"), (0o644, "warn"), (0o660, "warn")]
)
def test_a_secret_that_others_can_use_is_named(config: AgentConfig, tmp_path: Path, mode: int, status: str) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2", encoding="utf-8")
    path.chmod(mode)
    finding = files(with_broker(config, password_file=path))["broker.password_file"]
    assert finding.status == status
    assert f"{mode:03o}" in finding.found
    assert "hunter2" not in str(finding)


def test_a_secret_that_is_not_there_fails_and_a_credential_outside_of_the_service_is_explained(
    config: AgentConfig, tmp_path: Path
) -> None:
    missing = files(with_broker(config, password_file=tmp_path / "nowhere"))["broker.password_file"]
    assert missing.status == "fail"
    credential = files(with_broker(config, password_file="$CREDENTIALS_DIRECTORY/password"))["broker.password_file"]
    assert credential.status == "note"
    assert "LoadCredential=" in credential.repair


def certificates(folder: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(Authority(folder).issue("device").cert_file.read_bytes())


@pytest.mark.parametrize(
    ("date", "status", "words"),
    [
        (datetime(2019, 12, 31, tzinfo=UTC), "fail", "not valid yet"),
        (datetime(2050, 1, 1, tzinfo=UTC), "ok", "valid from 2020-01-01 to 2100-01-01"),
        (datetime(2099, 12, 20, tzinfo=UTC), "warn", "ends soon"),
        (datetime(2100, 1, 2, tzinfo=UTC), "fail", "expired"),
    ],
)
def test_certificates_are_judged_by_their_dates(tmp_path: Path, date: datetime, status: str, words: str) -> None:
    finding = judge_dates("x", certificates(tmp_path), now=date, clock_is_right=True)
    assert finding.status == status
    assert words in finding.found
    assert "clock" not in finding.repair


def test_a_clock_that_may_be_wrong_is_named_first(tmp_path: Path) -> None:
    finding = judge_dates("x", certificates(tmp_path), now=datetime(1970, 1, 1, tzinfo=UTC), clock_is_right=False)
    assert finding.repair.startswith("first set the clock")


def test_files_that_hold_no_certificate_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello", encoding="utf-8")
    tls = TlsConfig(ca_file=tmp_path / "ca.pem", cert_file=tmp_path / "none.pem", key_file=tmp_path / "key")
    broker = BrokerConfig(host="127.0.0.1", port=free_port(), tls=tls)
    found = by_name(list(examine_certificates(broker, now=datetime.now(UTC), clock_is_right=True)))
    assert "holds no certificate in PEM" in found["broker.tls.ca_file"].found
    assert "No such file" in found["broker.tls.cert_file"].found
    assert "the broker's certificate" not in found


def test_the_clock_matters_where_certificates_do() -> None:
    assert examine_clock(synchronised=True, matters=True).status == "ok"
    assert examine_clock(synchronised=False, matters=True).status == "warn"
    assert examine_clock(synchronised=False, matters=False).status == "note"
    assert isinstance(is_synchronised(), bool)


PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cmdline": "console=tty1 cgroup_disable=memory",
    "proc/meminfo": "MemTotal: 4000000 kB\nSwapTotal: 200000 kB\nSwapFree: 50000 kB\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
}


def test_what_is_wrong_with_a_board_is_named_with_its_mend(tmp_path: Path) -> None:
    found = by_name(list(examine_system(AgentConfig(device="pi"), root=lay_out(tmp_path, PI))))
    assert "Raspberry Pi 4" in found["processor"].found
    assert "cgroup_disable=memory" in found["memory controller"].found
    assert "cgroup_enable=memory" in found["memory controller"].repair
    assert "scaling_governor" in found["governor"].repair
    assert found["swap"].status == "warn"
    assert found["swap"].found == "153.6 MB of 204.8 MB in use"
    assert found["power"].status == "warn"
    assert "under_voltage, throttled now" in found["power"].found


def test_a_board_in_order_is(tmp_path: Path) -> None:
    good = {
        **PI,
        "proc/meminfo": "SwapTotal: 200000 kB\nSwapFree: 200000 kB\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu io memory pids",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "0",
    }
    found = by_name(list(examine_system(AgentConfig(device="pi"), root=lay_out(tmp_path, good))))
    assert {name for name, finding in found.items() if finding.is_wrong} == set()
    assert "governor" not in found
    assert found["power"].status == "ok"


def test_trouble_that_is_over_is_a_note(tmp_path: Path) -> None:
    past = {**PI, "sys/devices/platform/soc/soc:firmware/get_throttled": "50000"}
    found = by_name(list(examine_system(AgentConfig(device="pi"), root=lay_out(tmp_path, past))))
    assert found["power"].status == "note"
    assert "under_voltage, throttled since" in found["power"].found


def test_a_slow_echo_that_is_not_the_networks_hints_at_nagle() -> None:
    slow = _judge_echo(43.0, connect_ms=0.2)
    assert slow.status == "warn"
    assert "set_tcp_nodelay true" in slow.repair
    assert _judge_echo(43.0, connect_ms=40.0).status == "ok"
    assert _judge_echo(None, connect_ms=0.2).status == "note"


@pytest.mark.parametrize(
    ("echo_ms", "connect_ms"), [(43.0, 0.2), (0.44, 0.26), (1.25, 0.15), (2.0, 5.0), (0.349, 0.251)]
)
def test_the_parts_of_the_round_trip_add_up(echo_ms: float, connect_ms: float) -> None:
    found = _judge_echo(echo_ms, connect_ms=connect_ms).found
    whole, network, rest = (float(number) for number in re.findall(r"([\d.]+) ms", found))
    assert whole == pytest.approx(network + rest)
    assert min(network, rest) >= 0


def caused_by(cause: Exception) -> ConnectFailedError:
    """A failed connection with its cause."""
    error = ConnectFailedError("broker x:1")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectFailedError("broker x:1", problem=ConnectionProblem.ACCOUNT_REFUSED), "password_file"),
        (ConnectFailedError("broker x:1", problem=ConnectionProblem.CLOSED), "client certificate"),
        (caused_by(ssl.SSLCertVerificationError("expired")), "broker.tls.ca_file"),
        (caused_by(socket.gaierror("unknown")), "name resolution"),
        (caused_by(ConnectionRefusedError()), "start the broker"),
        (ConfigError("x", reason=ConfigReason.SECRET), "readable"),
        (ConfigError("x", reason=ConfigReason.CREDENTIAL), "service alone"),
        (ConfigError("x", reason=ConfigReason.TLS_FILES), "[broker.tls]"),
    ],
)
def test_each_kind_of_failure_has_its_own_repair_whatever_its_message_says(error: Exception, words: str) -> None:
    assert words in repair_of(error)


def test_findings_read_as_lines_and_as_json() -> None:
    finding = Finding("power", "warn", "weak", "a better supply")
    assert str(finding) == "warn  power: weak\n      -> a better supply"
    assert finding.as_json() == {"what": "power", "status": "warn", "found": "weak", "repair": "a better supply"}
    assert str(Finding("power", "ok", "strong")) == "ok    power: strong"

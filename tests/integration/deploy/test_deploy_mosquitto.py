"""Who may do what on a mosquitto with the shipped TLS, password and access files."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drupelet_agent.messaging.home_assistant.discovery import Discovery
from drupelet_host.demo.broker import LOOPBACK
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.agents import running_agent, write_config
from support.broker.brokers import Broker
from support.broker.secured_broker import SUBSCRIBED, SecuredBroker, make_ca

pytestmark = [pytest.mark.mosquitto, pytest.mark.usefixtures("mosquitto", "_commands")]

BASE = "drupelet/v1"


@pytest.fixture(scope="module")
def _commands() -> None:
    for command in ("openssl", "mosquitto_passwd"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, _commands: None) -> Iterator[SecuredBroker]:
    folder = tmp_path_factory.mktemp("ca")
    make_ca(folder, "init", LOOPBACK, "broker.local")
    for device in ("pi-7", "pi-8"):
        make_ca(folder, "device", device)
    for role in ("client", "observer", "operator", "home-assistant"):
        make_ca(folder, "program", f"program-{role}", role)
    make_ca(folder, "person", "anna", "operator")
    with SecuredBroker(folder, work=tmp_path_factory.mktemp("broker")) as broker:
        yield broker


# What each may publish to, and what not; pi-7 is the device in question.
ALLOWED = {
    "pi-7": [
        f"{BASE}/pi-7/status",
        f"{BASE}/pi-7/models/digits/state",
        f"{BASE}/pi-7/models/digits/delivery",
        f"{BASE}/pi-7/echo",
        f"{BASE}/clients/drupelet-a1/reply",
        "homeassistant/device/drupelet_pi-7/config",
    ],
    "program-client": [
        f"{BASE}/pi-7/infer/digits",
        f"{BASE}/pi-7/infer/digits/1.0.0",
        f"{BASE}/pool/door/infer/digits",
    ],
    "program-observer": [],
    "program-operator": [
        f"{BASE}/pi-7/infer/digits",
        f"{BASE}/pi-7/command/install",
        f"{BASE}/pi-7/upload/0a1b",
        f"{BASE}/pi-7/models/digits/desired",
    ],
    "program-home-assistant": ["homeassistant/status"],
}
FORBIDDEN = {
    "pi-7": [
        f"{BASE}/pi-8/status",
        f"{BASE}/pi-8/infer/digits",
        f"{BASE}/pi-8/command/install",
        f"{BASE}/pool/door/infer/digits",
        "homeassistant/device/drupelet_pi-8/config",
        "homeassistant/status",
        "elsewhere",
    ],
    "program-client": [
        f"{BASE}/pi-7/status",
        f"{BASE}/pi-7/command/install",
        f"{BASE}/pi-7/upload/0a1b",
        f"{BASE}/pi-7/models/digits/desired",
        f"{BASE}/clients/drupelet-a1/reply",
    ],
    "program-observer": [f"{BASE}/pi-7/infer/digits", f"{BASE}/pi-7/command/install", f"{BASE}/pi-7/status"],
    "program-operator": [f"{BASE}/pi-7/status", f"{BASE}/pi-7/models/digits/state", f"{BASE}/clients/x/reply"],
    "program-home-assistant": [f"{BASE}/pi-7/infer/digits", "homeassistant/device/drupelet_pi-7/config"],
}


@pytest.mark.parametrize("name", ALLOWED)
def test_a_role_may_publish_what_it_needs_and_nothing_else(secured: SecuredBroker, name: str) -> None:
    with secured.client(name) as client:
        assert {topic: client.publish(topic) for topic in ALLOWED[name]} == dict.fromkeys(ALLOWED[name], True)
        assert {topic: client.publish(topic) for topic in FORBIDDEN[name]} == dict.fromkeys(FORBIDDEN[name], False)


READABLE = {
    "pi-8": {f"{BASE}/pool/door/infer/digits"},
    "program-client": {f"{BASE}/pi-7/status", f"{BASE}/pi-7/models/digits/state", f"{BASE}/pi-7/result/digits"},
    "program-observer": {
        f"{BASE}/pi-7/status",
        f"{BASE}/pi-7/event",
        f"{BASE}/pi-7/models/digits/state",
        f"{BASE}/pi-7/models/digits/delivery",
        f"{BASE}/pi-7/telemetry/device",
    },
    "program-operator": {
        f"{BASE}/pi-7/status",
        f"{BASE}/pi-7/event",
        f"{BASE}/pi-7/models/digits/state",
        f"{BASE}/pi-7/models/digits/desired",
        f"{BASE}/pi-7/models/digits/delivery",
        f"{BASE}/pi-7/command/list/result",
        f"{BASE}/pi-7/upload/0a1b/state",
        f"{BASE}/pi-7/telemetry/device",
        f"{BASE}/pi-7/result/digits",
    },
}


@pytest.mark.parametrize("name", READABLE)
def test_a_role_hears_what_it_needs_of_a_device_and_nothing_else(secured: SecuredBroker, name: str) -> None:
    own = (
        "status",
        "event",
        "models/digits/state",
        "models/digits/delivery",
        "telemetry/device",
        "result/digits",
        "echo",
    )
    own += ("command/list/result", "upload/0a1b/state")
    asked = ("infer/digits", "models/digits/desired", "command/list", "upload/0a1b")
    with (
        secured.client(name) as reader,
        secured.client("pi-7") as device,
        secured.client("program-operator") as operator,
    ):
        assert reader.subscribe("#") == SUBSCRIBED
        for level in own:
            assert device.publish(f"{BASE}/pi-7/{level}")
        for level in asked:
            assert operator.publish(f"{BASE}/pi-7/{level}")
        assert device.publish(f"{BASE}/clients/drupelet-somebody/reply")
        assert operator.publish(f"{BASE}/pool/door/infer/digits")
        assert reader.topics_heard() == READABLE[name]


def test_a_device_hears_its_own_requests_and_a_client_its_own_replies(secured: SecuredBroker) -> None:
    with secured.client("pi-7") as device, secured.client("program-client", client_id="drupelet-a1") as client:
        device.subscribe(f"{BASE}/pi-7/infer/+")
        client.subscribe(f"{BASE}/clients/drupelet-a1/reply")
        client.publish(f"{BASE}/pi-7/infer/digits")
        assert device.topics_heard() == {f"{BASE}/pi-7/infer/digits"}
        device.publish(f"{BASE}/clients/drupelet-a1/reply")
        assert client.topics_heard() == {f"{BASE}/clients/drupelet-a1/reply"}


def test_a_shared_subscription_gives_a_device_its_pools_requests_only(secured: SecuredBroker) -> None:
    with secured.client("pi-7") as device, secured.client("program-operator") as operator:
        device.subscribe(f"$share/door/{BASE}/pool/door/infer/+")
        device.subscribe(f"$share/door/{BASE}/pi-8/command/+")
        operator.publish(f"{BASE}/pool/door/infer/digits")
        operator.publish(f"{BASE}/pi-8/command/list")
        assert device.topics_heard() == {f"{BASE}/pool/door/infer/digits"}


def test_a_client_id_that_is_a_wildcard_opens_nobody_elses_replies(secured: SecuredBroker) -> None:
    with secured.client("pi-7") as device, secured.client("program-client", client_id="+") as client:
        client.subscribe(f"{BASE}/clients/#")
        device.publish(f"{BASE}/clients/drupelet-a1/reply")
        assert client.topics_heard() == set()


def test_a_person_comes_in_by_password_and_has_a_role_too(secured: SecuredBroker) -> None:
    with secured.person("anna") as anna:
        assert anna.publish(f"{BASE}/pi-7/command/install")
        assert not anna.publish(f"{BASE}/pi-7/status")
    with pytest.raises(ConnectionError), secured.person("anna", password="guess"):
        pass
    with pytest.raises(ConnectionError), secured.person("pi-7", password="guess"):
        pass


def test_the_listener_for_devices_takes_nobody_without_a_certificate(secured: SecuredBroker) -> None:
    with pytest.raises((ConnectionError, OSError)), secured.person("anna", port=secured.port):
        pass


def test_a_certificate_that_is_revoked_no_longer_opens_the_door(tmp_path: Path) -> None:
    folder, lost = tmp_path / "ca", tmp_path / "lost"
    make_ca(folder, "init", LOOPBACK)
    make_ca(folder, "device", "pi-7")
    make_ca(folder, "device", "pi-8")
    shutil.copytree(folder / "names/pi-7", lost)
    make_ca(folder, "remove", "pi-7")
    make_ca(folder, "device", "pi-7")
    for name in ("device.crt", "device.key"):
        shutil.copy(folder / "names/pi-7" / name, tmp_path / name)
        shutil.copy(lost / name, folder / "names/pi-7" / name)
    (tmp_path / "broker").mkdir()
    with SecuredBroker(folder, work=tmp_path / "broker") as broker:
        with pytest.raises((ConnectionError, OSError)), broker.client("pi-7"):
            pass
        with broker.client("pi-8") as other:
            assert other.publish(f"{BASE}/pi-8/status")
        for name in ("device.crt", "device.key"):
            shutil.copy(tmp_path / name, folder / "names/pi-7" / name)
        with broker.client("pi-7") as renewed:
            assert renewed.publish(f"{BASE}/pi-7/status")


def test_the_agent_serves_with_these_files(secured: SecuredBroker, tmp_path: Path) -> None:
    own = secured.folder / "names/pi-7"
    files = {"ca_file": own / "ca.crt", "cert_file": own / "device.crt", "key_file": own / "device.key"}
    tls = "broker.tls = {" + ", ".join(f'{key} = "{path}"' for key, path in files.items()) + "}"
    broker = Broker(host=LOOPBACK, port=secured.port, port_311=secured.port, kind="mosquitto")
    with secured.client("program-observer") as observer:
        observer.subscribe(f"{BASE}/pi-7/status")
        with running_agent(write_config(tmp_path, broker, extra=tls, device="pi-7")) as agent:
            while (status := json.loads(observer.heard.get(timeout=20).payload or b"{}")).get("state") != "online":
                assert status is not None
            assert agent.stop() == 0
        assert json.loads(observer.heard.get(timeout=20).payload)["state"] == "offline"


@pytest.mark.parametrize("device", ["pi-9", "cam.1", "cam_1", "a.b.c"])
def test_a_device_may_publish_the_description_that_the_agent_publishes(tmp_path: Path, device: str) -> None:
    folder = tmp_path / "ca"
    make_ca(folder, "init", LOOPBACK)
    make_ca(folder, "device", device)
    topic = Discovery(DeviceTopics(device), board="x", interval_s=1).describe([]).topic
    assert f"topic write {topic}" in (folder / "acl").read_text(encoding="utf-8").splitlines()


def test_keys_and_lists_are_for_their_owner_alone(secured: SecuredBroker) -> None:
    paths = [path for path in secured.folder.rglob("*") if path.is_file()]
    assert len(paths) > 20
    assert {stat.filemode(path.stat().st_mode)[4:] for path in paths} == {"------"}


def test_certificates_pass_the_strict_rules_of_rfc_5280(secured: SecuredBroker) -> None:
    certificates = [secured.folder / "broker.crt", *secured.folder.glob("names/*/device.crt")]
    command = ["openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", str(secured.folder / "crl.pem")]
    files = ["-CAfile", str(secured.folder / "ca.crt"), *map(str, certificates)]
    assert subprocess.run([*command, *files], capture_output=True, text=True, check=True).stdout.count(": OK") == len(
        certificates
    )


@pytest.mark.parametrize(
    "words",
    [
        ("device", "../pi-9"),
        ("device", "pi/9"),
        ("device", "+"),
        ("device", "#"),
        ("device", ""),
        ("device", "pi 9\ntopic readwrite #"),
        ("device", "clients"),
        ("device", "x" * 65),
        ("device", "pi-7"),
        ("program", "camera", "device"),
        ("program", "camera", "root"),
        ("remove", "nobody"),
        ("init", "again.local"),
        ("make-coffee",),
    ],
    ids=str,
)
def test_make_ca_refuses_what_would_not_be_a_name_and_changes_nothing(
    secured: SecuredBroker, words: tuple[str, ...]
) -> None:
    before = (secured.folder / "acl").read_bytes(), sorted(secured.folder.glob("names/*"))
    result = make_ca(secured.folder, *words, check=False)
    assert result.returncode in {1, 2}
    assert result.stderr
    assert before == ((secured.folder / "acl").read_bytes(), sorted(secured.folder.glob("names/*")))

"""Mosquitto with the TLS, password and access files that the project ships, and clients of each role."""

from __future__ import annotations

import getpass
import queue
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from drupelet_host.demo.broker import LOOPBACK, free_port
from drupelet_shared.transport import make_tls_context
from support.broker.brokers import find_mosquitto, wait_until_listening

_SHIPPED = Path(__file__).resolve().parents[3] / "deploy/mosquitto"
_INSTALLED = "/etc/mosquitto/drupelet"
_PATIENCE_S = 10.0
SUBSCRIBED, REFUSED = "subscribed", "refused"


def make_ca(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the shipped script."""
    command = [str(_SHIPPED / "make-ca"), str(folder), *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


@dataclass
class Client:
    """A connected client that keeps what it is sent."""

    client: paho.Client
    heard: queue.Queue[paho.MQTTMessage] = field(default_factory=queue.Queue)

    def subscribe(self, topic: str) -> str:
        """Ask for a topic; what the broker says of it."""
        answers: queue.Queue[list[ReasonCode]] = queue.Queue()
        self.client.on_subscribe = lambda _client, _userdata, _id, codes, _properties: answers.put(codes)
        self.client.subscribe(topic, qos=1)
        return REFUSED if answers.get(timeout=_PATIENCE_S)[0].is_failure else SUBSCRIBED

    def publish(self, topic: str, payload: str = "x") -> bool:
        """Publish with QoS 1; whether the broker allows it."""
        answers: queue.Queue[ReasonCode] = queue.Queue()
        self.client.on_publish = lambda _client, _userdata, _id, code, _properties: answers.put(code)
        self.client.publish(topic, payload, qos=1)
        return not answers.get(timeout=_PATIENCE_S).is_failure

    def topics_heard(self) -> set[str]:
        """The topics of everything that has come; the broker has sent all of it before it answers this client again."""
        self.subscribe("drupelet/v1/nothing/here")
        topics = set()
        while not self.heard.empty():
            topics.add(self.heard.get().topic)
        return topics


class SecuredBroker:
    """A mosquitto process of its own; `folder` is make-ca's."""

    def __init__(self, folder: Path, *, work: Path) -> None:
        self.folder = folder
        self.port, self.people_port = free_port(), free_port()
        self._work = work
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        make_ca(self.folder, "install", str(self._work / "installed"))
        config = self._work / "mosquitto.conf"
        config.write_text(self._settings(), encoding="utf-8")
        binary = find_mosquitto()
        assert binary is not None, "mosquitto is not installed"
        log = self._stack.enter_context((self._work / "mosquitto.log").open("ab"))
        self._process = self._stack.enter_context(subprocess.Popen([binary, "-c", str(config)], stdout=log, stderr=log))
        self._stack.callback(self._process.kill)
        for port in (self.port, self.people_port):
            wait_until_listening(self._process, port, self._work / "mosquitto.log")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextmanager
    def client(self, name: str, *, client_id: str = "") -> Iterator[Client]:
        """A client with the certificate that was made for a name.

        Raises:
            ConnectionError: The broker refuses it.
        """
        own = self.folder / "names" / name
        made = self._make(client_id)
        made.client.tls_set_context(
            make_tls_context(ca_file=self.folder / "ca.crt", cert_file=own / "device.crt", key_file=own / "device.key")
        )
        with _connected(made, self.port):
            yield made

    @contextmanager
    def person(self, name: str, *, password: str | None = None, port: int | None = None) -> Iterator[Client]:
        """A client with a password, that of make-ca by default.

        Raises:
            ConnectionError: The broker refuses it.
        """
        made = self._make("")
        password = password or (self.folder / "names" / name / "password").read_text(encoding="utf-8").strip()
        made.client.username_pw_set(name, password)
        made.client.tls_set_context(make_tls_context(ca_file=self.folder / "ca.crt", cert_file=None, key_file=None))
        with _connected(made, port or self.people_port):
            yield made

    def _make(self, client_id: str) -> Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        made = Client(client)
        client.on_message = lambda _client, _userdata, message: made.heard.put(message)
        return made

    def _settings(self) -> str:
        shipped = "".join(
            (_SHIPPED / name).read_text(encoding="utf-8") for name in ("drupelet.conf", "drupelet-tls.conf")
        )
        for old, new in (
            (_INSTALLED, str(self._work / "installed")),
            ("listener 8883", f"listener {self.port} {LOOPBACK}"),
            ("listener 8884", f"listener {self.people_port} {LOOPBACK}"),
        ):
            assert old in shipped
            shipped = shipped.replace(old, new)
        # Started by root it would become another user, who cannot read a test's folder.
        return f"user {getpass.getuser()}\npersistence false\n{shipped}"


@contextmanager
def _connected(made: Client, port: int) -> Iterator[None]:
    answers: queue.Queue[ReasonCode | None] = queue.Queue()
    made.client.on_connect = lambda _client, _userdata, _flags, code, _properties: answers.put(code)
    # A certificate that is refused ends the connection, under TLS 1.3 after the handshake.
    made.client.on_disconnect = lambda *_: answers.put(None)
    made.client.connect(LOOPBACK, port)
    made.client.loop_start()
    try:
        code = answers.get(timeout=_PATIENCE_S)
        if code is None or code.is_failure:
            raise ConnectionError(f"refused: {code}")
        yield
    finally:
        made.client.disconnect()
        made.client.loop_stop()

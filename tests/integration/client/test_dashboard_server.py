"""`drupelet dashboard` as a process: what it serves, to whom, and what passes over its bridge to real brokers."""

from __future__ import annotations

import http.client
import json
import os
import queue
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from drupelet_host.demo.broker import LOOPBACK, free_port
from support.broker.brokers import Broker
from support.broker.proxy import proxy
from support.broker.secured_broker import SecuredBroker, make_ca
from support.screen.dashboards import RunningDashboard, dashboard_command, running_dashboard

_PATIENCE_S = 20.0


@pytest.fixture
def served(embedded: Broker) -> Iterator[RunningDashboard]:
    with running_dashboard(embedded) as running:
        yield running


def get(served: RunningDashboard, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=_PATIENCE_S)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


@contextmanager
def bridged(served: RunningDashboard) -> Iterator[tuple[paho.Client, queue.Queue[bytes]]]:
    """An MQTT 5 client that comes as the page does."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport="websockets")
    heard: queue.Queue[bytes] = queue.Queue()
    subscribed: queue.Queue[object] = queue.Queue()
    client.ws_set_options(path=f"/mqtt?token={served.token}", headers={"Origin": served.origin})
    client.on_connect = lambda *_: client.subscribe("drupelet/v1/+/status")
    client.on_subscribe = lambda *_: subscribed.put(None)
    client.on_message = lambda _client, _userdata, message: heard.put(bytes(message.payload))
    client.connect("127.0.0.1", served.port)
    client.loop_start()
    try:
        subscribed.get(timeout=_PATIENCE_S)
        yield client, heard
    finally:
        client.disconnect()
        client.loop_stop()


def test_the_page_is_served_with_a_policy_that_keeps_it_to_itself(served: RunningDashboard) -> None:
    status, headers, body = get(served, "/")
    policy = headers["Content-Security-Policy"]
    assert status == 200
    assert b"<title>drupelet dashboard</title>" in body
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert f"connect-src 'self' ws://127.0.0.1:{served.port};" in policy
    assert "unsafe" not in policy
    assert get(served, "/vendor/LICENSES.txt")[0] == 200
    assert get(served, "/../server.py")[0] == get(served, "/index.html")[0] == 404


def test_nothing_about_the_broker_comes_without_the_token(served: RunningDashboard, embedded: Broker) -> None:
    assert get(served, "/session.json")[0] == 403
    assert get(served, "/session.json?token=guess")[0] == 403
    status, _, body = get(served, f"/session.json?token={served.token}")
    session = json.loads(body)
    assert status == 200
    assert session["broker"] == f"127.0.0.1:{embedded.port}"
    assert session["websocket"] == f"ws://127.0.0.1:{served.port}/mqtt?token={served.token}"


def test_another_name_for_this_address_is_refused(served: RunningDashboard) -> None:
    assert get(served, "/", Host=f"evil.example:{served.port}")[0] == 403


@pytest.mark.parametrize(
    ("path", "origin"), [("/mqtt?token=guess", None), ("/mqtt", None), (None, "http://evil.example")]
)
def test_the_bridge_is_for_the_page_alone(served: RunningDashboard, path: str | None, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_socket(served, path=path, origin=origin)
    assert refused.value.response.status_code == 403


def test_messages_pass_over_the_bridge_both_ways(broker: Broker) -> None:
    payload = os.urandom(300_000)
    with running_dashboard(broker) as served, bridged(served) as (client, heard):
        client.publish("drupelet/v1/pi-bridge/status", payload, qos=1)
        assert heard.get(timeout=_PATIENCE_S) == payload


def test_the_bridge_serves_several_pages_at_once(served: RunningDashboard) -> None:
    with bridged(served) as (first, heard_first), bridged(served) as (_, heard_second):
        first.publish("drupelet/v1/pi-bridge/status", b"to all", qos=1)
        assert heard_first.get(timeout=_PATIENCE_S) == heard_second.get(timeout=_PATIENCE_S) == b"to all"


def open_socket(served: RunningDashboard, *, path: str | None = None, origin: str | None = None) -> ClientConnection:
    """A bare WebSocket, from where the page would open its own unless told otherwise."""
    url = f"ws://127.0.0.1:{served.port}{path or f'/mqtt?token={served.token}'}"
    return connect(url, origin=Origin(origin or served.origin), subprotocols=[Subprotocol("mqtt")])


def close_code(socket: ClientConnection) -> int:
    """With which code a WebSocket ends."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=_PATIENCE_S)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def test_a_page_that_sends_no_mqtt_is_turned_away(served: RunningDashboard) -> None:
    with open_socket(served) as socket:
        socket.send(b"hello")
        assert close_code(socket) == 1002


def test_a_broker_that_cuts_the_connection_ends_the_socket(embedded: Broker) -> None:
    with proxy(embedded) as between, running_dashboard(between.broker) as served, open_socket(served) as socket:
        # A CONNECT of MQTT 5 with a clean start, no properties and the client id "a".
        socket.send(b"\x10\x0e\0\4MQTT\5\2\0\x1e\0\0\1a")
        assert bytes(socket.recv(timeout=_PATIENCE_S))[:1] == b"\x20"
        between.cut()
        assert close_code(socket) == 1001


def test_a_broker_that_is_gone_ends_the_socket_with_the_code_of_a_gateway(embedded: Broker) -> None:
    with ExitStack() as stack:
        with proxy(embedded) as between:
            served = stack.enter_context(running_dashboard(between.broker))
        with open_socket(served) as socket:
            assert close_code(socket) == 1014


@pytest.mark.mosquitto
@pytest.mark.usefixtures("mosquitto")
def test_the_account_and_the_certificates_stay_on_this_side_of_the_browser(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    make_ca(folder, "init", LOOPBACK)
    make_ca(folder, "program", "dashboard", "observer")
    make_ca(folder, "person", "anna", "operator")
    make_ca(folder, "device", "pi-7")
    own, anna = folder / "names/dashboard", folder / "names/anna/password"
    ca_file = str(folder / "ca.crt")
    certificates = ["--ca-file", ca_file, "--cert-file", str(own / "device.crt"), "--key-file", str(own / "device.key")]
    with SecuredBroker(folder, work=tmp_path) as secured, secured.client("pi-7") as device:
        broker = Broker(LOOPBACK, secured.port, secured.port, kind="mosquitto")
        for url, options in (
            (f"mqtts://{LOOPBACK}:{secured.port}", certificates),
            (f"mqtts://anna@{LOOPBACK}:{secured.people_port}", ["--ca-file", ca_file, "--password-file", str(anna)]),
        ):
            with running_dashboard(broker, *options, url=url) as served, bridged(served) as (_, heard):
                assert device.publish("drupelet/v1/pi-7/status", "online")
                assert heard.get(timeout=_PATIENCE_S) == b"online"


def test_a_broker_that_is_not_there_is_exit_status_1() -> None:
    command = dashboard_command("--broker", f"mqtt://127.0.0.1:{free_port()}")
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "[broker_unreachable]" in result.stderr


def test_wrong_usage_is_exit_status_2(embedded: Broker, served: RunningDashboard) -> None:
    for options, message in (
        (["--websocket", "http://broker:9001"], "expected ws://host[:port]/path"),
        (["--port", str(served.port)], f"--port {served.port}: "),
    ):
        command = dashboard_command("--broker", embedded.url, *options)
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 2
        assert message in result.stderr


def test_the_bundled_library_is_the_version_that_its_recipe_names() -> None:
    folder = Path(__file__).parents[3] / "host"
    wanted = json.loads((folder / "dashboard/package.json").read_text(encoding="utf-8"))["dependencies"]["mqtt"]
    vendor = folder / "drupelet_host/dashboard/assets/vendor"
    assert f"mqtt.js is MQTT.js {wanted} with" in (vendor / "LICENSES.txt").read_text(encoding="utf-8")
    assert f'version:"{wanted}"' in (vendor / "mqtt.js").read_text(encoding="utf-8")

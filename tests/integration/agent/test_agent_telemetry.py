"""What a running agent tells of itself: numbers, events, metrics, and log lines; and what it never tells."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from drupelet_shared.contract.messages import DeviceTelemetry, Event, ModelTelemetry
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.agents import agent_command, listener, run_agent_command, running_agent, write_config
from support.agent.asking import asker
from support.broker.brokers import LOOPBACK, Broker, find_mosquitto, free_port, mosquitto_broker
from support.package.served_packages import make_keys, make_package

REQUEST = json.dumps(
    {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}]}
).encode()
PASSWORD = "hunter2-never-shown"


@pytest.fixture
def topics() -> DeviceTopics:
    return DeviceTopics(f"pi-{uuid.uuid4().hex[:8]}")


def installed(folder: Path, broker: Broker, topics: DeviceTopics, *, extra: str = "") -> Path:
    """A configuration whose device has a package installed."""
    keys = make_keys(folder)
    config = write_config(folder, broker, device=topics.device, extra=extra)
    shutil.copy(keys.public, folder / "trust")
    run_agent_command(config, "install", str(make_package(folder, keys)))
    return config


def test_totals_go_on_where_windows_end(tmp_path: Path, embedded: Broker, topics: DeviceTopics) -> None:
    config = installed(tmp_path, embedded, topics)
    with listener(embedded, device=topics.device) as heard, running_agent(config), asker(embedded) as ask:
        heard.wait_for(topics.model_state("digits"), health="ready")
        for count in (1, 2):
            assert ask.ask(topics.infer("digits"), REQUEST).user_properties["code"] == "ok"
            found = heard.wait_for(topics.model_telemetry("digits"), outcomes={}, totals={"ok": count})
            assert "total" not in ModelTelemetry.model_validate(found).model_dump(exclude_none=True)


def test_the_device_tells_the_memory_of_each_worker_and_the_room_on_its_disk(
    tmp_path: Path, embedded: Broker, topics: DeviceTopics
) -> None:
    config = installed(tmp_path, embedded, topics)
    with listener(embedded, device=topics.device) as heard, running_agent(config):
        heard.wait_for(topics.model_state("digits"), health="ready")
        heard.latest.pop(topics.device_telemetry, None)
        telemetry = DeviceTelemetry.model_validate(heard.wait_for(topics.device_telemetry))
    (worker,) = telemetry.workers
    assert worker.model == "digits"
    assert worker.resident_bytes == telemetry.workers_memory_bytes > 10_000_000
    assert telemetry.disk_free_bytes is not None
    assert telemetry.disk_free_bytes > 0
    assert telemetry.dropped_messages == 0


def test_a_limit_that_is_crossed_is_published_once_and_logged(
    tmp_path: Path, embedded: Broker, topics: DeviceTopics
) -> None:
    extra = 'telemetry.events = { memory_available = "1000GB", windows = 2 }'
    config = write_config(tmp_path, embedded, device=topics.device, extra=extra, interval_s=0.1)
    with listener(embedded, device=topics.device) as heard, running_agent(config) as agent:
        event = Event.model_validate(heard.wait_for(topics.event))
        time.sleep(1)
        events = [message for message in heard.messages.queue if message.topic == topics.event]
        log = agent.log.read_text(encoding="utf-8")
    assert (event.kind, event.state, event.limit, event.model) == ("memory", "raised", 10**12, None)
    assert events == []
    assert log.count("event kind=memory state=raised") == 1


@pytest.mark.mosquitto
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed: apt install mosquitto")
def test_what_waited_for_the_broker_arrives_and_what_was_given_up_is_counted(
    tmp_path: Path, topics: DeviceTopics
) -> None:
    port = free_port()
    absent = Broker(host=LOOPBACK, port=port, port_311=port, kind="mosquitto")
    extra = 'telemetry.outbox_length = 3\ntelemetry.events = { memory_available = "1000GB", windows = 1 }'
    config = write_config(tmp_path, absent, device=topics.device, extra=extra, interval_s=0.1)
    with running_agent(config):
        time.sleep(2)
        with mosquitto_broker(tmp_path, port=port) as broker, listener(broker, device=topics.device) as heard:
            heard.wait_for(topics.status, state="online")
            assert heard.wait_for(topics.event)["kind"] == "memory"
            deadline = time.monotonic() + 20
            while True:
                found = heard.wait_for(topics.device_telemetry)
                # Those that waited were written before others pushed them aside.
                if found["dropped_messages"] > 3:
                    break
                del heard.latest[topics.device_telemetry]
                assert time.monotonic() < deadline


def test_metrics_are_served_where_the_configuration_asks_for_them(
    tmp_path: Path, embedded: Broker, topics: DeviceTopics
) -> None:
    port = free_port()
    config = installed(tmp_path, embedded, topics, extra=f"telemetry.prometheus_port = {port}")
    with listener(embedded, device=topics.device) as heard, running_agent(config), asker(embedded) as ask:
        heard.wait_for(topics.model_state("digits"), health="ready")
        ask.ask(topics.infer("digits"), REQUEST)
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as response:
            text = response.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (answered,) = families["drupelet_requests"].samples
    assert (answered.labels, answered.value) == ({"model": "digits", "code": "ok"}, 1)
    assert families["drupelet_model_ready"].samples[0].value == 1
    stages = families["drupelet_request_stage_duration_seconds"].samples
    assert {s.labels["stage"] for s in stages} == {"queue", "decode", "inference", "encode"}


def test_no_request_leaves_a_line_in_the_log(tmp_path: Path, embedded: Broker, topics: DeviceTopics) -> None:
    config = installed(tmp_path, embedded, topics, extra='log = { level = "debug", format = "json" }')
    with listener(embedded, device=topics.device) as heard, running_agent(config) as agent, asker(embedded) as ask:
        heard.wait_for(topics.model_state("digits"), health="ready")
        ask.ask(topics.infer("digits"), REQUEST)
        before = agent.log.read_text(encoding="utf-8").splitlines()
        for payload in (REQUEST, b"hello", b"{}") * 10:
            ask.ask(topics.infer("digits"), payload)
        after = agent.log.read_text(encoding="utf-8").splitlines()
    assert [line for line in after[len(before) :] if "asyncio" not in line] == []
    documents = [json.loads(line) for line in after]
    ready = next(document for document in documents if document["message"].startswith("worker ready"))
    assert ready["fields"]["variant"] == "ort-fp32"


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto_passwd is not installed")
@pytest.mark.usefixtures("mosquitto")
@pytest.mark.parametrize("right", [True, False], ids=["right password", "wrong password"])
def test_the_password_is_nowhere_to_be_read(tmp_path: Path, topics: DeviceTopics, *, right: bool) -> None:
    tool = shutil.which("mosquitto_passwd")
    assert tool is not None
    accounts = tmp_path / "accounts"
    stored = PASSWORD if right else "another"
    subprocess.run([tool, "-c", "-b", str(accounts), "anna", stored], check=True, capture_output=True)
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    (tmp_path / "password").chmod(0o600)
    extra = 'broker.username = "anna"\nbroker.password_file = "password"\nlog.level = "debug"'
    with mosquitto_broker(tmp_path, settings=["allow_anonymous false", f"password_file {accounts}"]) as broker:
        config = installed(tmp_path, broker, topics, extra=extra)
        told = run_agent_command(config, "doctor", "--json", check=False)
        findings = {finding["what"]: finding for finding in json.loads(told.stdout)}
        with running_agent(config) as agent:
            expected = "connected to" if right else "Not authorized"
            deadline = time.monotonic() + 20
            while expected not in (log := agent.log.read_text(encoding="utf-8")):
                assert time.monotonic() < deadline, log
                time.sleep(0.05)
            arguments = Path(f"/proc/{agent.process.pid}/cmdline").read_text(encoding="utf-8")
    assert findings["broker"]["status"] == ("ok" if right else "fail")
    assert ("password_file" in findings["broker"]["repair"]) == (not right)
    for text in (told.stdout, told.stderr, log, arguments, *agent_command(config)):
        assert PASSWORD not in text


@pytest.mark.mosquitto
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed: apt install mosquitto")
@pytest.mark.parametrize(("setting", "status"), [("set_tcp_nodelay false", "warn"), ("set_tcp_nodelay true", "ok")])
def test_the_doctor_notices_a_broker_that_waits_for_acknowledgements(
    tmp_path: Path, topics: DeviceTopics, setting: str, status: str
) -> None:
    with mosquitto_broker(tmp_path, settings=[setting]) as broker:
        config = write_config(tmp_path, broker, device=topics.device)
        told = run_agent_command(config, "doctor", "--json", check=False)
    findings = {finding["what"]: finding for finding in json.loads(told.stdout)}
    assert findings["broker"]["status"] == "ok"
    assert findings["round trip"]["status"] == status, findings["round trip"]

"""Many devices over one connection: real contract messages without inference, so that only the fleet's readers work.

    python -m benchmarks.fleet.simulator '{"host": ..., "port": ..., "devices": 1000}'

It is ready when every device has announced itself. The line "heal" on standard input lets devices install what they
refused before.
"""

from __future__ import annotations

import heapq
import json
import sys
import threading
import time
import zlib
from collections.abc import Callable

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.child import READY
from drupelet_shared.contract.delivery import DeliveryState, DesiredState
from drupelet_shared.contract.messages import DeviceStatus, ModelState
from drupelet_shared.contract.topics import DeviceTopics
from support.agent.fleets import device_window, model_state, model_window

MODEL = "digits"
WINDOW_S = 10.0
_TICK_S = 0.1
_INSTALL_S = 1.0
# One in this many devices comes and goes, and is away for one flap in two.
_FLAPPING, _FLAP_S = 20, 20.0
# One in this many devices refuses every package until it is healed.
_REFUSING = 100
_TEMPLATE = "DEVICE-NAME"
_TEMPLATES = 40


def refuses(device: str) -> bool:
    """Tell whether a simulated device refuses packages; the same devices in each run."""
    return zlib.crc32(device.encode()) % _REFUSING == 0


class Simulator:
    """Devices `sim-00000`, `sim-00001`, ... of one model, at version 1.0.0 of it."""

    def __init__(self, client: Client, count: int) -> None:
        self._client = client
        self._topics = [DeviceTopics(f"sim-{number:05d}") for number in range(count)]
        self._versions = dict.fromkeys((topics.device for topics in self._topics), "1.0.0")
        self._offline: set[str] = set()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._lock = threading.Lock()
        self.is_healed = False
        self._models = [
            model_window(_TEMPLATE, MODEL, p50_ms=2.0 + number / 10, ok=40 + number).payload
            for number in range(_TEMPLATES)
        ]
        self._devices = [device_window(_TEMPLATE, celsius=45.0 + number).payload for number in range(_TEMPLATES)]

    def introduce(self) -> None:
        """Publish the retained messages of every device, and wait until the broker has them."""
        sent = None
        for topics in self._topics:
            self._announce(topics)
            sent = self._publish_state(topics)
        assert sent is not None, "there is a device"
        sent.wait_for_publish(120)

    def run(self) -> None:
        """Publish telemetry, each device every ten seconds, and let some devices come and go."""
        ticks = round(WINDOW_S / _TICK_S)
        number, start_s = 0, time.monotonic()
        while True:
            for index in range(number % ticks, len(self._topics), ticks):
                self._tell(self._topics[index], number)
            self._flap(number)
            self._run_due()
            number += 1
            time.sleep(max(0.0, start_s + number * _TICK_S - time.monotonic()))

    def receive(self, message: MQTTMessage) -> None:
        """Take a desired state or a command on the network thread."""
        _, _, device, *tail = message.topic.split("/")
        topics = DeviceTopics(device)
        if tail[-1] == "desired" and message.payload:
            desired = DesiredState.model_validate_json(message.payload)
            self._later(lambda: self._follow(topics, desired))
        elif tail[-1] == "rollback":
            self._later(lambda: self._switch(topics, "1.0.0"))
        elif tail[-1] == "activate":
            self._later(lambda: self._switch(topics, "2.0.0"))

    def _tell(self, topics: DeviceTopics, number: int) -> None:
        name = topics.device
        if name in self._offline:
            return
        model = self._models[(number + zlib.crc32(name.encode())) % _TEMPLATES]
        if self._versions[name] != "1.0.0":
            model = model.replace(b'"version":"1.2.0"', b'"version":"2.0.0"')
        device = self._devices[number % _TEMPLATES].replace(_TEMPLATE.encode(), name.encode(), 1)
        uptime = f'"uptime_s":{100.0 + number * _TICK_S:.1f}'.encode()
        self._client.publish(topics.device_telemetry, device.replace(b'"uptime_s":100.0', uptime, 1))
        self._client.publish(topics.model_telemetry(MODEL), model)

    def _flap(self, number: int) -> None:
        ticks = round(_FLAP_S / _TICK_S)
        for index in range(0, len(self._topics), _FLAPPING):
            if (number + index) % ticks == 0:
                topics = self._topics[index]
                self._offline ^= {topics.device}
                self._announce(topics)

    def _follow(self, topics: DeviceTopics, desired: DesiredState) -> None:
        version = desired.version or "2.0.0"
        if refuses(topics.device) and not self.is_healed and version != "1.0.0":
            state = DeliveryState(
                model=MODEL,
                state="failed",
                version=version,
                code="signature_untrusted",
                error="simulated",
                retry_in_s=400.0,
            )
        else:
            self._switch(topics, version)
            state = DeliveryState(model=MODEL, state="in_sync", version=version)
        self._client.publish(topics.delivery(MODEL), state.to_bytes(), qos=1, retain=True)

    def _switch(self, topics: DeviceTopics, version: str) -> None:
        self._versions[topics.device] = version
        self._publish_state(topics)

    def _announce(self, topics: DeviceTopics) -> None:
        state = "offline" if topics.device in self._offline else "online"
        status = DeviceStatus(
            state=state, device=topics.device, session="1", agent_version="0.2.0", labels={"site": "simulated"}
        )
        self._client.publish(topics.status, status.to_bytes(), qos=1, retain=True)

    def _publish_state(self, topics: DeviceTopics) -> object:
        state = ModelState.model_validate_json(model_state(topics.device, MODEL).payload)
        version = self._versions[topics.device]
        changed = state.model_copy(update={"version": version, "release": int(version[0])})
        return self._client.publish(topics.model_state(MODEL), changed.to_bytes(), qos=1, retain=True)

    def _later(self, action: Callable[[], None]) -> None:
        with self._lock:
            self._order += 1
            heapq.heappush(self._due, (time.monotonic() + _INSTALL_S, self._order, action))

    def _run_due(self) -> None:
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > time.monotonic():
                    return
                action = heapq.heappop(self._due)[2]
            action()


def main() -> None:
    """Simulate until the process is killed."""
    options = json.loads(sys.argv[1])
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.max_inflight_messages_set(500)
    simulator = Simulator(client, options["devices"])
    client.on_message = lambda _client, _userdata, message: simulator.receive(message)
    client.connect(options["host"], options["port"])
    client.loop_start()
    for tail in (f"models/{MODEL}/desired", "command/rollback", "command/activate"):
        client.subscribe(f"drupelet/v1/+/{tail}", qos=1)
    simulator.introduce()
    threading.Thread(target=simulator.run, daemon=True).start()
    print(READY, flush=True)
    for line in sys.stdin:
        simulator.is_healed = line.strip() == "heal"


if __name__ == "__main__":
    main()

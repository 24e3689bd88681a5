"""A device that speaks the MQTT contract over a real broker, with a function in place of its models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from drupelet_shared.contract.messages import DeviceStatus, ModelState
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import CODE_PROPERTY, HEADER_LENGTH_PROPERTY, OK_CODE
from drupelet_shared.inference import Encoded, InferenceReply, InferenceRequest, decode_request, encode_reply
from drupelet_shared.transport import acknowledge_now, set_no_delay
from support.broker.brokers import Broker

NAME = "pi-fake"


@dataclass(frozen=True)
class Answer:
    """What the device sends back, and after how long."""

    encoded: Encoded
    code: str = OK_CODE
    delay_s: float = 0.0


Behaviour = Callable[[MQTTMessage], Answer | None]


@dataclass
class FakeDevice:
    """A connected device and the requests it has seen."""

    client: Client
    topics: DeviceTopics
    requests: list[MQTTMessage] = field(default_factory=list)

    def announce_status(self, state: Literal["online", "offline"]) -> None:
        """Publish the retained birth message, or what a last will says."""
        status = DeviceStatus(state=state, device=self.topics.device, session="1", agent_version="0.1.0")
        self.client.publish(self.topics.status, status.to_bytes(), qos=1, retain=True).wait_for_publish(5)

    def announce(self, state: ModelState) -> None:
        """Publish a model's retained state."""
        sent = self.client.publish(self.topics.model_state(state.model), state.to_bytes(), qos=1, retain=True)
        sent.wait_for_publish(5)


def read_request(message: MQTTMessage) -> InferenceRequest:
    """Return the request in a message, by the shared codec."""
    properties = message.properties
    user = dict(getattr(properties, "UserProperty", ()))
    length = user.get(HEADER_LENGTH_PROPERTY)
    return decode_request(
        memoryview(message.payload),
        content_type=properties.ContentType,
        header_length=None if length is None else int(length),
    )


def double(message: MQTTMessage) -> Answer:
    """Return the behaviour of a model that doubles each of its inputs."""
    request = read_request(message)
    outputs = {name: array * 2 for name, array in request.inputs.items()}
    return Answer(encode_reply(InferenceReply(model_name="double", id=request.id, outputs=outputs), request))


@contextmanager
def fake_device(broker: Broker, behaviour: Behaviour = double) -> Iterator[FakeDevice]:
    """Connect a device to a broker; `behaviour` gives the answer to each request, or None for silence."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    device = FakeDevice(client=client, topics=DeviceTopics(NAME))
    subscribed = threading.Event()
    timers: list[threading.Timer] = []

    def receive(_: Client, __: object, message: MQTTMessage) -> None:
        device.requests.append(message)
        answer = behaviour(message)
        if answer is not None:
            timer = threading.Timer(answer.delay_s, _reply, args=(client, message, answer))
            timers.append(timer)
            timer.start()

    filters = [(topic, SubscribeOptions(qos=1)) for topic in device.topics.infer_filters]
    # As the agent does with its socket.
    client.on_socket_open = lambda _client, _userdata, opened: set_no_delay(opened)
    client.on_publish = lambda *_: acknowledge_now(client.socket())
    client.on_connect = lambda *_: client.subscribe(filters)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = receive
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        assert subscribed.wait(10)
        device.announce_status("online")
        yield device
    finally:
        for timer in timers:
            timer.join()
        client.disconnect()
        client.loop_stop()


def _reply(client: Client, message: MQTTMessage, answer: Answer) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.CorrelationData = message.properties.CorrelationData
    properties.ContentType = answer.encoded.content_type
    pairs = [(CODE_PROPERTY, answer.code)]
    if answer.encoded.header_length is not None:
        pairs.append((HEADER_LENGTH_PROPERTY, str(answer.encoded.header_length)))
    properties.UserProperty = pairs
    client.publish(message.properties.ResponseTopic, answer.encoded.payload, qos=1, properties=properties)

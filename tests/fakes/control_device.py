"""A device that takes commands and uploads over the broker in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from drupelet_host.client.connection.transport import MessageProperties, ReceivedMessage
from drupelet_shared.contract.delivery import LENGTH_PROPERTY, OFFSET_PROPERTY, UploadState
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import CODE_PROPERTY
from fakes.mqtt import FakeBroker
from support.agent.fleets import birth

Command = Callable[[dict[str, Any]], list[tuple[str, bytes]]]


class ControlledDevice:
    """Answers the commands of `commands` and assembles uploads, as the contract says.

    Attributes:
        commands: By name, what to answer: pairs of code and payload.
        files: What has arrived of each upload, by digest.
        repeats_answers: Whether an early answer arrives once more after each, as after a lost connection.
        answers_upload: Gives the code of an answer to a chunk; "ok" takes it.
    """

    def __init__(self, broker: FakeBroker, name: str = "pi-7") -> None:
        self.topics = DeviceTopics(name)
        self.commands: dict[str, Command] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytearray] = {}
        self.answers_upload: Callable[[ReceivedMessage], str] = lambda _: "ok"
        self.repeats_answers = False
        self._broker = broker
        broker.serve(self.topics.command_filter, self._take_command)
        broker.serve(self.topics.upload_filter, self._take_chunk)

    def announce(self, *, state: str = "online", session: str = "1") -> None:
        message = birth(self.topics.device, state=state, session=session)
        self._broker.publish(message.topic, message.payload, retain=True)

    def _take_command(self, message: ReceivedMessage, properties: MessageProperties) -> None:
        name = self.topics.parse_command(message.topic)
        assert name is not None
        request = json.loads(message.payload)
        self.requests.append((name, request))
        for code, payload in self.commands[name](request):
            self._answer(message, properties, code, payload)

    def _take_chunk(self, message: ReceivedMessage, properties: MessageProperties) -> None:
        digest = self.topics.parse_upload(message.topic)
        assert digest is not None
        user = dict(message.user_properties)
        offset = user.get(OFFSET_PROPERTY)
        code = self.answers_upload(message)
        if code != "ok":
            self._answer(message, properties, code, b'{"error": "refused"}')
            return
        data = self.files.setdefault(digest, bytearray())
        if offset is not None and int(offset) <= len(data):
            data[int(offset) :] = message.payload
        state = UploadState(
            digest=digest,
            size_bytes=int(user[LENGTH_PROPERTY]),
            received_bytes=len(data),
            chunk_offset=None if offset is None else int(offset),
        )
        self._answer(message, properties, "ok", state.to_bytes())
        if offset is not None and self.repeats_answers:
            late = state.model_copy(update={"received_bytes": 1, "chunk_offset": 0})
            self._answer(message, properties, "ok", late.to_bytes())

    def _answer(self, message: ReceivedMessage, properties: MessageProperties, code: str, payload: bytes) -> None:
        assert properties.response_topic is not None
        reply = MessageProperties(correlation_data=message.correlation_data, user_properties=((CODE_PROPERTY, code),))
        self._broker.publish(properties.response_topic, payload, reply)

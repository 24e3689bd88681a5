"""Inference on one device: requests out, each reply back to whoever waits for it."""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from paho.mqtt.client import MQTTMessage
from pydantic import ValidationError

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.client.connection.connection import Connection, publish_properties
from drupelet_host.client.inference.pending import Again, PendingReplies
from drupelet_host.client.inference.reply import read_reply
from drupelet_host.errors import RemoteError, ReplyTimeoutError
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.topics import DEFAULT_PREFIX, DeviceTopics
from drupelet_shared.contract.wire import HEADER_LENGTH_PROPERTY, JSON_TYPE, sniff_content_type
from drupelet_shared.engines.base import Array
from drupelet_shared.inference import Encoded, InferenceReply, InferenceRequest, RequestedOutput, encode_request

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 30.0


class DeviceClient:
    """A device's models, as a context manager; safe to use from several threads.

    Example:
        with DeviceClient("pi-1", broker=BrokerAddress("broker.local")) as client:
            reply = client.infer("resnet18", {"input": array}, timeout_s=5)
    """

    def __init__(
        self,
        device: str,
        *,
        broker: BrokerAddress,
        prefix: str = DEFAULT_PREFIX,
        connect_timeout_s: float = 10.0,
    ) -> None:
        self._topics = DeviceTopics(device, prefix=prefix)
        self._connection = Connection(broker, on_message=self._received)
        self._connect_timeout_s = connect_timeout_s
        self._reply_topic = f"{prefix.strip('/')}/clients/{self._connection.client_id}/reply"
        self._pending = PendingReplies()
        self._numbers = itertools.count(1)
        self._watching: dict[str, Future[bytes]] = {}
        self._watch_lock = threading.Lock()
        self._whom = f"device {device!r}"
        # One device keeps a request that it has not answered; nobody else would.
        self._again_after_s: float | None = None
        # Refusals that the next try may not meet.
        self._tried_again: frozenset[str | None] = frozenset()

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        try:
            self._connection.open(self._reply_topic, timeout_s=self._connect_timeout_s)
        except BaseException:
            self._pending.close(RemoteError("the client could not connect"))
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect; what is still in flight fails."""
        self._connection.close()
        self._pending.close(RemoteError(f"{self._whom}: the client was closed before the answer"))

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *,
        version: str | None = None,
        outputs: Iterable[str] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        binary: bool = True,
    ) -> InferenceReply:
        """Send tensors and wait for the model's.

        Args:
            model: The model's name.
            inputs: Arrays by input name, of the model's datatypes and shapes.
            version: The version that must answer; whichever is active by default.
            outputs: The outputs wanted; all by default.
            timeout_s: How long to wait; the device drops the request after that.
            binary: Send and ask for raw bytes; JSON otherwise.

        Raises:
            RemoteError: The device refused; `device_code` says why.
            ReplyTimeoutError: No answer came in time.
            RequestError: The tensors cannot be encoded, or are larger than the broker takes.
        """
        wanted = None if outputs is None else tuple(RequestedOutput(name, binary) for name in outputs)
        request = InferenceRequest(inputs=dict(inputs), outputs=wanted, binary_output=binary)
        encoded = encode_request(request, binary=binary)
        return self.submit(model, encoded, version=version, timeout_s=timeout_s).result()

    def infer_image(
        self, model: str, payload: bytes, *, version: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> InferenceReply:
        """Send a JPEG or PNG file's bytes and wait for the answer: for a classifier `labels`, `scores` and `indices`.

        Raises:
            RemoteError: The device refused; `device_code` says why.
            ReplyTimeoutError: No answer came in time.
            RequestError: It is neither, or larger than the broker takes.
        """
        encoded = Encoded(payload=payload, content_type=sniff_content_type(payload), header_length=None)
        return self.submit(model, encoded, version=version, timeout_s=timeout_s).result()

    def submit(
        self,
        model: str,
        encoded: Encoded,
        *,
        version: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Future[InferenceReply]:
        """Send one request and return at once; many may be in flight.

        Args:
            model: The model's name.
            encoded: The body: from `encode_request`, or the bytes of an image or of a JSON request.
            version: The version that must answer; whichever is active by default.
            timeout_s: After this long the future fails with `ReplyTimeoutError`.

        Raises:
            PayloadSizeError: The body is larger than the broker takes.
            InvalidValueError: The model's or the version's name is malformed.
        """
        topic = self._infer_topic(model, version)
        correlation = next(self._numbers).to_bytes(8, "big")
        properties = publish_properties()
        properties.ResponseTopic = self._reply_topic
        properties.CorrelationData = correlation
        properties.ContentType = encoded.content_type
        properties.MessageExpiryInterval = max(1, math.ceil(timeout_s))
        if encoded.content_type == JSON_TYPE:
            properties.PayloadFormatIndicator = 1
        if encoded.header_length is not None:
            properties.UserProperty = (HEADER_LENGTH_PROPERTY, str(encoded.header_length))
        too_late = ReplyTimeoutError(f"{self._whom}, model {model!r}: no answer within {timeout_s:g} s")

        def send() -> None:
            self._connection.publish(topic, encoded.payload, properties)

        again = None if self._again_after_s is None else Again(self._again_after_s, send)
        future = self._pending.add(correlation, timeout_s=timeout_s, too_late=too_late, again=again)
        try:
            send()
        except BaseException:
            self._pending.take(correlation)
            raise
        return future

    def _infer_topic(self, model: str, version: str | None) -> str:
        return self._topics.infer(model, version)

    def model_state(self, model: str, *, timeout_s: float = 5.0) -> ModelState:
        """What the device runs for a model, from its retained state.

        Raises:
            ReplyTimeoutError: The device has not announced the model.
            RemoteError: What it announced is malformed.
        """
        topic = self._topics.model_state(model)
        with self._watch_lock:
            watch = self._watching.setdefault(topic, Future())
            self._connection.subscribe(topic)
        try:
            return ModelState.model_validate_json(watch.result(timeout_s))
        except TimeoutError as error:
            raise ReplyTimeoutError(
                f"device {self._topics.device!r}, model {model!r}: no state announced within {timeout_s:g} s"
            ) from error
        except ValidationError as error:
            raise RemoteError(f"device {self._topics.device!r}, model {model!r}: malformed state: {error}") from error
        finally:
            with self._watch_lock:
                if self._watching.pop(topic, None) is not None:
                    self._connection.unsubscribe(topic)

    def _received(self, message: MQTTMessage) -> None:
        """Runs on the network thread, which an exception would end."""
        with self._watch_lock:
            watch = self._watching.get(message.topic)
            if watch is not None and not watch.done():
                watch.set_result(bytes(message.payload))
        if message.topic != self._reply_topic:
            return
        reply: InferenceReply | RemoteError
        try:
            reply = read_reply(message, device=self._topics.device)
        except RemoteError as error:
            if error.device_code in self._tried_again:
                return
            reply = error
        future = self._pending.take(getattr(message.properties, "CorrelationData", None))
        if future is None:
            log.debug("reply that nobody waits for bytes=%d", len(message.payload))
        elif isinstance(reply, RemoteError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

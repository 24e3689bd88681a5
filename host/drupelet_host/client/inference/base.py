"""The inference client that devices' and pools' clients share: requests out, each reply back to its future."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from drupelet_host.client.connection.transport import MessageHandler, MessageProperties, ReceivedMessage, Transport
from drupelet_host.client.inference.pending import PendingReplies, Resend
from drupelet_host.client.inference.reply import read_reply
from drupelet_host.errors import BrokerError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.wire import HEADER_LENGTH_PROPERTY, JSON_TYPE, sniff_content_type
from drupelet_shared.engines.base import Array
from drupelet_shared.errors import InvalidValueError
from drupelet_shared.inference import Encoded, InferenceReply, InferenceRequest, RequestedOutput, encode_request

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_CONNECT_TIMEOUT_S = 10.0
# Timers and the Message Expiry Interval take this much everywhere.
_LONGEST_TIMEOUT_S = 365 * 86400
# Random, so that another client of the broker cannot guess it and forge a reply.
_CORRELATION_BYTES = 16


class InferenceTopics(Protocol):
    """The request topics of a device or a pool."""

    def infer(self, model: str, version: str | None = None) -> str:
        """Return the topic for requests to a model, or to one version of it."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a request is sent again before its deadline.

    Attributes:
        after_s: The time without a reply after which the request is sent again; the interval then doubles.
        ignored_codes: Codes of refusals after which the client keeps waiting for the answer to a later try.
    """

    after_s: float
    ignored_codes: frozenset[str]


class InferenceClient:
    """Sends inference requests to one target and returns the replies; safe to use from several threads.

    It is a context manager that connects on entry; `async with` connects without blocking the event loop. Subclasses
    choose the target; they override nothing.
    """

    def __init__(
        self,
        *,
        target: str,
        topics: InferenceTopics,
        transport: Transport,
        prefix: str,
        connect_timeout_s: float,
        retry: RetryPolicy | None = None,
        on_other_message: MessageHandler | None = None,
    ) -> None:
        """Make a client that is not connected yet.

        Args:
            target: The device or pool for error messages, such as `device 'pi-7'`.
            topics: The target's request topics.
            transport: The connection to the broker, not open yet.
            prefix: The first levels of the topics.
            connect_timeout_s: The limit for connecting to the broker.
            retry: When to send a request again; never by default, because a device keeps what it has not answered.
            on_other_message: Receives the messages that are no replies, on the network thread.
        """
        self._target = target
        self._infer_topics = topics
        self._transport = transport
        self._connect_timeout_s = connect_timeout_s
        self._reply_topic = f"{prefix.strip('/')}/clients/{transport.client_id}/reply"
        self._retry = retry
        self._on_other_message = on_other_message
        self._pending = PendingReplies()
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        """Connect; a client connects once.

        Raises:
            BrokerError: The broker cannot be reached or refuses the client.
        """
        try:
            self._transport.open(self._reply_topic, on_message=self._receive, timeout_s=self._connect_timeout_s)
        except BaseException:
            self._pending.close(RemoteError("the client could not connect"))
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect and fail the requests that are still in flight."""
        if os.getpid() != self._pid:
            # A forked process has the socket too, and would end the connection of the other one.
            return
        self._transport.close()
        self._pending.close(RemoteError(f"{self._target}: the client was closed before the answer: make a new one"))

    async def __aenter__(self) -> Self:
        """Connect without blocking the event loop.

        Raises:
            BrokerError: The broker cannot be reached or refuses the client.
        """
        opening = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread cannot be cancelled; it ends within the limit for connecting.
            await asyncio.wait({opening})
            if opening.exception() is None:
                await asyncio.to_thread(self.__exit__, None, None, None)
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect and fail the requests that are still in flight."""
        await asyncio.to_thread(self.__exit__, exc_type, exc, traceback)

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
        """Send tensors and wait for the model's outputs.

        Args:
            model: The model's name.
            inputs: Arrays by input name, with the model's datatypes and shapes.
            version: The version that must answer; the active one by default.
            outputs: The names of the outputs to return; all by default.
            timeout_s: The time to wait for the reply; the device drops the request after it.
            binary: Whether tensors travel as raw bytes in both directions; as JSON otherwise.

        Returns:
            The model's outputs by name.

        Raises:
            RemoteError: The device refused the request; `device_code` holds its error code.
            BrokerError: The broker refused the request.
            ReplyTimeoutError: No reply arrived within `timeout_s`.
            RequestError: The tensors cannot be encoded, or are larger than the broker accepts.
            InvalidValueError: The name of the model or of the version is malformed.
        """
        encoded = _encode_tensors(inputs, outputs=outputs, binary=binary)
        return self.submit(model, encoded, version=version, timeout_s=timeout_s).result()

    async def infer_async(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *,
        version: str | None = None,
        outputs: Iterable[str] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        binary: bool = True,
    ) -> InferenceReply:
        """Send tensors as `infer` does, and await the model's outputs; many requests may be in flight.

        Args:
            model: The model's name.
            inputs: Arrays by input name, with the model's datatypes and shapes.
            version: The version that must answer; the active one by default.
            outputs: The names of the outputs to return; all by default.
            timeout_s: The time to wait for the reply; the device drops the request after it.
            binary: Whether tensors travel as raw bytes in both directions; as JSON otherwise.

        Returns:
            The model's outputs by name.
        """
        encoded = _encode_tensors(inputs, outputs=outputs, binary=binary)
        return await asyncio.wrap_future(self.submit(model, encoded, version=version, timeout_s=timeout_s))

    def infer_image(
        self, model: str, payload: bytes, *, version: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> InferenceReply:
        """Send an image file and wait for the model's outputs: `labels`, `scores` and `indices` of a classifier.

        Labels are text, the best first.

        Args:
            model: The model's name.
            payload: The bytes of a JPEG or PNG file.
            version: The version that must answer; the active one by default.
            timeout_s: The time to wait for the reply; the device drops the request after it.

        Returns:
            The model's outputs by name.

        Raises:
            RemoteError: The device refused the request; `device_code` holds its error code.
            BrokerError: The broker refused the request.
            ReplyTimeoutError: No reply arrived within `timeout_s`.
            RequestError: The payload is neither JPEG nor PNG, or is larger than the broker accepts.
            InvalidValueError: The name of the model or of the version is malformed.
        """
        encoded = Encoded(payload=payload, content_type=sniff_content_type(payload), header_length=None)
        return self.submit(model, encoded, version=version, timeout_s=timeout_s).result()

    async def infer_image_async(
        self, model: str, payload: bytes, *, version: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> InferenceReply:
        """Send an image file as `infer_image` does, and await the model's outputs; many requests may be in flight.

        Args:
            model: The model's name.
            payload: The bytes of a JPEG or PNG file.
            version: The version that must answer; the active one by default.
            timeout_s: The time to wait for the reply; the device drops the request after it.

        Returns:
            The model's outputs by name.
        """
        encoded = Encoded(payload=payload, content_type=sniff_content_type(payload), header_length=None)
        return await asyncio.wrap_future(self.submit(model, encoded, version=version, timeout_s=timeout_s))

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
            version: The version that must answer; the active one by default.
            timeout_s: The time after which the future fails with `ReplyTimeoutError`.

        Returns:
            The future of the reply. It fails with `RemoteError` if the device refuses the request, and with
            `BrokerError` if the broker does.

        Raises:
            PayloadSizeError: The body is larger than the broker accepts.
            InvalidValueError: The name of the model or of the version is malformed, or the time is no time to wait.
            RemoteError: The client is closed, or was made in the process from which this one was forked.
        """
        self._check_usable(timeout_s)
        topic = self._infer_topics.infer(model, version)
        correlation = secrets.token_bytes(_CORRELATION_BYTES)
        properties = self._request_properties(encoded, correlation=correlation, timeout_s=timeout_s)
        timeout_error = ReplyTimeoutError(f"{self._target}, model {model!r}: no answer within {timeout_s:g} s")

        def confirm(refusal: str | None) -> None:
            if refusal is not None and (future := self._pending.take(correlation)) is not None:
                future.set_exception(self._refusal(refusal, model=model, size_bytes=len(encoded.payload)))

        def send() -> None:
            self._transport.publish(topic, encoded.payload, properties, on_confirmed=confirm)

        resend = None if self._retry is None else Resend(self._retry.after_s, send)
        future = self._pending.add(correlation, timeout_s=timeout_s, timeout_error=timeout_error, resend=resend)
        try:
            send()
        except BaseException:
            self._pending.take(correlation)
            raise
        return future

    def _check_usable(self, timeout_s: float) -> None:
        if not 0 < timeout_s <= _LONGEST_TIMEOUT_S:
            raise InvalidValueError(
                f"timeout_s {timeout_s!r}: expected seconds above 0, and at most a year ({_LONGEST_TIMEOUT_S})"
            )
        if os.getpid() != self._pid:
            raise RemoteError(
                f"{self._target}: the client was made in process {self._pid}, and its threads do not exist in process "
                f"{os.getpid()}, which was forked from it: make a client in each process"
            )

    def _refusal(self, reason: str, *, model: str, size_bytes: int) -> BrokerError:
        return BrokerError(
            f"{self._target}, model {model!r}: the broker refuses the request of {size_bytes} bytes: {reason}"
        )

    def _request_properties(self, encoded: Encoded, *, correlation: bytes, timeout_s: float) -> MessageProperties:
        length = encoded.header_length
        return MessageProperties(
            response_topic=self._reply_topic,
            correlation_data=correlation,
            content_type=encoded.content_type,
            expiry_s=max(1, math.ceil(timeout_s)),
            is_text=encoded.content_type == JSON_TYPE,
            user_properties=() if length is None else ((HEADER_LENGTH_PROPERTY, str(length)),),
        )

    def _receive(self, message: ReceivedMessage) -> None:
        """Take a message on the network thread, which an exception would end."""
        if message.topic == self._reply_topic:
            self._receive_reply(message)
        elif self._on_other_message is not None:
            self._on_other_message(message)

    def _receive_reply(self, message: ReceivedMessage) -> None:
        reply: InferenceReply | RemoteError
        try:
            reply = read_reply(message, target=self._target)
        except RemoteError as error:
            if self._retry is not None and error.device_code in self._retry.ignored_codes:
                return
            reply = error
        future = self._pending.take(message.correlation_data)
        if future is None:
            log.debug("reply without a pending request bytes=%d", len(message.payload))
        elif isinstance(reply, RemoteError):
            future.set_exception(reply)
        else:
            future.set_result(reply)


def _encode_tensors(inputs: Mapping[str, Array], *, outputs: Iterable[str] | None, binary: bool) -> Encoded:
    requested = None if outputs is None else tuple(RequestedOutput(name, binary) for name in outputs)
    request = InferenceRequest(inputs=dict(inputs), outputs=requested, binary_output=binary)
    return encode_request(request, binary=binary)

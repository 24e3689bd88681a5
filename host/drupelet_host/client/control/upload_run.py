"""One run of an upload: ask how far the device is, then send chunks from there and count the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import ValidationError

from drupelet_host.client.connection.paho_client import PACKET_TOO_LARGE, describe_puback
from drupelet_host.client.control.calls import CallAnswer, PendingCall
from drupelet_host.client.control.control import SendMessage
from drupelet_host.errors import BrokerError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.delivery import LENGTH_PROPERTY, OFFSET_PROPERTY, UploadState
from drupelet_shared.errors import PayloadSizeError

# Sent and not yet answered: what a link of 10 MB/s and 100 ms holds.
_WINDOW_BYTES = 2**20
# An agent refuses more messages than this while they wait for its disk.
_WINDOW_MESSAGES = 64


class GapError(Exception):
    """A chunk was lost, so that the device cannot use those after it."""


class ChunkRefusedError(Exception):
    """The broker refuses a chunk for its size."""


class ChunkUnansweredError(Exception):
    """The device answered the question how far it is, but not the chunk after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRun:
    """One run over a file with Correlation Data of its own, which answers to earlier runs do not match.

    Attributes:
        size_bytes: The size of the file.
        data: The file, opened.
        topic: The device's topic for this file.
        call: Collects the device's answers.
        send: Sends one message of the call.
        chunk_bytes: The size of the chunks.
        answer_s: The time to wait for each answer.
        on_start: Receives the number of bytes that the device has when the run starts.
        on_received: Receives the number of bytes that the device had, at each answer to a chunk.
    """

    size_bytes: int
    data: BinaryIO
    topic: str
    call: PendingCall
    send: SendMessage
    chunk_bytes: int
    answer_s: float
    on_start: Callable[[int], None]
    on_received: Callable[[int], None]

    def run(self) -> None:
        """Send the file from where the device is until it has all of it.

        Raises:
            GapError: A chunk was lost and a later one arrived.
            ChunkRefusedError: The broker refuses a chunk for its size.
            ChunkUnansweredError: The device does not answer the first chunk of this run.
            ReplyTimeoutError: An answer did not arrive in time.
            RemoteError: The device refuses the file.
        """
        self.send(self.topic, b"", self._properties())
        received = self._next_state().received_bytes
        self.on_start(received)
        sent, is_first_chunk = received, True
        self.data.seek(sent)
        while received < self.size_bytes:
            while sent < self.size_bytes and sent - received < self._window_bytes:
                sent += self._send_chunk(sent)
            state = self._next_chunk_state(is_first=is_first_chunk)
            self.on_received(state.received_bytes)
            if state.has_gap and is_first_chunk:
                # A short last chunk may pass where those before it do not.
                raise ChunkUnansweredError(f"chunks of {self.chunk_bytes} bytes were lost on the way")
            is_first_chunk = False
            if state.has_gap:
                raise GapError(f"the device has {state.received_bytes} bytes and got those at {state.chunk_offset}")
            received = max(received, state.received_bytes)

    @property
    def _window_bytes(self) -> int:
        return min(_WINDOW_BYTES, _WINDOW_MESSAGES * self.chunk_bytes)

    def _send_chunk(self, offset: int) -> int:
        chunk = self.data.read(self.chunk_bytes)
        try:
            self.send(self.topic, chunk, (*self._properties(), (OFFSET_PROPERTY, str(offset))))
        except PayloadSizeError as error:
            raise ChunkRefusedError(str(error)) from error
        return len(chunk)

    def _next_chunk_state(self, *, is_first: bool) -> UploadState:
        try:
            return self._next_state()
        except BrokerError as error:
            if describe_puback(PACKET_TOO_LARGE) in str(error):
                raise ChunkRefusedError(str(error)) from error
            raise
        except ReplyTimeoutError as error:
            if is_first:
                raise ChunkUnansweredError(
                    f"chunks of {self.chunk_bytes} bytes were not answered within {self.answer_s:g} s"
                ) from error
            raise

    def _next_state(self) -> UploadState:
        return self._read(self.call.next(timeout_s=self.answer_s))

    def _read(self, answer: CallAnswer) -> UploadState:
        try:
            return UploadState.model_validate_json(answer.payload)
        except ValidationError as error:
            raise RemoteError(f"device {self.call.device!r}, upload: malformed answer: {error}") from error

    def _properties(self) -> tuple[tuple[str, str], ...]:
        return ((LENGTH_PROPERTY, str(self.size_bytes)),)

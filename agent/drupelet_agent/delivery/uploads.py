"""Uploads: chunks of a package from MQTT messages to the disk, each answered with the number of bytes received.

The bytes are neither read nor checked here (decision 0002): the process that installs them compares their digest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from drupelet_agent.delivery.spool import Spool
from drupelet_agent.errors import StoreError
from drupelet_agent.messaging.replies import ReplyAddress, default_address, reply_address
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.mqtt.message import Message
from drupelet_shared.contract.delivery import LENGTH_PROPERTY, OFFSET_PROPERTY, UploadState
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import OK_CODE, encode_error
from drupelet_shared.errors import BusyError, DrupeletError, UploadError

log = logging.getLogger(__name__)

# The limit on chunks that wait for the disk; further ones are refused.
_MAX_WAITING_BYTES = 16 * 2**20
_MAX_WAITING = 64
_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Chunk:
    """One message of an upload.

    Attributes:
        digest: The SHA-256 of the file.
        size: The size of the file.
        offset: The position of the data in the file; None for a query of the state.
        data: The bytes.
    """

    digest: str
    size: int
    offset: int | None
    data: bytes


class Uploads:
    """Handles the upload topics; it runs on the event loop, and writes to the disk on another thread."""

    def __init__(self, topics: DeviceTopics, spool: Spool, *, replies: ReplyPublisher) -> None:
        """Start without chunks.

        Args:
            topics: The topics of the device.
            spool: The files on disk.
            replies: Publishes the state of uploads.
        """
        self.filters = (topics.upload_filter,)
        self._topics = topics
        self._spool = spool
        self._replies = replies
        self._waiting: asyncio.Queue[tuple[Chunk, ReplyAddress]] = asyncio.Queue(_MAX_WAITING)
        self._waiting_bytes = 0

    def handle(self, message: Message) -> None:
        """Queue a chunk for the disk, or refuse it at once."""
        digest = self._topics.parse_upload(message.topic)
        if digest is None:
            return
        address = default_address(message, topic=self._topics.upload_state(digest))
        try:
            address = reply_address(message, self._topics, address)
            chunk = read_chunk(digest, message.user_properties, message.payload)
            if self._waiting.full() or self._waiting_bytes > _MAX_WAITING_BYTES:
                raise BusyError(f"upload {digest[:12]}: {self._waiting_bytes} bytes wait for the disk already")
        except DrupeletError as error:
            self._refuse(address, error)
            return
        self._waiting_bytes += len(chunk.data)
        self._waiting.put_nowait((chunk, address))

    async def run(self) -> None:
        """Write chunks to the disk until cancelled."""
        while True:
            chunk, address = await self._waiting.get()
            try:
                # An SD card may take seconds, during which the agent must answer requests.
                received = await asyncio.to_thread(self._write, chunk)
            except DrupeletError as error:
                log.warning("upload %s: %s [%s]", chunk.digest[:12], error, error.code)
                self._refuse(address, error)
            except Exception as error:
                # The agent would end with this task, for example where the system starts no further thread.
                log.exception("upload %s: chunk not written", chunk.digest[:12])
                self._refuse(address, StoreError(f"upload {chunk.digest[:12]}: {error}"))
            else:
                state = UploadState(
                    digest=chunk.digest, size_bytes=chunk.size, received_bytes=received, chunk_offset=chunk.offset
                )
                self._answer(address, OK_CODE, state.to_bytes())
            self._waiting_bytes -= len(chunk.data)

    def _write(self, chunk: Chunk) -> int:
        if chunk.offset is None:
            return self._spool.received(chunk.digest, chunk.size)
        return self._spool.append(chunk.digest, chunk.size, offset=chunk.offset, chunk=chunk.data)

    def _refuse(self, address: ReplyAddress, error: DrupeletError) -> None:
        self._answer(address, error.code, encode_error(error, request_id=None))

    def _answer(self, address: ReplyAddress, code: str, payload: bytes) -> None:
        self._replies.send(address, payload, code=code)


def read_chunk(digest: str, user_properties: Sequence[tuple[str, str]], payload: bytes) -> Chunk:
    """Return the chunk in a message.

    Args:
        digest: The SHA-256 of the file, from the topic.
        user_properties: The User Properties of the message.
        payload: The bytes.

    Raises:
        UploadError: A property is missing or malformed.
    """
    properties = dict(user_properties)
    size = _number(properties, LENGTH_PROPERTY)
    if not size:
        raise UploadError(
            f"upload {digest[:12]}: User Property {LENGTH_PROPERTY} must be the size of the file in bytes"
        )
    offset = _number(properties, OFFSET_PROPERTY)
    if (offset is None) == bool(payload):
        raise UploadError(f"upload {digest[:12]}: bytes and User Property {OFFSET_PROPERTY} belong together")
    return Chunk(digest, size, offset, payload)


def _number(properties: dict[str, str], name: str) -> int | None:
    value = properties.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
        raise UploadError(f"User Property {name} is {value[:32]!r}: expected a number of bytes")
    return int(value)

"""The bridge from the page's WebSocket to the broker's TCP or TLS port, which adds the account."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from drupelet_host.client.connection.address import BrokerAddress
from drupelet_host.dashboard.login import add_login, split_packet
from drupelet_shared.errors import InvalidValueError

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16
_CONNECT_TIMEOUT_S = 10.0
# WebSocket close codes (RFC 6455, section 7.4.1; 1014 is registered with IANA for a failed gateway).
_BAD_PACKET, _BAD_GATEWAY, _GONE = 1002, 1014, 1001


class Bridge:
    """Forwards bytes between browsers and one broker; each WebSocket gets a connection of its own."""

    def __init__(self, broker: BrokerAddress, *, tls: ssl.SSLContext | None) -> None:
        """Make a bridge.

        Args:
            broker: The broker's address and the account.
            tls: The TLS context of the connections to the broker; None connects in plain text.
        """
        self._broker = broker
        self._tls = tls

    async def serve(self, browser: ServerConnection) -> None:
        """Forward bytes in both directions until one side closes, then close the other."""
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self._broker.host, self._broker.port, ssl=self._tls)
        except (OSError, TimeoutError) as error:
            log.warning("broker %s: %s", self._broker, str(error) or "no answer")
            await browser.close(_BAD_GATEWAY, "the broker cannot be reached")
            return
        try:
            await self._forward(browser, reader, writer)
        except InvalidValueError as error:
            log.warning("browser refused: %s", error)
            await browser.close(_BAD_PACKET, "not an MQTT connection")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            await browser.close(_GONE)

    async def _forward(
        self, browser: ServerConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        directions = {
            asyncio.create_task(self._from_browser(browser, writer)),
            asyncio.create_task(_to_browser(browser, reader)),
        }
        done, left = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in left:
            direction.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for direction in done:
            with suppress(OSError, ConnectionClosed):
                direction.result()

    async def _from_browser(self, browser: ServerConnection, writer: asyncio.StreamWriter) -> None:
        head: bytes | None = b""
        async for message in browser:
            data = message if isinstance(message, bytes) else message.encode()
            if head is not None:
                head += data
                packet = split_packet(head)
                if packet is None:
                    continue
                body, rest = packet
                data = add_login(body, username=self._broker.username, password=self._broker.password) + rest
                head = None
            writer.write(data)
            await writer.drain()


async def _to_browser(browser: ServerConnection, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        await browser.send(data)

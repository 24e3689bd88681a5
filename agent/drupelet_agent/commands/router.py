"""Runs the commands that arrive over MQTT, and publishes their progress and results."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from drupelet_agent.commands.runner import CommandRunner
from drupelet_agent.commands.table import COMMANDS
from drupelet_agent.messaging.replies import ReplyAddress, default_address, reply_address
from drupelet_agent.messaging.reply_publisher import ReplyPublisher
from drupelet_agent.mqtt.message import Message
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import MAX_COMMAND_BYTES, PROGRESS_CODE, encode_error
from drupelet_shared.errors import CommandError, DrupeletError, UnknownCommandError

log = logging.getLogger(__name__)

# The number of commands that are recognised when they are delivered again; very long answers are not repeated.
_REMEMBERED = 64

_Key = tuple[str, bytes, str, bytes]


@dataclass(frozen=True, slots=True)
class _Answer:
    code: str
    payload: bytes


class CommandRouter:
    """Handles the command topics; everything runs on the event loop.

    A command is acknowledged when it arrives, since it may run for minutes and acknowledgements keep their order. If
    the device fails meanwhile, the command has been carried out completely or not at all, and its sender repeats it.
    """

    def __init__(self, topics: DeviceTopics, runner: CommandRunner, *, replies: ReplyPublisher) -> None:
        """Start without commands.

        Args:
            topics: The topics of the device.
            runner: Runs the commands.
            replies: Publishes progress and results.
        """
        self.filters = (topics.command_filter,)
        self._topics = topics
        self._runner = runner
        self._replies = replies
        self._tasks: set[asyncio.Task[None]] = set()
        # None while the command runs.
        self._known: OrderedDict[_Key, _Answer | None] = OrderedDict()

    def handle(self, message: Message) -> None:
        """Start a command, or refuse it at once."""
        name = self._topics.parse_command(message.topic)
        if name is None:
            return
        address = default_address(message, topic=self._topics.command_result(name))
        try:
            address = reply_address(message, self._topics, address)
            self._check(name, len(message.payload))
        except DrupeletError as error:
            self._reply(address, error.code, encode_error(error, request_id=None))
            return
        key = _key_of(name, message, address)
        if key is not None and key in self._known:
            known = self._known[key]
            if known is not None:
                self._reply(address, known.code, known.payload)
            return
        self._remember(key, None)
        self._start(self._run(name, message, address, key))

    async def stop(self) -> None:
        """Cancel the running commands."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _check(self, name: str, length: int) -> None:
        if name not in COMMANDS:
            raise UnknownCommandError(f"command {name!r}: this device knows {', '.join(sorted(COMMANDS))}")
        if length > MAX_COMMAND_BYTES:
            raise CommandError(f"command {name} has {length} bytes: the limit is {MAX_COMMAND_BYTES}")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, name: str, message: Message, address: ReplyAddress, key: _Key | None) -> None:
        def answer(code: str, payload: bytes) -> None:
            if code != PROGRESS_CODE and len(payload) <= MAX_COMMAND_BYTES:
                self._remember(key, _Answer(code, payload))
            self._reply(address, code, payload)

        expiry_s = message.expiry_s
        deadline_s = None if expiry_s is None else asyncio.get_running_loop().time() + expiry_s
        try:
            await self._runner.run(name, message.payload, on_answer=answer, deadline_s=deadline_s)
        except DrupeletError as error:
            answer(error.code, encode_error(error, request_id=None))

    def _remember(self, key: _Key | None, answer: _Answer | None) -> None:
        if key is None:
            return
        self._known[key] = answer
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _reply(self, address: ReplyAddress, code: str, payload: bytes) -> None:
        self._replies.send(address, payload, code=code)


def _key_of(name: str, message: Message, address: ReplyAddress) -> _Key | None:
    """Return what two deliveries of one command have in common; None where a repetition looks like a second command.

    A client may count its Correlation Data from 1 at each start, so name and request belong to it: another command must
    not be taken for one that was answered before.
    """
    if address.correlation is None:
        return None
    return address.topic, address.correlation, name, hashlib.sha256(message.payload).digest()

"""Everything that others ask of this device besides inference, by the topic it comes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from drupelet_agent.commands.router import CommandRouter
from drupelet_agent.commands.runner import CommandRunner
from drupelet_agent.config.sections import AgentConfig
from drupelet_agent.delivery.desired import DesiredStates
from drupelet_agent.delivery.spool import Spool
from drupelet_agent.delivery.uploads import Uploads
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.store.store import Store, incoming_folder
from drupelet_shared.contract.topics import DeviceTopics


class Orders:
    """Commands, uploads and desired states; everything runs on the event loop."""

    def __init__(
        self, config: AgentConfig, store: Store, topics: DeviceTopics, *, publish: Callable[[Publication], None]
    ) -> None:
        self._topics = topics
        runner = CommandRunner(config)
        self._commands = CommandRouter(topics, runner, publish=publish)
        self._desired = DesiredStates(topics, store, runner, publish=publish)
        spool = Spool(incoming_folder(config.state_dir), config.delivery)
        self._uploads = Uploads(topics, spool, publish=publish)

    @property
    def filters(self) -> tuple[str, ...]:
        """The subscriptions that receive all of it."""
        return self._topics.command_filter, self._topics.upload_filter

    @property
    def retained_filters(self) -> tuple[str, ...]:
        """The subscriptions to what was said before, and still holds."""
        return (self._topics.desired_filter,)

    def connected(self, *, session_present: bool) -> None:
        """After each connect, before the messages that follow it."""
        self._desired.connected(session_present=session_present)

    def route(self, message: Message) -> None:
        """Hand a message to whom it concerns; what concerns nobody is ignored."""
        self._commands.route(message)
        self._uploads.route(message)
        self._desired.route(message)

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.gather(self._uploads.run(), self._desired.run())

    async def stop(self) -> None:
        """End the commands that run."""
        await self._commands.stop()

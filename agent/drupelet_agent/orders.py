"""Everything that others ask of this device besides inference, by the topic it comes on."""

from __future__ import annotations

from collections.abc import Callable

from drupelet_agent.commands.router import CommandRouter
from drupelet_agent.commands.runner import CommandRunner
from drupelet_agent.config import AgentConfig
from drupelet_agent.delivery.spool import Spool
from drupelet_agent.delivery.uploads import Uploads
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.store.store import incoming_folder
from drupelet_shared.topics import DeviceTopics


class Orders:
    """Commands and uploads; everything runs on the event loop."""

    def __init__(self, config: AgentConfig, topics: DeviceTopics, *, publish: Callable[[Publication], None]) -> None:
        self._topics = topics
        self._commands = CommandRouter(topics, CommandRunner(config), publish=publish)
        spool = Spool(incoming_folder(config.state_dir), config.delivery)
        self._uploads = Uploads(topics, spool, publish=publish)

    @property
    def filters(self) -> tuple[str, ...]:
        """The subscriptions that receive all of it."""
        return self._topics.command_filter, self._topics.upload_filter

    def route(self, message: Message) -> None:
        """Hand a message to whom it concerns; what concerns nobody is ignored."""
        self._commands.route(message)
        self._uploads.route(message)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._uploads.run()

    async def stop(self) -> None:
        """End the commands that run."""
        await self._commands.stop()

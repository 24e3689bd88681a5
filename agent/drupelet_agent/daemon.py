"""The running agent: wires store, models, broker and telemetry, and ends in good order."""

from __future__ import annotations

import asyncio
import logging
import signal
import uuid

from paho.mqtt.client import MQTTMessage

from drupelet_agent.config import AgentConfig
from drupelet_agent.fleet import Fleet
from drupelet_agent.mqtt import home_assistant
from drupelet_agent.mqtt.announcer import Announcer, status_publication
from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.requests import RequestRouter
from drupelet_agent.resources.probe import cpu_model
from drupelet_agent.store.store import Store
from drupelet_agent.telemetry.device import read_device
from drupelet_shared.messages import ModelState
from drupelet_shared.topics import DeviceTopics

log = logging.getLogger(__name__)

_STORE_POLL_S = 0.5
# A request a little over the limit is read and refused with a reply; the broker holds back what is far over it.
_REFUSABLE_FACTOR = 2


class Daemon:
    """One agent; everything runs on the event loop it is made in."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._store = Store(config.state_dir)
        self._topics = DeviceTopics(config.device, prefix=config.broker.prefix)
        session = uuid.uuid4().hex
        self._connection = BrokerConnection(
            config.broker,
            client_id=f"drupelet-{config.device}",
            will=status_publication(self._topics, state="offline", session=session),
            receive_maximum=config.limits.queue_length,
            max_packet_bytes=_REFUSABLE_FACTOR * config.limits.max_payload,
            on_connected=self._on_connected,
            on_message=self._on_message,
        )
        self._announcer = Announcer(
            self._topics,
            session=session,
            publish=self._connection.publish,
            connected=lambda: self._connection.connected,
            outbox_length=config.telemetry.outbox_length,
        )
        self._fleet = Fleet(self._store, config.limits, on_state=self._on_state)
        self._router = RequestRouter(
            self._topics,
            self._fleet.serving,
            publish=self._connection.publish,
            acknowledge=self._connection.acknowledge,
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            DrupeletError: The store cannot be used.
        """
        self._store.create()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        log.info("agent starts device=%s state_dir=%s", self._config.device, self._config.state_dir)
        tasks = [asyncio.create_task(work) for work in (self._follow_store(), self._connection.run(), self._report())]
        stopped = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                # These tasks never end by themselves, so one that did has an error to raise.
                task.result()
        finally:
            for task in (stopped, *tasks):
                task.cancel()
            await self._leave()

    async def _leave(self) -> None:
        log.info("agent stops device=%s", self._config.device)
        self._router.close()
        await self._fleet.stop()
        self._publish_telemetry()
        if self._connection.connected:
            self._announcer.farewell()
            await self._connection.disconnect()

    def _on_connected(self, *, session_present: bool) -> None:
        self._router.connected(session_present=session_present)
        self._connection.subscribe(*self._topics.infer_filters)
        if self._config.home_assistant:
            self._connection.subscribe(home_assistant.STATUS_TOPIC)
        self._announce()

    def _announce(self) -> None:
        self._announcer.announce(self._fleet.states())
        self._describe()

    def _on_state(self, state: ModelState) -> None:
        self._announcer.model_state(state)
        self._describe()

    def _describe(self) -> None:
        """Tell Home Assistant which sensors there are, whenever that may have changed."""
        if self._config.home_assistant and self._connection.connected:
            models = sorted(self._fleet.serving)
            self._connection.publish(home_assistant.discovery(self._topics, models=models, board=cpu_model()))

    def _on_message(self, message: MQTTMessage) -> None:
        # Home Assistant forgets what it was told before its own start.
        if message.topic == home_assistant.STATUS_TOPIC and message.payload == home_assistant.BIRTH:
            self._announce()
        self._router.route(message)

    async def _follow_store(self) -> None:
        seen: object = None
        while True:
            fingerprint = self._store.fingerprint()
            if fingerprint != seen:
                seen = fingerprint
                self._fleet.follow_store()
            await asyncio.sleep(_STORE_POLL_S)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._config.telemetry.interval_s)
            self._publish_telemetry()

    def _publish_telemetry(self) -> None:
        self._announcer.device_telemetry(read_device(self._config.device, self._fleet.pids))
        for model, server in self._fleet.serving.items():
            self._announcer.model_telemetry(self._fleet.metrics[model].take(server.activation))

"""The running agent: wires store, models, broker and telemetry, and ends in good order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import uuid
from typing import TYPE_CHECKING

from drupelet_agent.app.orders import Orders
from drupelet_agent.app.service_manager import Life, ServiceManager, report_life
from drupelet_agent.config.environment import service_manager_settings
from drupelet_agent.config.sections import AgentConfig
from drupelet_agent.messaging.announcer import Announcer, status_publication
from drupelet_agent.messaging.broker import connection_options
from drupelet_agent.messaging.requests import RequestRouter
from drupelet_agent.mqtt.connection import BrokerConnection
from drupelet_agent.mqtt.message import Message
from drupelet_agent.serving.fleet import Fleet
from drupelet_agent.serving.guardian import Guardian
from drupelet_agent.store.store import Store
from drupelet_agent.telemetry.reporter import Reporter
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.contract.topics import DeviceTopics

if TYPE_CHECKING:
    from drupelet_agent.messaging.home_assistant import Discovery
    from drupelet_agent.messaging.pool import PoolMembership
    from drupelet_agent.telemetry.endpoint import MetricsEndpoint

log = logging.getLogger(__name__)

_STORE_POLL_S = 0.5
# A request a little over the limit is read and refused with a reply; the broker holds back what is far over it.
_REFUSABLE_FACTOR = 2


class Daemon:
    """One agent; everything runs on the event loop it is made in."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._store = Store(config.state_dir)
        manager = service_manager_settings()
        self._manager = ServiceManager(
            manager.notify_socket, watchdog_usec=manager.watchdog_usec, watchdog_pid=manager.watchdog_pid
        )
        self._store_followed = False
        self._topics = DeviceTopics(config.device, prefix=config.broker.prefix)
        session = uuid.uuid4().hex
        self._connection = BrokerConnection(
            connection_options(
                config.broker,
                client_id=f"drupelet-{config.device}",
                will=status_publication(self._topics, state="offline", session=session),
                receive_maximum=config.limits.queue_length,
                max_packet_bytes=_REFUSABLE_FACTOR * config.limits.max_payload,
            ),
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
        self._guardian = Guardian(config, self._store)
        self._fleet = Fleet(self._store, config, on_state=self._on_state, on_outcome=self._guardian.record)
        self._orders = Orders(config, self._store, self._topics, publish=self._connection.publish)
        self._router = RequestRouter(
            self._topics,
            self._fleet.find,
            publish=self._connection.publish,
            acknowledge=self._connection.acknowledge,
            together=self._connection.corked,
            other=self._orders.route,
        )
        self._pools = _pools(config, self._fleet) if config.pools else None
        self._reporter = Reporter(config, self._fleet, self._announcer)
        self._discovery = _discovery(config, self._topics) if config.home_assistant else None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            DrupeletError: The store cannot be used.
        """
        self._store.create()
        # What was imported stays, so it need not be looked through again in the middle of some request.
        gc.freeze()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        if self._config.trust.allow_unsigned:
            log.warning("UNSIGNED PACKAGES ARE ACCEPTED FROM ANYBODY: trust.allow_unsigned is set")
        log.info("agent starts device=%s state_dir=%s", self._config.device, self._config.state_dir)
        endpoint = await self._start_endpoint()
        work = [
            self._follow_store(),
            self._connection.run(),
            self._report(),
            self._orders.run(),
            self._guardian.run(self._fleet),
        ]
        if self._pools is not None:
            work.append(self._pools.run())
        if self._manager:
            work.append(report_life(self._manager, self._look))
        tasks = [asyncio.create_task(one) for one in work]
        stopped = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                # These tasks never end by themselves, so one that did has an error to raise.
                task.result()
        finally:
            for task in (stopped, *tasks):
                task.cancel()
            if endpoint is not None:
                endpoint.stop()
            await self._leave()

    async def _leave(self) -> None:
        log.info("agent stops device=%s", self._config.device)
        self._manager.stopping()
        self._router.close()
        if self._pools is not None:
            self._pools.close()
        await self._orders.stop()
        await self._fleet.stop()
        if self._pools is not None:
            await self._pools.leave()
        self._reporter.report()
        if self._connection.connected:
            self._announcer.farewell()
            await self._connection.disconnect()

    def _on_connected(self, *, session_present: bool) -> None:
        self._router.connected(session_present=session_present)
        self._orders.connected(session_present=session_present)
        self._connection.subscribe(*self._topics.infer_filters, *self._orders.filters)
        self._connection.subscribe(*self._orders.retained_filters, retained=True)
        if self._discovery is not None:
            self._connection.subscribe(self._discovery.birth_topic)
        self._announce()

    def _announce(self) -> None:
        self._announcer.announce(self._fleet.states())
        self._describe()

    def _on_state(self, state: ModelState) -> None:
        self._announcer.model_state(state)
        self._describe()

    def _describe(self) -> None:
        """Tell Home Assistant which sensors there are, whenever that may have changed."""
        if self._discovery is not None and self._connection.connected:
            self._connection.publish(self._discovery.describe(sorted(self._fleet.serving)))

    def _on_message(self, message: Message) -> None:
        # Home Assistant forgets what it was told before its own start.
        if self._discovery is not None and self._discovery.is_birth(message.topic, message.payload):
            self._announce()
        self._router.route(message)

    async def _follow_store(self) -> None:
        seen: object = None
        while True:
            fingerprint = self._store.fingerprint()
            if fingerprint != seen:
                seen = fingerprint
                self._fleet.follow_store()
                self._store_followed = True
            self._fleet.make_way(measuring=self._store.is_measuring())
            await asyncio.sleep(_STORE_POLL_S)

    def _look(self) -> Life:
        servers = self._fleet.serving
        stuck = [name for name, server in servers.items() if server.stuck]
        starting = [name for name, server in servers.items() if server.health == "starting"]
        fault = f"models stuck: {', '.join(stuck)}" if stuck else None
        if self._connection.stalled or (self._pools is not None and self._pools.stalled):
            fault = "the broker connection's tasks no longer run"
        broker = self._config.broker
        if not self._connection.connected:
            status = f"waiting for the broker {broker.host}:{broker.port}"
        elif starting:
            status = f"loading {', '.join(starting)}"
        else:
            status = f"serving {', '.join(servers) or 'no model'}"
        ready = self._connection.connected and self._store_followed and not starting
        return Life(ready=ready, fault=fault, status=status)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._config.telemetry.interval_s)
            self._reporter.report()

    async def _start_endpoint(self) -> MetricsEndpoint | None:
        port = self._config.telemetry.prometheus_port
        if port is None:
            return None
        from drupelet_agent.telemetry.endpoint import MetricsEndpoint  # noqa: PLC0415 - few agents have it on

        endpoint = MetricsEndpoint(port, self._reporter.render_metrics)
        await endpoint.start()
        return endpoint


def _pools(config: AgentConfig, fleet: Fleet) -> PoolMembership:
    from drupelet_agent.messaging.pool import PoolMembership  # noqa: PLC0415 - few agents have it on

    return PoolMembership(config, fleet.find, max_packet_bytes=_REFUSABLE_FACTOR * config.limits.max_payload)


def _discovery(config: AgentConfig, topics: DeviceTopics) -> Discovery:
    from drupelet_agent.device.probe import cpu_model  # noqa: PLC0415
    from drupelet_agent.messaging.home_assistant import Discovery  # noqa: PLC0415 - few agents have it on

    return Discovery(topics, board=cpu_model(), interval_s=config.telemetry.interval_s)

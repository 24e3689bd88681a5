"""The running agent: wires store, models, broker and telemetry, and stops in good order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from drupelet_agent.app.broker_link import BrokerLink
from drupelet_agent.app.service_manager import ServiceManager, report_state
from drupelet_agent.app.service_state import read_service_state
from drupelet_agent.app.sessions import device_session, message_budget_bytes, pool_session
from drupelet_agent.app.store_follower import StoreFollower
from drupelet_agent.commands.router import CommandRouter
from drupelet_agent.commands.runner import CommandRunner
from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.config.environment import service_manager_settings
from drupelet_agent.delivery.desired import DesiredStates
from drupelet_agent.delivery.spool import Spool
from drupelet_agent.delivery.uploads import Uploads
from drupelet_agent.errors import StoreBusyError, StoreError, StoreReadOnlyError
from drupelet_agent.measuring.gate import ServingGate
from drupelet_agent.messaging.announcer import offline_publication
from drupelet_agent.rounds import Rounds
from drupelet_agent.serving.byte_budget import ByteBudget
from drupelet_agent.serving.fleet import Fleet
from drupelet_agent.serving.guard.guardian import Guardian
from drupelet_agent.store.store import Store
from drupelet_agent.telemetry.reporter import Reporter
from drupelet_shared.contract.messages import Event, ModelState, StoreState
from drupelet_shared.contract.topics import DeviceTopics, MemberTopics

if TYPE_CHECKING:
    from drupelet_agent.messaging.home_assistant.discovery import Discovery
    from drupelet_agent.telemetry.endpoint import MetricsEndpoint

log = logging.getLogger(__name__)

# For an agent that was told to stop, and still answers what it has accepted.
_OTHER_AGENT_S = 5.0


class Daemon:
    """One agent; everything runs on the event loop that it is created in."""

    def __init__(self, config: AgentConfig) -> None:
        """Wire the agent; nothing runs yet.

        Args:
            config: The agent's configuration.
        """
        self._config = config
        self._store = Store(config.state_dir)
        manager = service_manager_settings()
        self._manager = ServiceManager(
            manager.notify_socket, watchdog_usec=manager.watchdog_usec, watchdog_pid=manager.watchdog_pid
        )
        topics = DeviceTopics(config.device, prefix=config.broker.prefix)
        self._gate = ServingGate()
        self._guardian = Guardian(config, self._is_measuring, gate=self._gate)
        self._fleet = Fleet(
            self._store,
            config,
            request_bytes=message_budget_bytes(config),
            on_state=self._on_state,
            on_outcome=self._guardian.record,
            on_accepted=self._gate.request_started,
            on_finished=self._gate.request_finished,
        )
        self._link = _make_link(config, topics, self._fleet)
        runner = CommandRunner(config, self._gate)
        self._commands = CommandRouter(topics, runner, replies=self._link.replies)
        self._uploads = Uploads(topics, Spool(self._store.layout.incoming, config.delivery), replies=self._link.replies)
        self._desired = DesiredStates(topics, self._store, runner, publish=self._link.session.publish)
        self._link.dispatcher.register(self._commands)
        self._link.dispatcher.register(self._uploads)
        self._link.dispatcher.register(self._desired, retained=True)
        self._link.on_connect(lambda session_present: self._desired.connected(session_present=session_present))
        self._had_store_fault = False
        self._follower = StoreFollower(self._store, self._fleet, on_state=self._on_store_state)
        self._reporter = Reporter(config, self._fleet, self._link.announcer)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            StoreBusyError: Another agent serves from the same folder.
            StoreError: The store cannot be created, and not because its file system is read-only.
        """
        self._create_store()
        with self._hold_store():
            self._clear_candidates()
            await self._serve()

    async def _serve(self) -> None:
        # What was imported stays, so the collector need not go through it again in the middle of a request.
        gc.freeze()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        if self._config.trust.allow_unsigned:
            log.warning("UNSIGNED PACKAGES ARE ACCEPTED FROM ANYBODY: trust.allow_unsigned is set")
        log.info("agent starts device=%s state_dir=%s", self._config.device, self._config.state_dir)
        endpoint = await self._start_endpoint()
        tasks = [asyncio.create_task(one) for one in (stopping.wait(), *self._work())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                # But for the first, these tasks end with an error alone, which is raised here.
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            if endpoint is not None:
                endpoint.stop()
            await self._stop()

    def _work(self) -> list[Coroutine[None, None, None]]:
        work = [
            self._follower.run(),
            self._link.run(),
            self._report(),
            self._uploads.run(),
            self._desired.run(),
            self._guardian.run(self._fleet),
        ]
        if self._manager:
            config, fleet, session = self._config.broker, self._fleet, self._link.session
            work.append(
                report_state(
                    self._manager,
                    lambda: read_service_state(
                        fleet.serving,
                        session.status,
                        broker=f"{config.host}:{config.port}",
                        is_store_read=self._follower.is_read,
                        store_fault=self._follower.fault,
                        is_stalled=self._link.stalled,
                    ),
                )
            )
        return work

    async def _stop(self) -> None:
        log.info("agent stops device=%s", self._config.device)
        self._manager.stopping()
        self._link.close()
        await self._commands.stop()
        self._clear_candidates()
        await self._fleet.stop()
        self._reporter.report()
        await self._link.leave()

    def _is_measuring(self) -> bool:
        try:
            return self._store.is_measuring()
        except StoreError:
            # The follower reports it.
            return False

    def _on_state(self, state: ModelState) -> None:
        self._link.publish_state(state)

    def _create_store(self) -> None:
        try:
            self._store.create()
        except StoreReadOnlyError as error:
            # The follower goes on reporting it; a broker that can reach this device can at least ask.
            log.warning("the agent starts without a store: %s [%s]", error, error.code)

    @contextmanager
    def _hold_store(self) -> Iterator[None]:
        with ExitStack() as held:
            try:
                held.enter_context(self._store.serving(timeout_s=_OTHER_AGENT_S))
            except StoreBusyError as error:
                raise StoreBusyError(
                    f"{error}; give each agent a state_dir and a device name of its own, or stop the other agent"
                ) from error
            except StoreError as error:
                log.warning("the agent starts without its store: %s [%s]", error, error.code)
            yield

    def _clear_candidates(self) -> None:
        try:
            self._store.clear_candidates()
        except StoreError as error:
            log.warning("a candidate that was measured stays until the next start: %s [%s]", error, error.code)

    def _on_store_state(self, store: StoreState, fault: str | None) -> None:
        self._link.announcer.store_state(store, fault)
        if fault is None and not self._had_store_fault:
            return
        self._had_store_fault = fault is not None
        state: Literal["raised", "cleared"] = "cleared" if fault is None else "raised"
        message = fault or "the store can be read and written again"
        self._link.announcer.event(
            Event(
                device=self._config.device,
                kind="store",
                state=state,
                value=float(fault is not None),
                limit=0.0,
                message=message,
            )
        )

    async def _report(self) -> None:
        rounds = Rounds("telemetry")
        while True:
            await asyncio.sleep(self._config.telemetry.interval_s)
            with rounds.guarded():
                self._reporter.report()

    async def _start_endpoint(self) -> MetricsEndpoint | None:
        port = self._config.telemetry.prometheus_port
        if port is None:
            return None
        from drupelet_agent.telemetry.endpoint import MetricsEndpoint  # noqa: PLC0415 - few agents have it on

        endpoint = MetricsEndpoint(port, self._reporter.render_metrics)
        await endpoint.start()
        return endpoint


def _make_link(config: AgentConfig, topics: DeviceTopics, fleet: Fleet) -> BrokerLink:
    run_id = uuid.uuid4().hex
    will = offline_publication(topics, run_id=run_id, labels=config.labels)
    link = BrokerLink(
        topics,
        fleet,
        open_session=device_session(config, will=will),
        budget=ByteBudget(message_budget_bytes(config)),
        run_id=run_id,
        outbox_length=config.telemetry.outbox_length,
        labels=config.labels,
        measures=config.trust.measure,
        discovery=_make_discovery(config, topics) if config.home_assistant else None,
    )
    if config.pools:
        members = MemberTopics(config.device, prefix=config.broker.prefix, pools=config.pools)
        link.join_pools(members, pool_session(config))
    return link


def _make_discovery(config: AgentConfig, topics: DeviceTopics) -> Discovery:
    from drupelet_agent.device.probe import cpu_model  # noqa: PLC0415
    from drupelet_agent.messaging.home_assistant.discovery import Discovery  # noqa: PLC0415 - few agents have it on

    return Discovery(
        topics, board=cpu_model(), interval_s=config.telemetry.interval_s, counts_labels=config.counts_labels
    )

"""The models this device serves: started, replaced without a gap, stopped, as the store says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from drupelet_agent.config import LimitsConfig
from drupelet_agent.errors import StoreError
from drupelet_agent.reconciler import Replace, Start, Step, Stop, describe, reconcile
from drupelet_agent.serving.model import ModelServer
from drupelet_agent.serving.protocol import WorkerSpec
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_agent.telemetry.metrics import ModelMetrics
from drupelet_shared.errors import ModelUnavailableError
from drupelet_shared.messages import ModelState

log = logging.getLogger(__name__)

_DRAIN_S = 10.0


class Fleet:
    """Model servers by model name; everything runs on the event loop."""

    def __init__(self, store: Store, limits: LimitsConfig, *, on_state: Callable[[ModelState], None]) -> None:
        self._store = store
        self._limits = limits
        self._on_state = on_state
        self._serving: dict[str, ModelServer] = {}
        # Servers of a new release that are loading while the old one still answers.
        self._arriving: dict[str, ModelServer] = {}
        self._metrics: dict[str, ModelMetrics] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        # Why a model runs an earlier release than the one that was installed last.
        self._rolled_back: dict[str, str] = {}

    @property
    def serving(self) -> Mapping[str, ModelServer]:
        """The server that takes each model's requests; a live view."""
        return MappingProxyType(self._serving)

    @property
    def metrics(self) -> Mapping[str, ModelMetrics]:
        """Each model's numbers; a live view."""
        return MappingProxyType(self._metrics)

    @property
    def pids(self) -> list[int]:
        """The process ids of all workers."""
        return [pid for server in self._servers() for pid in server.pids]

    def states(self) -> list[ModelState]:
        """What to announce of each model."""
        return [self._state(server) for server in self._serving.values()]

    def follow_store(self) -> None:
        """Take the steps from what is served to what the store says is active."""
        current = {name: server.activation for name, server in {**self._serving, **self._arriving}.items()}
        for step in reconcile(self._store.active(), current):
            log.info("step %s", describe(step))
            self._take(step)

    async def stop(self) -> None:
        """Let every server finish what it has accepted, then end all workers."""
        servers = self._servers()
        await asyncio.gather(*(server.drain(timeout_s=_DRAIN_S) for server in servers))
        for server in servers:
            server.stop()
        await asyncio.gather(*self._leaving)

    def _servers(self) -> list[ModelServer]:
        return [*self._serving.values(), *self._arriving.values()]

    def _take(self, step: Step) -> None:
        match step:
            case Start(activation):
                self._metrics[activation.model] = ModelMetrics()
                server = self._make_server(activation)
                self._serving[activation.model] = server
                server.start()
                self._on_state(self._state(server))
            case Replace(activation):
                self._give_up_arriving(activation.model)
                serving = self._serving[activation.model].activation
                if serving == activation:
                    return
                if activation.release > serving.release:
                    self._rolled_back.pop(activation.model, None)
                server = self._make_server(activation)
                self._arriving[activation.model] = server
                server.start()
            case Stop(model):
                self._give_up_arriving(model)
                server = self._serving.pop(model)
                self._on_state(self._state(server).model_copy(update={"health": "removed"}))
                self._retire(server)

    def _give_up_arriving(self, model: str) -> None:
        arriving = self._arriving.pop(model, None)
        if arriving is not None:
            arriving.stop()

    def _make_server(self, activation: Activation) -> ModelServer:
        model = activation.model
        spec = WorkerSpec(
            package_folder=str(self._store.package_folder(activation.digest)),
            variant=activation.variant,
            threads=activation.plan.threads,
            memory_limit_bytes=activation.plan.memory_budget_bytes,
            slot_bytes=self._limits.max_payload,
        )
        return ModelServer(
            activation,
            spec,
            queue_length=self._limits.queue_length,
            inference_timeout_s=self._limits.inference_timeout_s,
            on_health=self._heard,
            on_outcome=self._metrics[model].record,
        )

    def _heard(self, server: ModelServer) -> None:
        """A server's health changed: an arriving one that is ready takes over, one that failed is given up."""
        model = server.activation.model
        if self._arriving.get(model) is server:
            if server.health == "starting":
                return
            if server.health == "ready":
                del self._arriving[model]
                old, self._serving[model] = self._serving[model], server
                self._retire(old)
        if self._serving.get(model) is server:
            self._on_state(self._state(server))
            if server.health == "failed":
                self._roll_back(server)
        else:
            log.error(
                "release %d of %s cannot start and the old one serves on: %s",
                server.activation.release,
                model,
                server.error,
            )

    def _roll_back(self, server: ModelServer) -> None:
        """Go back to the release before one whose workers keep dying; the store's change is then followed as any."""
        failed = server.activation
        try:
            with self._store.lock():
                record = self._store.record(failed.model)
                # Only ever back: a release that was rolled back to and fails too has nothing behind it.
                if record.active != failed or record.previous is None or record.previous.release >= failed.release:
                    return
                previous = self._store.roll_back(failed.model)
        except StoreError as error:
            log.warning("release %d of %s fails and cannot be rolled back: %s", failed.release, failed.model, error)
            return
        why = f"rolled back from release {failed.release}, whose workers keep failing: {server.error}"
        self._rolled_back[failed.model] = why
        log.warning("model %s runs release %d again: %s", failed.model, previous.release, why)

    def _state(self, server: ModelServer) -> ModelState:
        activation = server.activation
        return ModelState(
            model=activation.model,
            version=activation.version,
            release=activation.release,
            digest=activation.digest,
            health=server.health,
            variant=activation.variant,
            plan=activation.plan,
            inputs=activation.inputs,
            outputs=activation.outputs,
            error=server.error or self._rolled_back.get(activation.model),
            code=ModelUnavailableError.code if server.health == "failed" else None,
        )

    def _retire(self, server: ModelServer) -> None:
        async def drain_and_stop() -> None:
            await server.drain(timeout_s=_DRAIN_S)
            server.stop()

        task = asyncio.create_task(drain_and_stop())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

"""The models this device serves: started, replaced without a gap, stopped, as the store says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from drupelet_agent.config.sections import AgentConfig
from drupelet_agent.device import probe
from drupelet_agent.errors import MemoryBudgetError, StoreBusyError, StoreError
from drupelet_agent.planning import budget
from drupelet_agent.planning.serving_steps import (
    Replace,
    Start,
    Step,
    Stop,
    describe,
    reconcile,
    runs_alike,
    served_beside,
)
from drupelet_agent.serving.admission import Residents
from drupelet_agent.serving.job import Outcome
from drupelet_agent.serving.memory_shares import MemoryShares
from drupelet_agent.serving.metrics import ModelMetrics
from drupelet_agent.serving.protocol import WorkerSpec
from drupelet_agent.serving.server import ModelServer
from drupelet_agent.store.records import Activation, ModelRecord
from drupelet_agent.store.store import Store
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.errors import UnknownModelError

log = logging.getLogger(__name__)

_DRAIN_S = 10.0
_STORE_RETRY_S = 1.0
_CHANGES_TOLD = 3


class Fleet:
    """Model servers by model name; everything runs on the event loop."""

    def __init__(
        self,
        store: Store,
        config: AgentConfig,
        *,
        on_state: Callable[[ModelState], None],
        on_outcome: Callable[[ModelServer, Outcome], None],
    ) -> None:
        """Make the fleet; `follow_store` fills it.

        Args:
            store: What should be served.
            config: The agent's configuration.
            on_state: Told of each change of a model's state.
            on_outcome: Told of each request's end, besides the metrics.
        """
        self._store = store
        self._config = config
        self._on_state = on_state
        self._on_outcome = on_outcome
        self._records: dict[str, ModelRecord] = {}
        self._serving: dict[str, ModelServer] = {}
        # Servers of a new release that are loading while the old one still answers.
        self._arriving: dict[str, ModelServer] = {}
        # Servers of the release before the active one, for those who ask for its version.
        self._earlier: dict[str, ModelServer] = {}
        self._metrics: dict[str, ModelMetrics] = {}
        self._notes: dict[str, str] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._residents = Residents(config.limits, capacity=self.capacity, servers=self._servers)
        self._shares = MemoryShares(self.capacity)

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

    def capacity(self) -> budget.Budget:
        """The memory for all models together, as of now."""
        limits = self._config.limits
        return budget.capacity(probe.take_snapshot(), limit_bytes=limits.models_bytes, share=limits.memory_share)

    def make_way(self, *, measuring: bool) -> None:
        """While another process measures, keep what serves to what it was measured to need."""
        self._shares.make_way(measuring=measuring)

    def states(self) -> list[ModelState]:
        """What to announce of each model."""
        return [self._state(server) for server in self._serving.values()]

    def find(self, model: str, version: str | None) -> ModelServer:
        """The server that answers for a model, in a version if one is named.

        Raises:
            UnknownModelError: None does.
        """
        server = self._serving.get(model)
        if server is None:
            active = ", ".join(sorted(self._serving)) or "none"
            raise UnknownModelError(f"model {model!r} is not active here; active models: {active}")
        if version in {None, server.activation.version}:
            return server
        earlier = self._earlier.get(model)
        if earlier is not None and version == earlier.activation.version:
            return earlier
        previous = self._records[model].previous
        stored = previous is not None and previous.version == version
        also = "; it is in the store, and limits.versions = 2 would serve it too" if stored else ""
        raise UnknownModelError(
            f"model {model!r} version {version!r} is not active here; "
            f"the active version is {server.activation.version!r}{also}"
        )

    def follow_store(self) -> None:
        """Take the steps from what is served to what the store says is active."""
        self._records = {model: self._store.record(model) for model in self._store.models()}
        target = {model: record.active for model, record in self._records.items() if record.active is not None}
        current = {name: server.activation for name, server in {**self._serving, **self._arriving}.items()}
        steps = reconcile(target, current)
        for step in steps:
            log.info("step %s", describe(step))
            self._take(step)
        self._admit([step.activation.model for step in steps if isinstance(step, Start)])
        for model in self._serving:
            self._settle_earlier(model)

    def roll_back(self, server: ModelServer, why: str) -> None:
        """Go back to the release before the one served, if there is one; the store's change is then followed as any.

        Args:
            server: What is served now.
            why: What is wrong with it, as a clause about the release: "whose workers keep failing".
        """
        failed = server.activation
        try:
            with self._store.lock():
                record = self._store.record(failed.model)
                # Only ever back: a release that was rolled back to and fails too has nothing behind it.
                if record.active != failed or record.previous is None or record.previous.release >= failed.release:
                    self.note(server, f"release {failed.release}, {why}; there is no earlier release to go back to")
                    return
                because = f"rolled back from release {failed.release}, {why}"
                previous = self._store.roll_back(failed.model, because=because)
        except StoreBusyError as error:
            log.info("roll back of %s waits: %s", failed.model, error)
            asyncio.get_running_loop().call_later(_STORE_RETRY_S, self._roll_back_still, server, why)
            return
        except StoreError as error:
            self.note(server, f"release {failed.release}, {why}; rolling back failed: {error}")
            return
        log.warning("model %s runs release %d again: %s", failed.model, previous.release, because)

    def note(self, server: ModelServer, text: str | None) -> None:
        """Say in a model's state what is wrong with it although it runs; None takes it back."""
        model = server.activation.model
        if text == self._notes.get(model):
            return
        log.warning("model %s: %s", model, text or "in order again")
        if text is None:
            del self._notes[model]
        else:
            self._notes[model] = text
        self._on_state(self._state(server))

    async def stop(self) -> None:
        """Let every server finish what it has accepted, then end all workers."""
        await self._residents.settle()
        servers = self._servers()
        await asyncio.gather(*(server.drain(timeout_s=_DRAIN_S) for server in servers))
        for server in servers:
            server.stop()
        await asyncio.gather(*self._leaving)

    def _servers(self) -> list[ModelServer]:
        return [*self._serving.values(), *self._arriving.values(), *self._earlier.values()]

    def _take(self, step: Step) -> None:
        match step:
            case Start(activation):
                self._metrics[activation.model] = ModelMetrics()
                self._serving[activation.model] = self._make_server(activation)
            case Replace(activation):
                self._give_up_arriving(activation.model)
                self._notes.pop(activation.model, None)
                self._replace(activation)
            case Stop(model):
                self._give_up_arriving(model)
                server = self._serving.pop(model)
                self._on_state(self._state(server).model_copy(update={"health": "removed"}))
                self._retire(server)
                if model in self._earlier:
                    self._retire(self._earlier.pop(model))

    def _replace(self, activation: Activation) -> None:
        model = activation.model
        server = self._serving[model]
        if server.activation == activation:
            return
        if runs_alike(server.activation, activation):
            server.activation = activation
            self._shares.settle()
            self._on_state(self._state(server))
            return
        earlier = self._earlier.get(model)
        if earlier is not None and earlier.activation == activation and earlier.health == "ready":
            del self._earlier[model]
            self._take_over(earlier)
            return
        arriving = self._make_server(activation)
        if self._stays(server, model) or self._residents.fits_beside(arriving):
            self._arriving[model] = arriving
            arriving.start()
            return
        # Both at once are more than there is: requests wait for the new one while the old one makes room.
        self._serving[model] = arriving
        self._residents.admit(arriving, after=self._retire(server))
        self._on_state(self._state(arriving))

    def _stays(self, server: ModelServer, model: str) -> bool:
        """Whether a server goes on answering for its version when another release takes over."""
        wanted = self._wanted_earlier(model)
        return wanted is not None and wanted.digest == server.activation.digest

    def _admit(self, starting: list[str]) -> None:
        """Start servers, the one changed last first, and those again for which there was no room before."""
        waiting = [model for model, server in self._serving.items() if server.code == MemoryBudgetError.code]
        admitted: list[ModelServer] = []
        for model in sorted({*starting, *waiting}, key=self._store.changed_s, reverse=True):
            server = self._serving[model]
            self._residents.admit(server, keeping=admitted)
            admitted.append(server)
            self._on_state(self._state(server))

    def _settle_earlier(self, model: str) -> None:
        """Serve the release before the active one, or no longer, as configuration and store want it."""
        wanted, serving = self._wanted_earlier(model), self._serving[model].activation
        earlier = self._earlier.get(model)
        if earlier is not None and (wanted is None or earlier.activation.digest != wanted.digest):
            self._retire(self._earlier.pop(model))
            earlier = None
        # While it is still the one that is served, it moves here when the new one takes over.
        if wanted is not None and earlier is None and serving.digest != wanted.digest:
            self._earlier[model] = self._make_server(wanted)
            self._residents.admit(self._earlier[model], keeping=list(self._serving.values()))

    def _wanted_earlier(self, model: str) -> Activation | None:
        earlier = served_beside(self._records[model], versions=self._config.limits.versions)
        return earlier if earlier and self._store.package_folder(earlier.digest).is_dir() else None

    def _give_up_arriving(self, model: str) -> None:
        arriving = self._arriving.pop(model, None)
        if arriving is not None:
            arriving.stop()

    def _make_server(self, activation: Activation) -> ModelServer:
        limits, plan = self._config.limits, activation.plan
        spec = WorkerSpec(
            package_folder=str(self._store.package_folder(activation.digest)),
            variant=activation.variant,
            threads=plan.threads,
            memory_limit_bytes=plan.footprint_bytes // plan.instances,
            slot_bytes=limits.max_payload,
        )
        return ModelServer(
            activation,
            spec,
            queue_length=limits.queue_length,
            inference_timeout_s=limits.inference_timeout_s,
            shares=self._shares,
            on_health=self._heard,
            on_outcome=self._count,
            on_wanted=self._residents.wake,
        )

    def _count(self, server: ModelServer, outcome: Outcome) -> None:
        model = server.activation.model
        # An earlier version's numbers would blur those of the model.
        if self._earlier.get(model) is not server:
            self._metrics[model].record(outcome)
        if self._serving.get(model) is server:
            self._on_outcome(server, outcome)

    def _heard(self, server: ModelServer) -> None:
        """A server's health changed: an arriving one that is ready takes over, one that failed is given up."""
        model = server.activation.model
        if self._arriving.get(model) is server:
            if server.health == "ready":
                del self._arriving[model]
                self._take_over(server)
            elif server.health == "failed":
                release, error = server.activation.release, server.error
                log.error("release %d of %s cannot start and the old one serves on: %s", release, model, error)
        elif self._serving.get(model) is server:
            self._on_state(self._state(server))
            if server.health == "failed" and server.code != MemoryBudgetError.code:
                self.roll_back(server, f"whose workers keep failing: {server.error}")
        elif self._earlier.get(model) is server:
            self._on_state(self._state(self._serving[model]))

    def _take_over(self, server: ModelServer) -> None:
        model = server.activation.model
        old, self._serving[model] = self._serving[model], server
        if self._stays(old, model):
            if model in self._earlier:
                self._retire(self._earlier[model])
            self._earlier[model] = old
        else:
            self._retire(old)
        self._on_state(self._state(server))

    def _roll_back_still(self, server: ModelServer, why: str) -> None:
        if self._serving.get(server.activation.model) is server:
            self.roll_back(server, why)

    def _state(self, server: ModelServer) -> ModelState:
        activation = server.activation
        model = activation.model
        changes = self._records[model].changes if model in self._records else ()
        by_itself = changes[-1].why if changes and changes[-1].what == "rolled_back_by_itself" else None
        earlier = self._earlier.get(model)
        return ModelState(
            model=model,
            version=activation.version,
            release=activation.release,
            digest=activation.digest,
            health=server.health,
            variant=activation.variant,
            plan=activation.plan,
            inputs=activation.inputs,
            outputs=activation.outputs,
            earlier_versions=(earlier.activation.version,) if earlier and earlier.health == "ready" else None,
            changes=changes[-_CHANGES_TOLD:] or None,
            error=server.error or self._notes.get(model) or by_itself,
            code=server.code,
        )

    def _retire(self, server: ModelServer) -> asyncio.Task[None]:
        async def drain_and_stop() -> None:
            await server.drain(timeout_s=_DRAIN_S)
            server.stop()

        task = asyncio.create_task(drain_and_stop())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

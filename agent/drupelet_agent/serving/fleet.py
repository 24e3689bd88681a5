"""The models that this device serves, as the store says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.device import probe
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.errors import StoreBusyError, StoreError
from drupelet_agent.planning import budget
from drupelet_agent.planning.restoring import release_to_restore
from drupelet_agent.planning.serving_steps import Replace, Start, Step, Stop, describe, reconcile, served_beside
from drupelet_agent.serving.admission import Admission
from drupelet_agent.serving.clock import Clock, EventLoopClock
from drupelet_agent.serving.job import Outcome
from drupelet_agent.serving.memory_shares import MemoryShares
from drupelet_agent.serving.retirement import Retirement
from drupelet_agent.serving.server import ModelServer, QueueLimits, ServerEvents, ignore
from drupelet_agent.serving.slot import ModelSlot, SlotContext
from drupelet_agent.serving.workers.port import Spawn
from drupelet_agent.serving.workers.protocol import WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess
from drupelet_agent.store.records import Activation, ModelRecord
from drupelet_agent.store.store import Store
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.errors import UnknownModelError

log = logging.getLogger(__name__)

_STORE_RETRY_S = 1.0
# The part of all requests' memory that the requests of one model may hold, so that a flood leaves room for others.
_SHARE_OF_ONE_MODEL = 0.5


class Fleet:
    """One slot for each active model; everything runs on the event loop."""

    def __init__(
        self,
        store: Store,
        config: AgentConfig,
        *,
        request_bytes: int,
        on_state: Callable[[ModelState], None],
        on_outcome: Callable[[ModelServer, Outcome], None],
        on_accepted: Callable[[], None] = ignore,
        on_finished: Callable[[], None] = ignore,
        spawn: Spawn = WorkerProcess,
        clock: Clock | None = None,
        read_snapshot: Callable[[], Snapshot] = probe.take_snapshot,
    ) -> None:
        """Create a fleet without models; `follow_store` starts those of the store.

        Args:
            store: The releases that are active.
            config: The agent's configuration.
            request_bytes: The memory for requests to all models, of which those to one may hold half.
            on_state: Called at each change of a model's state.
            on_outcome: Called at each outcome of a request to an active release.
            on_accepted: Called when a request to any release is accepted.
            on_finished: Called when a request that was accepted has ended.
            spawn: Starts a worker.
            clock: Time and timers; the event loop's if None.
            read_snapshot: Reads the device's resources.
        """
        self._store = store
        self._config = config
        self._spawn = spawn
        self._clock = clock or EventLoopClock()
        self._read_snapshot = read_snapshot
        self._slots: dict[str, ModelSlot] = {}
        self._retirement = Retirement()
        self._shares = MemoryShares(self.capacity)
        self._queue_limits = QueueLimits(
            length=config.limits.queue_length,
            payload_bytes=int(request_bytes * _SHARE_OF_ONE_MODEL),
            inference_timeout_s=config.limits.inference_timeout_s,
        )
        self._admission = Admission(config.limits, capacity=self.capacity, servers=self._servers, clock=self._clock)
        self._context = SlotContext(
            make_server=self._make_server,
            admission=self._admission,
            retire=self._retirement.retire,
            rebalance=self._shares.rebalance,
            on_state=on_state,
            on_outcome=on_outcome,
            on_failed=self.roll_back,
            on_accepted=on_accepted,
            on_finished=on_finished,
            counts_labels=config.counts_labels,
        )

    @property
    def slots(self) -> Mapping[str, ModelSlot]:
        """The slot of each active model, by name; a live view."""
        return MappingProxyType(self._slots)

    @property
    def serving(self) -> Mapping[str, ModelServer]:
        """The server that takes each model's requests, by the model's name."""
        return {model: slot.current for model, slot in self._slots.items()}

    @property
    def pids(self) -> list[int]:
        """The process ids of all workers."""
        return [pid for server in self._servers() for pid in server.pids]

    def capacity(self) -> budget.Budget:
        """Return the memory for all models together, as of now."""
        limits = self._config.limits
        return budget.capacity(self._read_snapshot(), limit_bytes=limits.models_bytes, share=limits.memory_share)

    def set_measuring(self, *, measuring: bool) -> None:
        """Limit the workers to their footprints while another process measures a model."""
        self._shares.set_measuring(measuring=measuring)

    def states(self) -> list[ModelState]:
        """Return what to announce of each model."""
        return [slot.state() for slot in self._slots.values()]

    def find(self, model: str, version: str | None) -> ModelServer:
        """Return the server of a model, in a version if one is named.

        Raises:
            UnknownModelError: The model is not active, or not in that version.
        """
        slot = self._slots.get(model)
        if slot is None:
            active = ", ".join(sorted(self._slots)) or "none"
            raise UnknownModelError(f"model {model!r} is not active here; active models: {active}")
        return slot.find(version)

    def follow_store(self) -> None:
        """Take the steps from what is served to what the store says is active."""
        records = self._read_records()
        target = {model: record.active for model, record in records.items() if record.active is not None}
        for model, slot in self._slots.items():
            record = records.get(model, ModelRecord())
            slot.follow(record, earlier=self._earlier_release(record))
        steps = reconcile(target, {model: slot.target for model, slot in self._slots.items()})
        for step in steps:
            log.info("step %s", describe(step))
            self._take(step, records)
        self._admit([step.activation.model for step in steps if isinstance(step, Start)])
        current = [slot.current for slot in self._slots.values()]
        for slot in self._slots.values():
            slot.serve_earlier(keep=current)

    def roll_back(self, slot: ModelSlot, reason: str) -> None:
        """Roll a model back to the release before the active one in the store, or note that there is none.

        `follow_store` takes the step that follows from the change.

        Args:
            slot: The model.
            reason: What is wrong with its active release, as a clause about it: "whose workers keep failing".
        """
        failed = slot.current.activation
        try:
            with self._store.writer() as writer:
                if release_to_restore(self._store.record(failed.model), failed) is None:
                    slot.set_note(f"release {failed.release}, {reason}; there is no earlier release to go back to")
                    return
                because = f"rolled back from release {failed.release}, {reason}"
                restored = writer.roll_back(failed.model, because=because)
        except StoreBusyError as error:
            log.info("roll back of %s waits: %s", failed.model, error)
            server = slot.current
            self._clock.call_at(
                self._clock.now_s() + _STORE_RETRY_S, lambda: self._retry_roll_back(slot, server, reason)
            )
            return
        except StoreError as error:
            slot.set_note(f"release {failed.release}, {reason}; rolling back failed: {error}")
            return
        log.warning("model %s runs release %d again: %s", failed.model, restored.release, because)

    async def stop(self) -> None:
        """Let every server finish what it has accepted, then end all workers."""
        await self._admission.wait_for_evictions()
        await self._retirement.retire_all(self._servers())

    def _read_records(self) -> dict[str, ModelRecord]:
        """Read the records; a model whose record cannot be read goes on as it is."""
        records: dict[str, ModelRecord] = {}
        for model in self._store.models():
            try:
                records[model] = self._store.record(model)
            except StoreError as error:
                log.warning("model %s does not follow the store: %s [%s]", model, error, error.code)
                if model in self._slots:
                    records[model] = ModelRecord(active=self._slots[model].target)
        return records

    def _servers(self) -> list[ModelServer]:
        return [server for slot in self._slots.values() for server in slot.servers]

    def _take(self, step: Step, records: Mapping[str, ModelRecord]) -> None:
        match step:
            case Start(activation):
                record = records[activation.model]
                slot = self._slots[activation.model] = ModelSlot(activation, record, self._context)
                slot.follow(record, earlier=self._earlier_release(record))
            case Replace(activation):
                self._slots[activation.model].replace(activation)
            case Stop(model):
                self._slots.pop(model).remove()

    def _admit(self, starting: list[str]) -> None:
        """Start models, the one changed last first, and those again for which there was no room before."""
        waiting = [model for model, slot in self._slots.items() if slot.waits_for_room]
        admitted: list[ModelServer] = []
        for model in sorted({*starting, *waiting}, key=self._store.changed_s, reverse=True):
            slot = self._slots[model]
            self._admission.admit(slot.current, keep=admitted)
            admitted.append(slot.current)
            slot.publish()

    def _earlier_release(self, record: ModelRecord) -> Activation | None:
        earlier = served_beside(record, versions=self._config.limits.versions)
        return earlier if earlier and self._store.package_folder(earlier.digest).is_dir() else None

    def _make_server(self, activation: Activation, events: ServerEvents) -> ModelServer:
        plan = activation.plan
        spec = WorkerSpec(
            package_folder=str(self._store.package_folder(activation.digest)),
            variant=activation.variant,
            threads=plan.threads,
            memory_limit_bytes=plan.footprint_bytes // plan.instances,
            slot_bytes=self._config.limits.max_payload,
        )
        return ModelServer(
            activation,
            spec,
            limits=self._queue_limits,
            shares=self._shares,
            events=events,
            spawn=self._spawn,
            clock=self._clock,
        )

    def _retry_roll_back(self, slot: ModelSlot, server: ModelServer, reason: str) -> None:
        if self._slots.get(slot.model) is slot and slot.current is server:
            self.roll_back(slot, reason)

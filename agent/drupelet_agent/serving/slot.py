"""One model on this device: the servers of its releases, its record, its numbers and its note."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from drupelet_agent.errors import MemoryBudgetError
from drupelet_agent.planning.serving_steps import runs_alike
from drupelet_agent.serving.admission import Admission
from drupelet_agent.serving.job import Outcome
from drupelet_agent.serving.metrics import ModelMetrics
from drupelet_agent.serving.server import ModelServer, ServerEvents
from drupelet_agent.store.records import Activation, ModelRecord
from drupelet_shared.contract.messages import ModelState
from drupelet_shared.errors import UnknownModelError

log = logging.getLogger(__name__)

_PUBLISHED_CHANGES = 3


@dataclass(frozen=True, slots=True)
class SlotContext:
    """What the slots of all models share.

    Attributes:
        make_server: Creates a server that is not started.
        admission: Starts servers while they fit in memory.
        retire: Drains and stops a server in the background, and returns that task.
        rebalance: Divides the memory again after a plan has changed.
        on_state: Called at each change of the model's state.
        on_outcome: Called at each outcome of the current server.
        on_failed: Called when the current server cannot run, with the reason.
        on_accepted: Called when a server accepts a job.
        on_finished: Called when a job that was accepted has ended.
        counts_labels: Returns whether the labels that a model finds are counted.
    """

    make_server: Callable[[Activation, ServerEvents], ModelServer]
    admission: Admission
    retire: Callable[[ModelServer], asyncio.Task[None]]
    rebalance: Callable[[], None]
    on_state: Callable[[ModelState], None]
    on_outcome: Callable[[ModelServer, Outcome], None]
    on_failed: Callable[[ModelSlot, str], None]
    on_accepted: Callable[[], None]
    on_finished: Callable[[], None]
    counts_labels: Callable[[str], bool] = lambda _: False


class ModelSlot:
    """The servers of one model and the transitions between them; everything runs on the event loop.

    Invariants: `current` takes the model's requests at every moment. `arriving` loads and takes over when it is ready,
        or is dropped when another release replaces it. `earlier` answers only requests that name its version. Nothing
        of a slot outlives it: a model that is installed again has a new slot.

    Attributes:
        current: The server that takes the model's requests.
        arriving: The server of the next release while it loads; None if there is none.
        earlier: The server of the release before the active one; None if none is served.
        record: What the store knows of the model.
        metrics: The numbers of the requests to the active release.
    """

    def __init__(self, activation: Activation, record: ModelRecord, context: SlotContext) -> None:
        """Create a slot whose current server is not started.

        Args:
            activation: The active release.
            record: What the store knows of the model.
            context: What the slots of all models share.
        """
        self._context = context
        self._note: str | None = None
        self._earlier_release: Activation | None = None
        self.record = record
        self.metrics = ModelMetrics(counts_labels=context.counts_labels(activation.model))
        self.arriving: ModelServer | None = None
        self.earlier: ModelServer | None = None
        self.current = self._make_server(activation)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.current.activation.model

    @property
    def servers(self) -> list[ModelServer]:
        """Every server of the model."""
        return [server for server in (self.current, self.arriving, self.earlier) if server is not None]

    @property
    def target(self) -> Activation:
        """The activation that is served, or will be once it has loaded."""
        return self.current.activation if self.arriving is None else self.arriving.activation

    @property
    def waits_for_room(self) -> bool:
        """Whether the current server was not started because it did not fit in memory."""
        return self.current.code == MemoryBudgetError.code

    @property
    def note(self) -> str | None:
        """What is wrong although the model runs; None if nothing is."""
        return self._note

    def find(self, version: str | None) -> ModelServer:
        """Return the server of a version, or the current one if none is named.

        Raises:
            UnknownModelError: No server runs that version.
        """
        for server in (self.current, self.earlier):
            if server is not None and version in {None, server.activation.version}:
                return server
        previous = self.record.previous
        stored = previous is not None and previous.version == version
        hint = "; it is in the store, and limits.versions = 2 would serve it too" if stored else ""
        raise UnknownModelError(
            f"model {self.model!r} version {version!r} is not active here; "
            f"the active version is {self.current.activation.version!r}{hint}"
        )

    def follow(self, record: ModelRecord, *, earlier: Activation | None) -> None:
        """Take over what the store says.

        Args:
            record: What the store knows of the model now.
            earlier: The release to serve besides the active one; None if there is none.
        """
        self.record = record
        self._earlier_release = earlier

    def replace(self, activation: Activation) -> None:
        """Serve another release or plan, without a gap where both fit in memory."""
        self._drop_arriving()
        self._note = None
        current = self.current
        if current.activation == activation:
            return
        if runs_alike(current.activation, activation):
            current.activation = activation
            self._context.rebalance()
            self.publish()
        elif self.earlier is not None and self.earlier.activation == activation and self.earlier.health == "ready":
            server, self.earlier = self.earlier, None
            self._take_over(server)
        else:
            self._load(activation)

    def serve_earlier(self, *, keep: list[ModelServer]) -> None:
        """Start or stop the server of the earlier release, as the store and the configuration say.

        Args:
            keep: Servers that must not be evicted for it.
        """
        release = self._earlier_release
        if self.earlier is not None and (release is None or self.earlier.activation.digest != release.digest):
            self._context.retire(self.earlier)
            self.earlier = None
        # While it is still the current one, it becomes the earlier one when the new release takes over.
        if release is not None and self.earlier is None and self.current.activation.digest != release.digest:
            self.earlier = self._make_server(release)
            self._context.admission.admit(self.earlier, keep=keep)

    def remove(self) -> None:
        """Publish that the model is removed, and retire its servers."""
        self._drop_arriving()
        self._context.on_state(self.state().model_copy(update={"health": "removed"}))
        self._context.retire(self.current)
        if self.earlier is not None:
            self._context.retire(self.earlier)

    def set_note(self, note: str | None) -> None:
        """Publish what is wrong although the model runs; None withdraws it."""
        if note == self._note:
            return
        log.warning("model %s: %s", self.model, note or "no longer at fault")
        self._note = note
        self.publish()

    def publish(self) -> None:
        """Publish the model's state."""
        self._context.on_state(self.state())

    def state(self) -> ModelState:
        """Return what to announce of the model."""
        server, changes, earlier = self.current, self.record.changes, self.earlier
        activation = server.activation
        rolled_back = changes[-1].why if changes and changes[-1].what == "rolled_back_by_itself" else None
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
            earlier_versions=(earlier.activation.version,) if earlier and earlier.health == "ready" else None,
            changes=changes[-_PUBLISHED_CHANGES:] or None,
            error=server.error or self._note or rolled_back,
            code=server.code,
        )

    def _load(self, activation: Activation) -> None:
        arriving = self._make_server(activation)
        if self._stays(self.current) or self._context.admission.fits_beside(arriving):
            self.arriving = arriving
            arriving.start()
            return
        # Both do not fit at once: requests wait for the new server until the old one has ended.
        leaving = self._context.retire(self.current)
        self.current = arriving
        self._context.admission.admit(arriving, after=leaving)
        self.publish()

    def _take_over(self, server: ModelServer) -> None:
        old, self.current = self.current, server
        if self._stays(old):
            if self.earlier is not None:
                self._context.retire(self.earlier)
            self.earlier = old
        else:
            self._context.retire(old)
        self.publish()

    def _stays(self, server: ModelServer) -> bool:
        """Return whether a server becomes the earlier one when another release takes over."""
        return self._earlier_release is not None and self._earlier_release.digest == server.activation.digest

    def _drop_arriving(self) -> None:
        if self.arriving is not None:
            self.arriving.stop()
            self.arriving = None

    def _make_server(self, activation: Activation) -> ModelServer:
        events = ServerEvents(
            on_health=self._health_changed,
            on_outcome=self._count,
            wake=self._context.admission.wake,
            on_accepted=self._context.on_accepted,
            on_finished=self._context.on_finished,
        )
        return self._context.make_server(activation, events)

    def _count(self, server: ModelServer, outcome: Outcome) -> None:
        # The numbers of an earlier release would blur those of the active one.
        if server is not self.earlier:
            self.metrics.record(outcome)
        if server is self.current:
            self._context.on_outcome(server, outcome)

    def _health_changed(self, server: ModelServer) -> None:
        if server is self.arriving:
            if server.health == "ready":
                self.arriving = None
                self._take_over(server)
            elif server.health == "failed":
                log.error(
                    "model %s release %d cannot start, the old release still serves: %s",
                    self.model,
                    server.activation.release,
                    server.error,
                )
        elif server is self.current:
            self.publish()
            if server.health == "failed" and not self.waits_for_room:
                self._context.on_failed(self, f"whose workers keep failing: {server.error}")
        elif server is self.earlier:
            self.publish()

"""Follows the desired states: receives them, runs the commands that reach them, and reports the progress."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from drupelet_agent.delivery.delivery_states import DeliveryPublisher, decided_state, progress_state, started_state
from drupelet_agent.delivery.desired_file import load_desired, read_desired, save_desired
from drupelet_agent.delivery.reconciler import Activate, Failure, Fetch, InSync, decide, delay_s, next_due_s
from drupelet_agent.errors import StoreError
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.rounds import Rounds
from drupelet_agent.store.records import ModelRecord
from drupelet_agent.store.store import Store
from drupelet_shared.contract.delivery import DeliveryState, DesiredState
from drupelet_shared.contract.sources import shown_source
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import OK_CODE, PROGRESS_CODE
from drupelet_shared.errors import CommandFailedError, DesiredStateError, DrupeletError

log = logging.getLogger(__name__)

_POLL_S = 0.5
# Retained messages follow the subscription; before all of them have arrived, the kept states may be out of date.
_SETTLE_S = 1.0
# More models than a device serves; each takes up to 4 KB here.
MAX_DESIRED = 1024


class RunsCommands(Protocol):
    """Runs one command to its end."""

    async def run(self, name: str, payload: bytes, *, on_answer: Callable[[str, bytes], None]) -> str:
        """Run a command.

        Args:
            name: The name of the command.
            payload: The request.
            on_answer: Receives the code and the payload of each progress message and of the result.

        Returns:
            The code of the result.
        """


@dataclass(slots=True)
class _Step:
    """The command that is running for one model."""

    model: str
    desired: DesiredState
    task: asyncio.Task[None]
    state: DeliveryState


class DesiredStates:
    """The desired states of this device.

    Everything runs on the event loop. The steps towards a state are commands, one at a time, each in its own process.
    """

    def __init__(
        self,
        topics: DeviceTopics,
        store: Store,
        runner: RunsCommands,
        *,
        publish: Callable[[Publication], None],
    ) -> None:
        """Start with the desired states on disk.

        Args:
            topics: The topics of the device.
            store: The store, whose records are compared with the desired states.
            runner: Runs the commands that install.
            publish: Sends a publication to the broker.
        """
        self.filters = (topics.desired_filter,)
        self._topics = topics
        self._store = store
        self._runner = runner
        self._delivery = DeliveryPublisher(topics, publish=publish)
        self._path = store.layout.desired
        self._saved = load_desired(self._path)
        self._desired = dict(self._saved)
        self._failures: dict[str, Failure] = {}
        self._step: _Step | None = None
        self._settled_s = 0.0
        self._records_read: object = None
        self._next_comparison_s = 0.0

    def connected(self, *, session_present: bool) -> None:
        """Publish every delivery state again after a connection.

        A broker that has lost the session sends every desired state again, otherwise only those that have changed
        meanwhile: rumqttd sends retained messages for a subscription once (observed with 0.20). For this reason the
        desired states are kept on disk too.
        """
        if not session_present:
            self._desired.clear()
        self._delivery.forget_all()
        self._compare_soon()
        self._settled_s = time.monotonic() + _SETTLE_S

    def handle(self, message: Message) -> None:
        """Receive the desired state of a model; an empty message withdraws it, and leaves the installed model alone."""
        model = self._topics.parse_desired(message.topic)
        if model is None:
            return
        self._compare_soon()
        if not message.payload:
            self._forget(model)
            self._delivery.withdraw(model)
            return
        try:
            desired = read_desired(model, message.payload)
            self._check_room(model)
        except DrupeletError as error:
            log.warning("%s [%s]", error, error.code)
            self._forget(model)
            # Not kept for comparison: a flood may name any number of models.
            self._delivery.publish_once(DeliveryState(model=model, state="failed", error=str(error), code=error.code))
            return
        if self._desired.get(model) != desired:
            log.info("desired model=%s version=%s from %s", model, desired.version, shown_source(desired.source))
        if self._step is not None and self._step.model == model and self._step.desired != desired:
            self._step.task.cancel()
        self._desired[model] = desired
        if not message.retain:
            # This state was published just now: try it and report at once.
            self._failures.pop(model, None)
            self._delivery.forget(model)

    def _check_room(self, model: str) -> None:
        # A flood does not displace what was desired before: retained messages arrive in any order.
        if len(self._desired) >= MAX_DESIRED and model not in self._desired and model not in self._saved:
            raise DesiredStateError(
                f"desired state of {model}: {len(self._desired)} models have one already, the limit; delete some of "
                "the retained messages on models/+/desired"
            )

    async def run(self) -> None:
        """Poll until cancelled."""
        rounds = Rounds("following the desired states")
        try:
            while True:
                await asyncio.sleep(_POLL_S)
                with rounds.guarded():
                    await self.poll()
        finally:
            if self._step is not None:
                self._step.task.cancel()

    def _compare_soon(self) -> None:
        self._next_comparison_s = 0.0

    def _is_comparison_due(self) -> bool:
        """Return whether something has changed, or a delay is over, since the models were last compared.

        A comparison reads the record of each model: a thousand models twice a second take a twentieth of a core.
        """
        try:
            records: object = self._store.fingerprint()
        except StoreError:
            records = None
        is_due = records != self._records_read or time.monotonic() >= self._next_comparison_s
        self._records_read = records
        return is_due

    async def poll(self) -> None:
        """Save the desired states, and compare them with the installed models if anything has changed."""
        if time.monotonic() < self._settled_s:
            return
        if self._desired != self._saved:
            await self._save()
        if self._desired and self._is_comparison_due():
            self._compare()

    async def _save(self) -> None:
        saved = dict(self._desired)
        try:
            await asyncio.to_thread(save_desired, self._path, saved)
        except OSError as error:
            log.warning("desired states cannot be saved: %s: %s", self._path, error.strerror)
        self._saved = saved

    def _forget(self, model: str) -> None:
        self._desired.pop(model, None)
        self._failures.pop(model, None)
        self._delivery.forget(model)
        if self._step is not None and self._step.model == model:
            self._step.task.cancel()

    def _compare(self) -> None:
        records = {model: self._record(model) for model in self._desired}
        decisions = decide(self._desired, records, self._failures, now_s=time.monotonic())
        self._next_comparison_s = next_due_s(decisions)
        for model, decision in decisions.items():
            if isinstance(decision, InSync):
                self._failures.pop(model, None)
            if self._step is None and isinstance(decision, Activate | Fetch):
                self._start(model, decision)
            if self._step is not None and self._step.model == model:
                self._delivery.publish(self._step.state)
            else:
                self._delivery.publish(decided_state(model, self._desired[model], decision))

    def _record(self, model: str) -> ModelRecord:
        try:
            return self._store.record(model)
        except StoreError:
            # The command that follows fails for the same reason, and reports it.
            return ModelRecord()

    def _start(self, model: str, decision: Activate | Fetch) -> None:
        desired = self._desired[model]
        if isinstance(decision, Activate):
            name, request = "activate", {"model": model, "release": decision.release}
        else:
            name, request = "install", {"model": model, **desired.model_dump(exclude_none=True)}
        task = asyncio.create_task(self._run_command(name, json.dumps(request).encode(), model, desired))
        task.add_done_callback(self._ended)
        self._step = _Step(model=model, desired=desired, task=task, state=started_state(model, desired))

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._compare_soon()
        self._step = None

    async def _run_command(self, name: str, request: bytes, model: str, desired: DesiredState) -> None:
        failure: tuple[str, str] | None = None

        def on_answer(code: str, payload: bytes) -> None:
            nonlocal failure
            answer = json.loads(payload)
            if code == PROGRESS_CODE:
                self._progressed(answer)
            elif code != OK_CODE:
                failure = code, answer["error"]

        try:
            await self._runner.run(name, request, on_answer=on_answer)
        except DrupeletError as error:
            failure = error.code, str(error)
        except Exception as error:
            # Without a failure the command would start again at once.
            log.exception("desired model=%s: command %s failed", model, name)
            failure = CommandFailedError.code, f"command {name}: {type(error).__name__}: {error}"
        if failure is not None:
            self._failed(model, desired, *failure)

    def _progressed(self, progress: dict[str, object]) -> None:
        assert self._step is not None
        self._step.state = progress_state(self._step.model, self._step.desired, progress)
        self._delivery.publish(self._step.state)

    def _failed(self, model: str, desired: DesiredState, code: str, error: str) -> None:
        before = self._failures.get(model)
        count = before.count + 1 if before is not None and before.desired == desired else 1
        wait_s = delay_s(code, count=count, jitter=random.random())  # noqa: S311 - jitter
        log.warning("desired model=%s failed, next try in %.0f s: %s [%s]", model, wait_s, error, code)
        self._failures[model] = Failure(
            desired=desired, count=count, code=code, error=error, failed_s=time.monotonic(), delay_s=wait_s
        )

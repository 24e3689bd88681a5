"""Follows the desired states: takes them from the broker, has the steps towards them done, and tells how far it is."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from drupelet_agent.delivery.reconciler import (
    Activate,
    Decision,
    Failure,
    Fetch,
    GivenUp,
    InSync,
    Wait,
    decide,
    delay_s,
    next_due_s,
)
from drupelet_agent.errors import StoreError
from drupelet_agent.mqtt.message import Message, Publication
from drupelet_agent.store.records import ModelRecord
from drupelet_agent.store.store import Store
from drupelet_shared.contract.delivery import MAX_DESIRED_BYTES, DeliveryState, DesiredState
from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.contract.sources import shown_source
from drupelet_shared.contract.topics import DeviceTopics
from drupelet_shared.contract.wire import OK_CODE, PROGRESS_CODE
from drupelet_shared.errors import DesiredStateError, DrupeletError, SourceError
from drupelet_shared.files import write_atomically

log = logging.getLogger(__name__)

_LOOK_S = 0.5
# Retained messages follow the subscription; before all have come, what was desired may be out of date.
_SETTLE_S = 1.0


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
    """What is being done for one model."""

    model: str
    desired: DesiredState
    task: asyncio.Task[None]
    state: DeliveryState


class DesiredStates:
    """Everything runs on the event loop; the steps themselves are commands, each in a process of its own.

    Args:
        topics: The topics of the device.
        store: The store, whose records are compared with the desired states.
        runner: Runs the commands that install.
        publish: Publishes delivery states.
    """

    def __init__(
        self,
        topics: DeviceTopics,
        store: Store,
        runner: RunsCommands,
        *,
        publish: Callable[[Publication], None],
    ) -> None:
        self.filters = (topics.desired_filter,)
        self._topics = topics
        self._store = store
        self._runner = runner
        self._publish = publish
        self._path = store.root / "desired.json"
        self._kept = _read_kept(self._path)
        self._desired = dict(self._kept)
        self._failures: dict[str, Failure] = {}
        self._told: dict[str, DeliveryState] = {}
        self._step: _Step | None = None
        self._settled_s = 0.0
        self._records_read: object = None
        self._next_look_s = 0.0

    def connected(self, *, session_present: bool) -> None:
        """After each connect: the broker is told again how far it is.

        It tells all that is desired where it has forgotten the session, and else what has changed meanwhile: rumqttd
        sends retained messages for a subscription once (seen with 0.20). So what was desired is kept on disk as well.
        """
        if not session_present:
            self._desired.clear()
        self._told.clear()
        self._look_soon()
        self._settled_s = time.monotonic() + _SETTLE_S

    def handle(self, message: Message) -> None:
        """Take what is desired of a model; an empty message desires nothing any more, and changes nothing."""
        model = self._topics.parse_desired(message.topic)
        if model is None:
            return
        self._look_soon()
        if not message.payload:
            self._forget(model)
            self._publish(Publication(self._topics.delivery(model), b"", retain=True))
            return
        try:
            desired = read_desired(model, message.payload)
        except DrupeletError as error:
            log.warning("%s [%s]", error, error.code)
            self._forget(model)
            self._tell(DeliveryState(model=model, state="failed", error=str(error), code=error.code))
            return
        if self._desired.get(model) != desired:
            log.info("desired model=%s version=%s from %s", model, desired.version, shown_source(desired.source))
        if self._step is not None and self._step.model == model and self._step.desired != desired:
            self._step.task.cancel()
        self._desired[model] = desired
        if not message.retain:
            # This state was published just now: try it and report at once.
            self._failures.pop(model, None)
            self._told.pop(model, None)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                await self.poll()
        finally:
            if self._step is not None:
                self._step.task.cancel()

    def _look_soon(self) -> None:
        self._next_look_s = 0.0

    def _is_look_due(self) -> bool:
        """Return whether something has changed, or a delay is over, since the models were last compared.

        A comparison reads the record of each model: a thousand of them twice a second take a twentieth of a core.
        """
        try:
            records: object = self._store.fingerprint()
        except StoreError:
            records = None
        is_due = records != self._records_read or time.monotonic() >= self._next_look_s
        self._records_read = records
        return is_due

    async def poll(self) -> None:
        """Keep what is desired on disk, and compare it with what is installed if anything has changed."""
        if time.monotonic() < self._settled_s:
            return
        if self._desired != self._kept:
            await self._keep()
        if self._desired and self._is_look_due():
            self._look()

    async def _keep(self) -> None:
        kept = dict(self._desired)
        document = {model: desired.model_dump(exclude_none=True) for model, desired in sorted(kept.items())}
        try:
            await asyncio.to_thread(write_atomically, self._path, json.dumps(document).encode(), mode=0o600)
        except OSError as error:
            log.warning("what is desired cannot be kept: %s: %s", self._path, error.strerror)
        self._kept = kept

    def _forget(self, model: str) -> None:
        self._desired.pop(model, None)
        self._failures.pop(model, None)
        self._told.pop(model, None)
        if self._step is not None and self._step.model == model:
            self._step.task.cancel()

    def _look(self) -> None:
        records = {model: self._record(model) for model in self._desired}
        decisions = decide(self._desired, records, self._failures, now_s=time.monotonic())
        self._next_look_s = next_due_s(decisions)
        for model, decision in decisions.items():
            if isinstance(decision, InSync):
                self._failures.pop(model, None)
            if self._step is None and isinstance(decision, Activate | Fetch):
                self._start(model, decision)
            if self._step is not None and self._step.model == model:
                self._tell(self._step.state)
            else:
                self._tell(self._describe(model, decision))

    def _record(self, model: str) -> ModelRecord:
        try:
            return self._store.record(model)
        except StoreError:
            # The step that follows meets it too, and says so.
            return ModelRecord()

    def _start(self, model: str, decision: Activate | Fetch) -> None:
        desired = self._desired[model]
        if isinstance(decision, Activate):
            name, request = "activate", {"model": model, "release": decision.release}
        else:
            name, request = "install", {"model": model, **desired.model_dump(exclude_none=True)}
        task = asyncio.create_task(self._take(name, json.dumps(request).encode(), model, desired))
        task.add_done_callback(self._ended)
        self._step = _Step(
            model=model,
            desired=desired,
            task=task,
            state=_state(model, desired, "installing" if desired.source.startswith("upload:") else "fetching"),
        )

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._look_soon()
        self._step = None

    async def _take(self, name: str, request: bytes, model: str, desired: DesiredState) -> None:
        failure: tuple[str, str] | None = None

        def hear(code: str, payload: bytes) -> None:
            nonlocal failure
            answer = json.loads(payload)
            if code == PROGRESS_CODE:
                self._progressed(answer)
            elif code != OK_CODE:
                failure = code, answer["error"]

        try:
            await self._runner.run(name, request, on_answer=hear)
        except DrupeletError as error:
            failure = error.code, str(error)
        if failure is not None:
            self._failed(model, desired, *failure)

    def _progressed(self, progress: dict[str, object]) -> None:
        assert self._step is not None
        fetching = progress["stage"] == "fetching"
        state = _state(self._step.model, self._step.desired, "fetching" if fetching else "installing")
        self._step.state = state.model_copy(
            update={
                "stage": None if fetching else progress["stage"],
                "done_bytes": progress.get("done_bytes"),
                "total_bytes": progress.get("total_bytes"),
            }
        )
        self._tell(self._step.state)

    def _failed(self, model: str, desired: DesiredState, code: str, error: str) -> None:
        before = self._failures.get(model)
        count = before.count + 1 if before is not None and before.desired == desired else 1
        wait_s = delay_s(code, count=count, jitter=random.random())  # noqa: S311 - jitter
        log.warning("desired model=%s failed, next try in %.0f s: %s [%s]", model, wait_s, error, code)
        self._failures[model] = Failure(
            desired=desired, count=count, code=code, error=error, failed_s=time.monotonic(), delay_s=wait_s
        )

    def _describe(self, model: str, decision: Decision) -> DeliveryState:
        desired = self._desired[model]
        match decision:
            case InSync():
                return _state(model, desired, "in_sync")
            case GivenUp(code, error):
                return _state(model, desired, "failed").model_copy(update={"code": code, "error": error})
            case Wait(failure):
                told = {
                    "code": failure.code,
                    "error": failure.error,
                    "failures": failure.count,
                    "retry_in_s": round(failure.delay_s, 1),
                }
                return _state(model, desired, "failed").model_copy(update=told)
            case _:
                return _state(model, desired, "waiting")

    def _tell(self, state: DeliveryState) -> None:
        if self._told.get(state.model) != state:
            self._told[state.model] = state
            self._publish(Publication(self._topics.delivery(state.model), state.to_bytes(), retain=True))


def _read_kept(path: Path) -> dict[str, DesiredState]:
    try:
        found = json.loads(path.read_bytes())
        return {model: DesiredState.model_validate(desired) for model, desired in found.items()}
    except (OSError, ValueError, AttributeError, SourceError):
        # Without it the broker tells it anew, at the latest when the session has ended.
        return {}


def read_desired(model: str, payload: bytes) -> DesiredState:
    """Return the desired state in a message.

    Raises:
        DesiredStateError: The message is malformed or too long.
        SourceError: The source carries a password or cannot be opened.
    """
    if len(payload) > MAX_DESIRED_BYTES:
        raise DesiredStateError(f"desired state of {model}: {len(payload)} bytes, the limit is {MAX_DESIRED_BYTES}")
    try:
        return DesiredState.model_validate_json(payload)
    except ValidationError as error:
        raise DesiredStateError(f"desired state of {model}: {describe_faults(error)}") from error


def _state(model: str, desired: DesiredState, state: str) -> DeliveryState:
    return DeliveryState.model_validate(
        {
            "model": model,
            "state": state,
            "version": desired.version,
            "digest": desired.digest,
            "source": shown_source(desired.source),
        }
    )

"""Calls to devices that are under way, and the answers to each until the last."""

from __future__ import annotations

import queue
import secrets
import threading
from dataclasses import dataclass

from pydantic import ValidationError

from drupelet_host.client.connection.error_reply import read_error
from drupelet_host.errors import DeviceOfflineError, DeviceRestartedError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.messages import DeviceStatus
from drupelet_shared.contract.wire import OK_CODE, PROGRESS_CODE

# Random, so that another client of the broker cannot guess it and forge an answer.
_CORRELATION_BYTES = 16


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """One answer to a call.

    Attributes:
        code: "ok", "progress" or the code of an error.
        payload: The answer as JSON.
    """

    code: str
    payload: bytes


class PendingCall:
    """One call to one device; its answers wait here in the order of their arrival.

    Attributes:
        device: The device's name.
        description: What the device was asked for, for error messages.
    """

    def __init__(self, device: str, description: str) -> None:
        """Make a call without answers.

        Args:
            device: The device's name.
            description: What the device was asked for, for error messages.
        """
        self.device = device
        self.description = description
        self._answers: queue.SimpleQueue[CallAnswer | RemoteError] = queue.SimpleQueue()

    def put(self, answer: CallAnswer | RemoteError) -> None:
        """Add an answer, or the error that ends the call."""
        self._answers.put(answer)

    def next(self, *, timeout_s: float) -> CallAnswer:
        """Wait for the next answer and return it.

        Raises:
            RemoteError: The device answered with an error, whose code `device_code` holds.
            DeviceRestartedError: The agent was restarted after the call was sent.
            ReplyTimeoutError: No answer arrived within `timeout_s`.
        """
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            message = f"device {self.device!r}, {self.description}: no answer within {timeout_s:g} s"
            raise ReplyTimeoutError(message) from None
        if isinstance(answer, RemoteError):
            raise answer
        if answer.code not in {OK_CODE, PROGRESS_CODE}:
            raise read_error(answer.payload, target=f"device {self.device!r}", code=answer.code)
        return answer


class PendingCalls:
    """Calls by Correlation Data, and which devices are online; safe to use from several threads."""

    def __init__(self) -> None:
        """Make a register without calls and devices."""
        self._changed = threading.Condition()
        self._calls: dict[bytes, PendingCall] = {}
        self._sessions: dict[str, str] = {}
        self._online: dict[str, bool] = {}
        self._is_cancelled = False

    def cancel(self) -> None:
        """Fail all calls, those under way and those to come."""
        with self._changed:
            self._is_cancelled = True
            calls = list(self._calls.values())
            self._changed.notify_all()
        for call in calls:
            call.put(_cancellation(call.device))

    def wait_until_online(self, device: str, *, timeout_s: float) -> None:
        """Wait for a device's birth message; a call that is sent before it is lost.

        Args:
            device: The device's name.
            timeout_s: The time to wait.

        Raises:
            DeviceOfflineError: The device has not announced that it is online within `timeout_s`.
            RemoteError: All calls were cancelled.
        """
        with self._changed:
            is_online = self._changed.wait_for(lambda: self._is_cancelled or self._online.get(device), timeout_s)
            if self._is_cancelled:
                raise _cancellation(device)
            if not is_online:
                reason = "says that it is offline" if device in self._online else "has not announced itself"
                raise DeviceOfflineError(f"device {device!r} {reason}: waited for {timeout_s:g} s")

    def open(self, device: str, description: str) -> tuple[bytes, PendingCall]:
        """Register a new call and return its Correlation Data and the call.

        Args:
            device: The device's name.
            description: What the device is asked for, for error messages.
        """
        call = PendingCall(device, description)
        correlation = secrets.token_bytes(_CORRELATION_BYTES)
        with self._changed:
            self._calls[correlation] = call
        return correlation, call

    def close(self, correlation: bytes) -> None:
        """Stop expecting answers to a call."""
        with self._changed:
            self._calls.pop(correlation, None)

    def receive_answer(self, correlation: bytes | None, answer: CallAnswer) -> None:
        """Add an answer to its call; one without a pending call is dropped."""
        with self._changed:
            call = self._calls.get(correlation or b"")
        if call is not None:
            call.put(answer)

    def receive_status(self, payload: bytes) -> None:
        """Take a device's birth message or will.

        A birth message with a new session fails the device's pending calls, because the agent that took them is gone.
        A will of an earlier session than the latest birth changes nothing.
        """
        try:
            status = DeviceStatus.model_validate_json(payload)
        except ValidationError:
            return
        is_online = status.state == "online"
        with self._changed:
            previous = self._sessions.get(status.device)
            is_other_session = previous not in {None, status.session}
            if not is_online and is_other_session:
                return
            if is_online:
                self._sessions[status.device] = status.session
            self._online[status.device] = is_online
            self._changed.notify_all()
            calls = [call for call in self._calls.values() if call.device == status.device]
        if is_other_session:
            for call in calls:
                text = f"device {call.device!r}, {call.description}: the agent was restarted before it answered"
                call.put(DeviceRestartedError(text))


def _cancellation(device: str) -> RemoteError:
    return RemoteError(f"device {device!r}: the call was cancelled")

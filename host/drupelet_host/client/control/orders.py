"""Orders that devices have been given, and the messages about each until the last."""

from __future__ import annotations

import itertools
import queue
import threading
from dataclasses import dataclass

from pydantic import ValidationError

from drupelet_host.errors import DeviceOfflineError, DeviceRestartedError, RemoteError, ReplyTimeoutError
from drupelet_shared.contract.messages import DeviceStatus, ErrorReply
from drupelet_shared.contract.wire import OK_CODE, PROGRESS_CODE


@dataclass(frozen=True, slots=True)
class Answer:
    """One message about an order: `code` is "ok", "progress" or an error's."""

    code: str
    payload: bytes


class Order:
    """One order to one device; its answers wait here in the order they come."""

    def __init__(self, device: str, what: str) -> None:
        self.device = device
        self.what = what
        self._answers: queue.SimpleQueue[Answer | RemoteError] = queue.SimpleQueue()

    def put(self, answer: Answer | RemoteError) -> None:
        """Hand over an answer, or what ends the waiting."""
        self._answers.put(answer)

    def next(self, *, timeout_s: float) -> Answer:
        """The next answer that is no error.

        Raises:
            RemoteError: The device refused; `device_code` says why.
            DeviceRestartedError: The agent is another one than was given the order.
            ReplyTimeoutError: Nothing came in time.
        """
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            message = f"device {self.device!r}, {self.what}: no answer within {timeout_s:g} s"
            raise ReplyTimeoutError(message) from None
        if isinstance(answer, RemoteError):
            raise answer
        if answer.code not in {OK_CODE, PROGRESS_CODE}:
            raise _refusal(self.device, answer)
        return answer


class OrderBook:
    """Orders by Correlation Data; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._numbers = itertools.count(1)
        self._orders: dict[bytes, Order] = {}
        self._sessions: dict[str, str] = {}
        self._online: dict[str, bool] = {}
        self._given_up = False

    def give_up(self) -> None:
        """Fail every order, now and later."""
        with self._lock:
            self._given_up = True
            orders = list(self._orders.values())
            self._lock.notify_all()
        for order in orders:
            order.put(_given_up(order.device))

    def await_online(self, device: str, *, timeout_s: float) -> None:
        """Wait until a device has said that it is there: before that, an order would reach nobody.

        Raises:
            DeviceOfflineError: It does not in time.
            RemoteError: The client has given up.
        """
        with self._lock:
            is_there = self._lock.wait_for(lambda: self._given_up or self._online.get(device), timeout_s)
            if self._given_up:
                raise _given_up(device)
            if not is_there:
                last = "says that it is offline" if device in self._online else "has not been heard of"
                raise DeviceOfflineError(f"device {device!r} {last}: waited for {timeout_s:g} s")

    def open(self, device: str, what: str) -> tuple[bytes, Order]:
        """A new order and its Correlation Data."""
        order = Order(device, what)
        with self._lock:
            correlation = next(self._numbers).to_bytes(8, "big")
            self._orders[correlation] = order
        return correlation, order

    def close(self, correlation: bytes) -> None:
        """Expect no more answers to an order."""
        with self._lock:
            self._orders.pop(correlation, None)

    def answered(self, correlation: bytes | None, answer: Answer) -> None:
        """Hand an answer to its order, if somebody still waits for it."""
        with self._lock:
            order = self._orders.get(correlation or b"")
        if order is not None:
            order.put(answer)

    def heard_status(self, payload: bytes) -> None:
        """A device's birth message or will: orders that an earlier run of its agent had taken are gone."""
        try:
            status = DeviceStatus.model_validate_json(payload)
        except ValidationError:
            return
        with self._lock:
            before = self._sessions.get(status.device)
            if status.state == "online":
                self._sessions[status.device] = status.session
            elif before not in {None, status.session}:
                return
            self._online[status.device] = status.state == "online"
            self._lock.notify_all()
            lost = [order for order in self._orders.values() if order.device == status.device]
        if status.state == "online" and before not in {None, status.session}:
            for order in lost:
                order.put(
                    DeviceRestartedError(
                        f"device {order.device!r}, {order.what}: the agent was started again meanwhile"
                    )
                )


def _given_up(device: str) -> RemoteError:
    return RemoteError(f"device {device!r}: the client has given up")


def _refusal(device: str, answer: Answer) -> RemoteError:
    try:
        text = ErrorReply.model_validate_json(answer.payload).error
    except ValidationError:
        text = f"no text in {len(answer.payload)} bytes"
    return RemoteError(f"device {device!r} answered {answer.code}: {text}", device_code=answer.code)

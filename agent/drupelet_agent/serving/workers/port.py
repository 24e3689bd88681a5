"""What a supervisor and the tuner need of a worker; `WorkerProcess` implements it, and a fake in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from drupelet_agent.serving.workers.protocol import Message, Replied, WorkerSpec


class Worker(Protocol):
    """One started worker and the channel to it; its first message is `Ready` or `Failed`."""

    @property
    def pid(self) -> int:
        """The process id."""

    def watch(self, on_readable: Callable[[], None]) -> None:
        """Call a function on the running event loop whenever `receive` would return or raise, until `close`."""

    def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            WorkerError: The worker has ended.
        """

    def send_request(
        self,
        payload: bytes,
        *,
        slot: int,
        content_type: str | None,
        header_length: int | None,
        deadline_s: float | None = None,
    ) -> None:
        """Send a request.

        Args:
            payload: The body, at most as long as a slot.
            slot: The slot that takes the payload, and later the reply's.
            content_type: Its media type; None if the client named none.
            header_length: Length of the JSON part of a binary request; None if there is none.
            deadline_s: When the request expires, on the monotonic clock; None is never.

        Raises:
            WorkerError: The worker has ended.
        """

    def receive(self, *, timeout_s: float | None = None) -> Message:
        """Wait for the next message.

        Raises:
            WorkerTimeoutError: None arrived in time.
            WorkerError: The worker has ended, or sent a malformed message.
        """

    def payload_of(self, reply: Replied) -> bytes:
        """Return the payload of a reply that was received."""

    def limit_memory(self, spec: WorkerSpec) -> None:
        """Limit the memory of the process to that of a spec."""

    def close(self) -> None:
        """End the process now and free the channel."""


Spawn = Callable[[WorkerSpec], Worker]

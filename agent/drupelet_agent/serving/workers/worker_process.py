"""A worker process as its parent sees it: start, messages, end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import TypeVar

from drupelet_agent.config.environment import worker_environment
from drupelet_agent.device.process_limit import limit_memory_of
from drupelet_agent.errors import WorkerError, WorkerTimeoutError
from drupelet_agent.serving.workers.port import Worker
from drupelet_agent.serving.workers.protocol import (
    INLINE_BYTES,
    MAX_PACKET_BYTES,
    SLOTS,
    Failed,
    Infer,
    Message,
    Ready,
    Replied,
    WorkerSpec,
    decode_message,
    encode_message,
)

log = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=Message)

# -P: Python must not import from the folder in which the agent was started.
# -W ignore: Pillow warns of each odd tag of an image, and a hostile image can have thousands.
_PYTHON = (sys.executable, "-P", "-W", "ignore")


class WorkerProcess:
    """One worker process and the channel to it; implements `Worker`.

    The parent reads and writes the shared memory by offset and never maps it, so payloads do not count as its own
    memory.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        """Start the process; `receive` returns `Ready` or `Failed` first.

        Args:
            spec: What the worker loads, and with which limits.

        Raises:
            WorkerError: The system cannot start another process, or has no memory or descriptors for its channel.
        """
        self._slot_bytes = spec.slot_bytes
        self._watching: asyncio.AbstractEventLoop | None = None
        with ExitStack() as undo:
            try:
                self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                undo.callback(self._socket.close)
                with theirs:
                    self._memory = os.memfd_create("drupelet-slots")
                    undo.callback(os.close, self._memory)
                    os.ftruncate(self._memory, SLOTS * spec.slot_bytes)
                    self._process = _start(replace(spec, socket_fd=theirs.fileno(), memory_fd=self._memory))
            except OSError as error:
                raise WorkerError(f"variant {spec.variant}: cannot start a worker: {error.strerror}") from error
            undo.pop_all()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def watch(self, on_readable: Callable[[], None]) -> None:
        """Call a function on the running event loop whenever `receive` would return or raise, until `close`."""
        self._watching = asyncio.get_running_loop()
        self._watching.add_reader(self._socket.fileno(), on_readable)

    def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            WorkerError: The worker has ended.
        """
        try:
            self._socket.send(encode_message(message))
        except OSError as error:
            raise WorkerError(f"worker {self.pid}: {error.strerror}") from error

    def receive(self, *, timeout_s: float | None = None) -> Message:
        """Wait for the next message.

        Raises:
            WorkerTimeoutError: None arrived in time.
            WorkerError: The worker has ended, or sent a malformed message.
        """
        if timeout_s != self._socket.gettimeout():
            self._socket.settimeout(timeout_s)
        try:
            packet = self._socket.recv(MAX_PACKET_BYTES)
        except TimeoutError as error:
            raise WorkerTimeoutError(f"worker {self.pid}: no answer within {timeout_s} s") from error
        except ConnectionResetError:
            # The worker ended before it read all packets of the parent.
            packet = b""
        except OSError as error:
            raise WorkerError(f"worker {self.pid}: {error.strerror}") from error
        if not packet:
            raise WorkerError(f"worker {self.pid} ended: {self._end()}")
        message = decode_message(packet)
        if isinstance(message, Ready) and message.sandbox_gaps:
            log.warning("worker sandbox incomplete pid=%d refused=%s", self.pid, message.sandbox_gaps)
        return message

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
        inline = len(payload) <= INLINE_BYTES
        if not inline:
            os.pwrite(self._memory, payload, slot * self._slot_bytes)
        self.send(
            Infer(
                slot=slot,
                length=len(payload),
                content_type=content_type,
                header_length=header_length,
                deadline_s=deadline_s,
                payload=payload if inline else None,
            )
        )

    def payload_of(self, reply: Replied) -> bytes:
        """Return the payload of a reply that was received."""
        if reply.payload is not None:
            return reply.payload
        return os.pread(self._memory, min(reply.length, self._slot_bytes), reply.slot * self._slot_bytes)

    def limit_memory(self, spec: WorkerSpec) -> None:
        """Limit the memory of the process to that of a spec, which may differ from the one it was started with."""
        if spec.memory_limit_bytes:
            limit_memory_of(self.pid, spec.memory_limit_bytes, threads=spec.threads)

    def close(self) -> None:
        """End the process now and free the channel."""
        self._end()
        if self._watching is not None:
            self._watching.remove_reader(self._socket.fileno())
        self._socket.close()
        os.close(self._memory)

    def _end(self) -> str:
        """End the process if it still runs, and return how it ended."""
        self._process.kill()
        status = self._process.wait()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _start(spec: WorkerSpec) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*_PYTHON, "-m", "drupelet_agent.worker", json.dumps(asdict(spec))],
        pass_fds=(spec.socket_fd, spec.memory_fd),
        env=worker_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def expect(worker: Worker, answer: type[Answer], *, timeout_s: float) -> Answer:
    """Wait for an answer of one type.

    Args:
        worker: The worker that answers.
        answer: The type of message that is expected.
        timeout_s: The longest wait.

    Returns:
        The answer.

    Raises:
        WorkerError: The worker answered with `Failed` (then `reported_code` is its code) or with another type, did not
            answer in time, or has ended.
    """
    message = worker.receive(timeout_s=timeout_s)
    if isinstance(message, Failed):
        reported = WorkerError(message.message)
        reported.reported_code = message.code
        raise reported
    if not isinstance(message, answer):
        raise WorkerError(
            f"worker {worker.pid}: answered {type(message).__name__} where {answer.__name__} was expected"
        )
    return message

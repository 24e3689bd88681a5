"""A worker process as its parent sees it: started, spoken to, ended."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from typing import TypeVar

from drupelet_agent.config.environment import worker_environment
from drupelet_agent.device.process_limit import limit_memory_of
from drupelet_agent.errors import WorkerError, WorkerTimeoutError
from drupelet_agent.serving.protocol import (
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

# -P: the folder the agent was started in is no place to import from.
# -W ignore: Pillow warns of each odd tag of an image, thousands of times if its maker wants that.
_PYTHON = (sys.executable, "-P", "-W", "ignore")


class WorkerProcess:
    """One worker and the channel to it.

    The parent never maps the shared memory but reads and writes it by offset, so payloads do not count as its own.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        """Start the process; `receive()` gives `Ready` or `Failed` first."""
        self._slot_bytes = spec.slot_bytes
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._memory = os.memfd_create("drupelet-slots")
        try:
            os.ftruncate(self._memory, SLOTS * spec.slot_bytes)
            child = replace(spec, socket_fd=theirs.fileno(), memory_fd=self._memory)
            self._process = subprocess.Popen(
                [*_PYTHON, "-m", "drupelet_agent.worker", json.dumps(asdict(child))],
                pass_fds=(child.socket_fd, child.memory_fd),
                env=worker_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        except BaseException:
            self._socket.close()
            os.close(self._memory)
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def fileno(self) -> int:
        """The socket's descriptor, for an event loop."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            WorkerError: The worker is gone.
        """
        try:
            self._socket.send(encode_message(message))
        except OSError as error:
            raise WorkerError(f"worker {self.pid}: {error.strerror}") from error

    def receive(self, *, timeout_s: float | None = None) -> Message:
        """Wait for the next message.

        Raises:
            WorkerTimeoutError: None came in time.
            WorkerError: The worker is gone.
        """
        if timeout_s != self._socket.gettimeout():
            self._socket.settimeout(timeout_s)
        try:
            packet = self._socket.recv(MAX_PACKET_BYTES)
        except TimeoutError as error:
            raise WorkerTimeoutError(f"worker {self.pid}: no answer within {timeout_s} s") from error
        except ConnectionResetError:
            # It ended with packets of ours unread.
            packet = b""
        except OSError as error:
            raise WorkerError(f"worker {self.pid}: {error.strerror}") from error
        if not packet:
            raise WorkerError(f"worker {self.pid} ended: {self._end()}")
        message = decode_message(packet)
        if isinstance(message, Ready) and message.sandbox_gaps:
            log.warning("worker sandbox incomplete pid=%d refused=%s", self.pid, message.sandbox_gaps)
        return message

    def expect(self, answer: type[Answer], *, timeout_s: float) -> Answer:
        """Wait for an answer of one type.

        Raises:
            WorkerError: It was another one, a `Failed`, or none came; the message says which.
        """
        message = self.receive(timeout_s=timeout_s)
        if isinstance(message, Failed):
            reported = WorkerError(message.message)
            reported.reported_code = message.code
            raise reported
        if not isinstance(message, answer):
            raise WorkerError(
                f"worker {self.pid}: answered {type(message).__name__} where {answer.__name__} was expected"
            )
        return message

    def ask(
        self,
        payload: bytes,
        *,
        slot: int,
        content_type: str | None,
        header_length: int | None,
        deadline_s: float | None = None,
    ) -> None:
        """Send a request, whose payload must fit in the slot; see `Infer`.

        Raises:
            WorkerError: The worker is gone.
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
        """The payload of a reply that was received."""
        if reply.payload is not None:
            return reply.payload
        return os.pread(self._memory, min(reply.length, self._slot_bytes), reply.slot * self._slot_bytes)

    def limit_memory(self, spec: WorkerSpec) -> None:
        """Allow it what a spec says, which may be another one than it was started with."""
        if spec.memory_limit_bytes:
            limit_memory_of(self.pid, spec.memory_limit_bytes, threads=spec.threads)

    def close(self) -> None:
        """End the process now and free the channel."""
        self._end()
        self._socket.close()
        os.close(self._memory)

    def _end(self) -> str:
        """Make sure the process is gone, and say how it went; one that ended by itself keeps its own status."""
        self._process.kill()
        status = self._process.wait()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

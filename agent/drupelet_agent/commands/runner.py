"""Runs commands, each in a process of its own: those that change the store one after the other."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping

from drupelet_agent.commands.table import COMMANDS, Lane
from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.measuring.gate import ServingGate
from drupelet_shared.contract.wire import PROGRESS_CODE
from drupelet_shared.errors import BusyError, CommandFailedError

log = logging.getLogger(__name__)

# The longest answer is the list of everything that is installed.
_LONGEST_LINE_BYTES = 16 * 2**20
# Candidates wait in a lane of their own, so that they never keep an installation from being accepted.
_MAX_WAITING: Mapping[Lane, int] = {"store": 8, "candidates": 2, "none": 8}
_MAX_AT_ONCE: Mapping[Lane, int] = {"store": 1, "candidates": 1, "none": 2}

Answered = Callable[[str, bytes], None]


class CommandRunner:
    """Runs commands, each in its own process; those of one lane wait for each other.

    Everything runs on the event loop.
    """

    def __init__(self, config: AgentConfig, gate: ServingGate) -> None:
        """Start without commands.

        Args:
            config: The configuration of the agent.
            gate: Tells measuring processes whether requests are served.
        """
        self._config = config
        self._gate = gate
        self._lanes = {lane: asyncio.Semaphore(count) for lane, count in _MAX_AT_ONCE.items()}
        self._accepted = dict.fromkeys(_MAX_AT_ONCE, 0)

    async def run(self, name: str, payload: bytes, *, on_answer: Answered, deadline_s: float | None = None) -> str:
        """Run one command to its end; cancelling kills its process, which leaves the store consistent.

        Args:
            name: The name of a command in the table.
            payload: The request.
            on_answer: Receives the code and payload of each progress message and of the answer.
            deadline_s: The time on the clock of the loop at which a command that still waits is dropped without answer.

        Returns:
            The code of the answer; "expired" if the command was dropped.

        Raises:
            BusyError: Too many commands wait.
            CommandFailedError: The process cannot be started, or ended without an answer.
        """
        lane = COMMANDS[name].lane
        if self._accepted[lane] >= _MAX_WAITING[lane]:
            raise BusyError(f"command {name}: {self._accepted[lane]} commands are accepted already, the limit")
        self._accepted[lane] += 1
        try:
            async with self._lanes[lane]:
                if deadline_s is not None and asyncio.get_running_loop().time() > deadline_s:
                    return "expired"
                return await self._run_process(name, payload, on_answer)
        finally:
            self._accepted[lane] -= 1

    async def _run_process(self, name: str, payload: bytes, on_answer: Answered) -> str:
        log.info("command=%s starts", name)
        process = await self._start_process(name)
        try:
            return await self._converse(name, process, payload, on_answer)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _start_process(self, name: str) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                # -P: Python must not import from the folder in which the agent was started.
                *(sys.executable, "-P", "-m", "drupelet_agent.app.command_process", str(self._gate.descriptor)),
                pass_fds=(self._gate.descriptor,),
                stdin=PIPE,
                stdout=PIPE,
                limit=_LONGEST_LINE_BYTES,
            )
        except OSError as error:
            raise CommandFailedError(
                f"command {name}: the system starts no process for it: {error.strerror}; send it again later"
            ) from error

    async def _converse(self, name: str, process: Process, payload: bytes, on_answer: Answered) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{name}\n{self._config.model_dump_json()}\n".encode() + payload)
        process.stdin.close()
        while line := await process.stdout.readline():
            code, _, answer = line.rstrip(b"\n").partition(b" ")
            on_answer(code.decode(), answer)
            if code.decode() != PROGRESS_CODE:
                await process.wait()
                return code.decode()
        raise CommandFailedError(f"command {name}: its process ended with status {await process.wait()} and no answer")

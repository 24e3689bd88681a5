"""The process of one command; it reads the packages, so that the memory of the agent stays small.

Argument: the descriptor of the serving gate.
Standard input: a line with the command's name, a line with the agent's configuration as JSON, the request's payload.
Standard output: lines of `<code> <payload>`, which `drupelet_agent.commands.runner` reads; the last line is the answer.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict

from pydantic import BaseModel, ValidationError

from drupelet_agent.app.logs import set_up_logging
from drupelet_agent.commands.context import Context
from drupelet_agent.commands.table import COMMANDS
from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.install.activation import Progress
from drupelet_shared.contract.commands import EXCHANGES, CommandProgress
from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.contract.references import load_reference
from drupelet_shared.contract.wire import OK_CODE, PROGRESS_CODE, encode_error
from drupelet_shared.errors import CommandError, DrupeletError

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_LOWEST_PRIORITY = 19

Answer = Callable[[str, bytes], None]


def main() -> int:
    """Run one command, and return 0 if it succeeded."""
    # End with the agent, which is the only reader of the answer; an interrupted command leaves the store consistent.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    name = sys.stdin.buffer.readline().decode().strip()
    config = AgentConfig.model_validate_json(sys.stdin.buffer.readline())
    set_up_logging(config.log)
    if COMMANDS[name].lane == "candidates":
        # Its workers inherit it: requests and everything else on the device go first.
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_PRIORITY)
    return run(name, sys.stdin.buffer.read(), config, _answer, gate_descriptor=int(sys.argv[1]))


def run(name: str, payload: bytes, config: AgentConfig, answer: Answer, *, gate_descriptor: int | None = None) -> int:
    """Run a command.

    Args:
        name: The name of a command in the table.
        payload: The request.
        config: The agent's configuration.
        answer: Receives the code and payload of each progress message and of the answer at the end.
        gate_descriptor: The shared memory of the serving gate, for commands that measure candidates.

    Returns:
        The exit status of the process.
    """

    def observe(progress: Progress) -> None:
        log.info("command=%s %s: %s", name, progress.stage, progress.detail)
        answer(PROGRESS_CODE, CommandProgress(command=name, **asdict(progress)).to_bytes())

    try:
        request = _parse(name, payload)
        function: Callable[[BaseModel, Context], BaseModel] = load_reference(COMMANDS[name].function)
        result = function(request, Context(config, observe, gate_descriptor))
    except DrupeletError as error:
        log.warning("command=%s: %s [%s]", name, error, error.code)
        answer(error.code, encode_error(error, request_id=None))
        return 1
    answer(OK_CODE, result.model_dump_json(exclude_none=True).encode())
    return 0


def _parse(name: str, payload: bytes) -> BaseModel:
    try:
        return EXCHANGES[name].request.model_validate_json(payload or b"{}")
    except ValidationError as error:
        raise CommandError(f"command {name}: {describe_faults(error)}") from error


def _answer(code: str, payload: bytes) -> None:
    sys.stdout.buffer.write(code.encode() + b" " + payload + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())

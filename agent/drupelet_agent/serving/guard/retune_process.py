"""The process that measures a model again while the agent serves."""

from __future__ import annotations

import asyncio
import logging
import sys

from drupelet_agent.config.agent import AgentConfig

log = logging.getLogger(__name__)


async def retune_in_process(model: str, reason: str, *, fresh: bool, config: AgentConfig) -> None:
    """Measure a model again in a process of its own; if that fails, the plan stays as it is.

    Args:
        model: The model.
        reason: Why it is measured again, for the change's record.
        fresh: Whether to measure again what is known of these conditions.
        config: The agent's configuration.
    """
    words = [sys.executable, "-P", "-m", "drupelet_agent.app.retuning", model, reason, *(["--fresh"] if fresh else [])]
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        log.warning("tune model=%s failed, the plan stays as it is: no process starts: %s", model, error.strerror)
        return
    try:
        await process.communicate(config.model_dump_json().encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        log.warning("tune model=%s failed, the plan stays as it is", model)

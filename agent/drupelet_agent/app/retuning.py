"""The process that measures a model again; it reads the package, so that the memory of the agent stays small.

Standard input: the agent's configuration as JSON.
"""

from __future__ import annotations

import argparse
import logging
import sys

from drupelet_agent.app.logs import set_up_logging
from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.install.activation import Progress, tune
from drupelet_shared.errors import DrupeletError

log = logging.getLogger(__name__)


def main() -> int:
    """Tune one model, and return 0 if it has a new plan."""
    parser = argparse.ArgumentParser(prog="python -m drupelet_agent.app.retuning")
    parser.add_argument("model")
    parser.add_argument("why")
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    config = AgentConfig.model_validate_json(sys.stdin.buffer.read())
    set_up_logging(config.log)

    def observe(progress: Progress) -> None:
        log.info("tune model=%s %s: %s", arguments.model, progress.stage, progress.detail)

    try:
        tune(arguments.model, config, why=arguments.why, fresh=arguments.fresh, observe=observe)
    except DrupeletError as error:
        log.warning("tune model=%s: %s [%s]", arguments.model, error, error.code)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

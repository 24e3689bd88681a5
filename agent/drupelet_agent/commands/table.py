"""Which commands there are and what runs them; their messages are in `drupelet_shared.contract.commands`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        function: `module:function`, imported by the process that runs it: `(request, context) -> result`.
        is_exclusive: Whether it waits for the exclusive command before it, as whatever changes the store or measures.
    """

    function: str
    is_exclusive: bool = True


# To add one: an entry here, its messages in `drupelet_shared.contract.commands.EXCHANGES`, and its example in the
# contract.
COMMANDS: Mapping[str, Command] = {
    "install": Command("drupelet_agent.commands.installing:install"),
    "activate": Command("drupelet_agent.commands.releases:activate"),
    "rollback": Command("drupelet_agent.commands.releases:roll_back"),
    "remove": Command("drupelet_agent.commands.releases:remove"),
    "list": Command("drupelet_agent.commands.releases:list_installed", is_exclusive=False),
    "tune": Command("drupelet_agent.commands.installing:tune"),
    "profile": Command("drupelet_agent.commands.profiling:profile"),
}
